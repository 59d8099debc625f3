"""Weight files are plain safetensors with the same bytes every time."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from sdr2hdr.errors import ModelError, OutputError
from sdr2hdr.weights.save import save_weights

STATE = {
    "b": torch.arange(6.0).reshape(2, 3),
    "a": torch.tensor([1.5], dtype=torch.float64),
    "count": torch.tensor(7),
    "scalar": torch.tensor(0.25),
    "odd": torch.zeros(3, dtype=torch.uint8),
    "brain": torch.ones(3, dtype=torch.bfloat16),
    "empty": torch.zeros(0, 4),
}


@pytest.mark.parametrize("half", [True, False])
def test_the_formats_own_library_reads_it(tmp_path: Path, half: bool) -> None:
    path = tmp_path / "a.safetensors"
    sha256, size = save_weights(
        path, "wmnet", STATE, {"base": "none"}, {"licence": "CC0 é"}, half=half
    )
    read = safetensors.torch.load_file(path)
    assert read.keys() == STATE.keys()
    for key, tensor in STATE.items():
        expected = tensor.half() if half and tensor.is_floating_point() else tensor
        assert read[key].dtype == expected.dtype
        assert torch.equal(read[key], expected)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata == {"licence": "CC0 é", "model": "wmnet", "config": '{"base":"none"}'}
    assert (sha256, size) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


def test_a_transposed_tensor_keeps_its_meaning(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    save_weights(tmp_path / "a.safetensors", "m", {"t": tensor.T}, {})
    assert torch.equal(
        safetensors.torch.load_file(tmp_path / "a.safetensors")["t"].float(), tensor.T
    )


def test_bytes_do_not_depend_on_order_or_process(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from sdr2hdr.weights.save import save_weights\n"
        "s = {'b': torch.arange(6.), 'a': torch.ones(2, 2)}\n"
        "print(save_weights(Path(sys.argv[1]), 'm', s, {'x': 1, 'y': [2]}, {'one': '1', 'two': '2', 'three': '3'})[0])"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b.safetensors")],
        check=True,
        capture_output=True,
        text=True,
    )
    state = {"a": torch.ones(2, 2), "b": torch.arange(6.0)}
    texts = {"three": "3", "two": "2", "one": "1"}
    sha256, _ = save_weights(tmp_path / "a.safetensors", "m", state, {"y": [2], "x": 1}, texts)
    assert other.stdout.strip() == sha256


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 70000.0])
def test_what_half_precision_cannot_hold_is_refused_and_the_old_file_stays(
    tmp_path: Path, value: float
) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, "m", {"t": torch.ones(2)}, {})
    before = path.read_bytes()
    with pytest.raises(ModelError, match="t holds a value"):
        save_weights(path, "m", {"t": torch.tensor([1.0, value])}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="gone"):
        save_weights(tmp_path / "gone" / "a.safetensors", "m", {"t": torch.ones(2)}, {})


def test_the_header_is_sound_json_and_tensors_lie_aligned(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, "m", STATE, {}, half=False)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert (8 + length) % 8 == 0
    for key, tensor in STATE.items():
        assert header[key]["data_offsets"][0] % tensor.element_size() == 0
