"""Published checkpoints come in whole or not at all, and never run anything."""

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from sdr2hdr.errors import ModelError, OutputError
from sdr2hdr.models import registry
from sdr2hdr.weights.importers import PUBLISHED, import_checkpoint
from sdr2hdr.weights.opened import load_model

Tensors = dict[str, Tensor]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published network with fewer channels and blocks, under the same keys: the tests run faster."""
    known = PUBLISHED["wmnet"]
    monkeypatch.setitem(
        PUBLISHED, "wmnet", replace(known, config={**known.config, "channels": 16, "blocks": 3})
    )


@pytest.fixture
def state() -> Tensors:
    torch.manual_seed(3)
    return registry.build("wmnet", PUBLISHED["wmnet"].config).state_dict()


def stored(path: Path, what: Any) -> Path:
    torch.save(what, path)
    return path


@pytest.mark.parametrize(
    "wrap", ["plain", "params", "params_ema", "state_dict", "module", "safetensors", "old"]
)
def test_every_published_wrapping_gives_the_same_numbers(
    state: Tensors, tmp_path: Path, wrap: str
) -> None:
    src, dst = tmp_path / "stage2.pth", tmp_path / "ours.safetensors"
    if wrap == "safetensors":
        src = tmp_path / "theirs.safetensors"
        safetensors.torch.save_file(state, src)
    elif wrap == "old":
        torch.save(state, src, _use_new_zipfile_serialization=False)
    elif wrap == "module":
        stored(src, {f"module.{key}": tensor for key, tensor in state.items()})
    else:
        stored(src, state if wrap == "plain" else {wrap: state, "iter": 3, "optimizer": {}})
    result = import_checkpoint("wmnet", src, dst)
    loaded = load_model("wmnet", weights=dst).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.items())
    assert result.left_out == (
        ("iter", "optimizer") if wrap in ("params", "params_ema", "state_dict") else ()
    )
    assert result.entry.config == registry.configuration("wmnet", PUBLISHED["wmnet"].config)
    assert (result.entry.file, result.entry.size) == (dst, dst.stat().st_size)


def test_the_published_network_has_the_papers_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    network = registry.build("wmnet", PUBLISHED["wmnet"].config)
    # table IV of the WMNet paper says 1.36 M; the exact number is the published network's
    assert sum(t.numel() for t in network.state_dict().values()) == 1_362_067


class Malice:
    """A pickle that would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("how", ["pickle", "torch", "torch old", "nested"])
def test_a_malicious_pickle_runs_nothing(state: Tensors, tmp_path: Path, how: str) -> None:
    target, src = tmp_path / "owned", tmp_path / "stage2.pth"
    evil: Any = Malice(target)
    if how == "pickle":
        src.write_bytes(pickle.dumps(evil, 2))
        # the trap is live: free unpickling does run it
        pickle.loads(src.read_bytes())
        target.unlink()
    else:
        what = {"params": state, "more": evil} if how == "nested" else evil
        torch.save(what, src, _use_new_zipfile_serialization=how != "torch old")
    with (
        warnings.catch_warnings(record=True) as warned,
        pytest.raises(ModelError, match=r"stage2\.pth.*nothing of it was run") as said,
    ):
        import_checkpoint("wmnet", src, tmp_path / "ours.safetensors")
    assert not warned and "weights_only" not in str(
        said.value
    )  # torch advises to run what is in it
    assert not target.exists()
    assert not (tmp_path / "ours.safetensors").exists()


def without(state: Tensors, *prefixes: str) -> Tensors:
    return {key: tensor for key, tensor in state.items() if not key.startswith(prefixes)}


@pytest.mark.parametrize("left", [("propagation.", "memory.", "mlp."), ("memory.", "mlp.")])
def test_the_first_stage_is_known_and_refused(
    state: Tensors, tmp_path: Path, left: tuple[str, ...]
) -> None:
    src = stored(tmp_path / "stage1.pth", without(state, *left))
    with pytest.raises(ModelError, match="first training stage"):
        import_checkpoint("wmnet", src, tmp_path / "ours.safetensors")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more.weight": torch.ones(1)}, "more.weight has no place"),
        ({"conv_first.bias": torch.ones(17)}, "conv_first.bias is float32 [17]"),
        ({"conv_first.bias": torch.full((16,), float("nan"))}, "conv_first.bias holds"),
        ({"conv_first.bias": 3}, "'conv_first.bias' is not a plain tensor"),
        (
            {"conv_first.bias": torch.ones(64).to_sparse()},
            "'conv_first.bias' is not a plain tensor",
        ),
        ({"module.conv_first.bias": torch.ones(64)}, "with and without 'module.'"),
        ({3: torch.ones(1)}, "3 is not a plain tensor"),
    ],
)
def test_nothing_is_dropped_or_bent(
    state: Tensors, tmp_path: Path, change: Any, reason: str
) -> None:
    src = stored(tmp_path / "stage2.pth", state | change)
    with pytest.raises(ModelError) as error:
        import_checkpoint("wmnet", src, tmp_path / "ours.safetensors")
    assert "stage2.pth: " in str(error.value)
    assert reason in str(error.value)
    assert not (tmp_path / "ours.safetensors").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    dst = tmp_path / "ours.safetensors"
    for what in ({"weight": torch.ones(3)}, torch.ones(3), [torch.ones(3)], {}):
        with pytest.raises(ModelError, match=r"a\.pth"):
            import_checkpoint("wmnet", stored(tmp_path / "a.pth", what), dst)
    (tmp_path / "a.pth").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match=r"a\.pth"):
        import_checkpoint("wmnet", tmp_path / "a.pth", dst)
    with pytest.raises(ModelError, match=r"gone\.pth"):
        import_checkpoint("wmnet", tmp_path / "gone.pth", dst)
    with pytest.raises(ModelError, match=r"bt2408.*wmnet"):
        import_checkpoint("bt2408", tmp_path / "a.pth", dst)


def test_no_file_is_overwritten(state: Tensors, tmp_path: Path) -> None:
    src = tmp_path / "theirs.safetensors"
    safetensors.torch.save_file(state, src)
    before = src.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        import_checkpoint("wmnet", src, src)
    assert src.read_bytes() == before
    with pytest.raises(OutputError, match=r"\.safetensors"):
        import_checkpoint("wmnet", src, tmp_path / "ours.pth")


@pytest.fixture
def kpnet(monkeypatch: pytest.MonkeyPatch) -> Tensors:
    """A published KPNet checkpoint with fewer channels, the weights that it never uses among its keys."""
    known = PUBLISHED["kpnet"]
    monkeypatch.setitem(PUBLISHED, "kpnet", replace(known, config={**known.config, "channels": 8}))
    torch.manual_seed(4)
    used = registry.build("kpnet", PUBLISHED["kpnet"].config).state_dict()
    unused = {
        f"{name}.{kind}": torch.ones(8)
        for name in ("down_fea1", "up_conv1.0")
        for kind in ("weight", "bias")
    }
    return used | unused


def test_kpnet_comes_in_without_what_it_never_uses(kpnet: Tensors, tmp_path: Path) -> None:
    src, dst = stored(tmp_path / "latest_G.pth", kpnet), tmp_path / "kpnet-qp37.safetensors"
    result = import_checkpoint("kpnet", src, dst)
    assert result.left_out == (
        "down_fea1.bias",
        "down_fea1.weight",
        "up_conv1.0.bias",
        "up_conv1.0.weight",
    )
    loaded = load_model("kpnet", weights=dst).state_dict()
    assert loaded.keys() == kpnet.keys() - set(result.left_out)
    assert all(torch.equal(tensor, kpnet[key]) for key, tensor in loaded.items())


def test_each_strength_of_kpnet_is_an_entry_of_its_own(kpnet: Tensors, tmp_path: Path) -> None:
    names = set()
    for qp in (32, 47):
        src = stored(
            tmp_path / "latest_G.pth", kpnet | {"conv_first.bias": torch.full((8,), float(qp))}
        )
        names.add(
            import_checkpoint("kpnet", src, tmp_path / f"kpnet-qp{qp}.safetensors").entry.name
        )
    assert len(names) == 2


def test_another_variant_is_refused(kpnet: Tensors, tmp_path: Path) -> None:
    light = registry.build(
        "kpnet-light", {"base": "none", "context": False, "channels": 8}
    ).state_dict()
    src, dst = stored(tmp_path / "light.pth", light), tmp_path / "kpnet.safetensors"
    with pytest.raises(ModelError, match=r"light\.pth: down_conv1\.weight is missing.*model kpnet"):
        import_checkpoint("kpnet", src, dst)
    import_checkpoint("kpnet", stored(tmp_path / "full.pth", kpnet), dst)
    with pytest.raises(ModelError, match=r"is for model kpnet, not for kpnet-light"):
        load_model("kpnet-light", weights=dst)
