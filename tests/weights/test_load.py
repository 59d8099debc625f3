"""What loads is exactly what was named; everything else is refused with a reason."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import sdr2hdr
from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.weights.load import choose, parse
from sdr2hdr.weights.opened import load_model, open_model, spec_of
from sdr2hdr.weights.save import save_weights

SMALL = {"attention": "published", "base": "none", "channels": 16, "blocks": 3}
List = Callable[..., Path]


def changed(path: Path, **tensors: torch.Tensor | None) -> Path:
    """The weight with some tensors replaced, or left out (None)."""
    state = safetensors.torch.load_file(path)
    for key, tensor in tensors.items():
        name = key.replace("__", ".")
        state.pop(name, None)
        if tensor is not None:
            state[name] = tensor
    save_weights(path, "wmnet", state, SMALL)
    return path


def test_the_librarys_name_is_this_function() -> None:
    assert sdr2hdr.load_model is load_model


def test_a_file_of_ones_own_loads_in_float32(weight: Path) -> None:
    stored = safetensors.torch.load_file(weight)
    assert {t.dtype for t in stored.values()} == {torch.float16}
    model = load_model("wmnet", weights=weight)
    assert not model.training
    for key, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, stored[key].float())


def test_its_hash_is_told(weight: Path) -> None:
    entry = choose("wmnet", str(weight))
    assert entry is not None and entry == open_model("wmnet", weight).entry
    assert entry.sha256 == hashlib.sha256(weight.read_bytes()).hexdigest()
    assert (entry.model, entry.config, entry.licence) == ("wmnet", SMALL, "CC0")


def test_a_listed_weight_loads_by_its_name_by_its_models_and_as_weights(
    weight: Path, listed: List
) -> None:
    listed(weight.read_bytes(), config=SMALL)
    by_name = load_model("small").state_dict()
    as_weights = load_model("wmnet", weights="small").state_dict()
    assert all(torch.equal(tensor, as_weights[key]) for key, tensor in by_name.items())
    assert choose("small") == choose("wmnet", "small")
    opened = open_model("small")
    assert opened.spec == spec_of("small") and opened.spec.name == "wmnet"
    assert opened.entry == choose("small")


def test_a_models_default_is_taken(
    weight: Path, listed: List, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdr2hdr.weights.manifest.BUNDLED", weight.with_name("none.toml"))
    weight.with_name("none.toml").write_text("")
    listed(weight.read_bytes(), config=SMALL)
    with pytest.raises(
        ModelError,
        match=r"^Model wmnet has no bundled weight yet; name one with --weights [^.]*\.$",
    ):
        load_model("wmnet")
    listed(weight.read_bytes(), config=SMALL, default=True)
    entry = choose("wmnet")
    assert entry is not None
    assert entry.name == "small"


@pytest.mark.parametrize(
    ("name", "keys"),
    [("bt2408", {}), ("wmnet", {}), ("wmnet", {"model": "kpnet", "default": True})],
)
def test_a_models_name_means_its_default_only(
    weight: Path, listed: List, monkeypatch: pytest.MonkeyPatch, name: str, keys: dict[str, Any]
) -> None:
    monkeypatch.setattr("sdr2hdr.weights.manifest.BUNDLED", weight.with_name("none.toml"))
    weight.with_name("none.toml").write_text("")
    path = listed(weight.read_bytes(), **keys)
    path.write_text(path.read_text().replace("[small]", f"[{name}]"))
    with pytest.raises(ModelError, match=rf"weights\.toml: weight '{name}' has a model's name"):
        load_model(name)


@pytest.mark.parametrize("name", ["bt2408", "bt2446a"])
def test_static_mappings_need_none_and_take_none(name: str, weight: Path) -> None:
    assert choose(name) is None and open_model(name).entry is None
    assert not load_model(name).training
    with pytest.raises(ModelError, match="takes no weights"):
        load_model(name, weights=weight)


def test_one_flipped_byte_is_refused(weight: Path, listed: List) -> None:
    data = bytearray(weight.read_bytes())
    listed(bytes(data), config=SMALL)
    load_model("small")
    data[-1000] ^= 0xFF
    weight.write_bytes(data)
    with pytest.raises(ModelError, match=r"small\.safetensors.*SHA-256"):
        load_model("small")


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"config": SMALL | {"blocks": 6}}, "config"),
        ({"config": {}}, "config"),
        ({"config": SMALL, "model": "bt2408"}, "model"),
    ],
)
def test_file_and_manifest_must_agree(
    weight: Path, listed: List, keys: dict[str, Any], reason: str
) -> None:
    path = listed(weight.read_bytes(), **keys)
    with pytest.raises(ModelError) as error:
        load_model("small")
    assert f"the file says {reason}" in str(error.value)
    assert str(weight) in str(error.value)
    assert str(path) in str(error.value)


def test_unknown_names_are_answered_with_the_known_ones(weight: Path, listed: List) -> None:
    listed(weight.read_bytes())
    with pytest.raises(ModelError, match=r"'nothing'.*wmnet.*small"):
        load_model("nothing")
    with pytest.raises(ModelError, match=r"nothing: .*small"):
        load_model("wmnet", weights="nothing")
    with pytest.raises(ModelError, match=r"nothing\.safetensors.*No such file"):
        load_model("wmnet", weights="nothing.safetensors")
    with pytest.raises(ModelError, match=r"no model 'small'"):
        load_model("small", weights=weight)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"conv_first__bias": None}, "conv_first.bias is missing"),
        ({"more": torch.ones(1)}, "more has no place"),
        (
            {"conv_last__bias": torch.ones(4)},
            r"conv_last.bias is float16 \[4\].*needs float32 \[3\]",
        ),
        ({"conv_last__bias": torch.ones(3, dtype=torch.int32)}, "conv_last.bias is int32"),
    ],
)
def test_the_first_bad_key_is_named(weight: Path, tensors: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=rf"small\.safetensors: {reason}"):
        load_model("wmnet", weights=changed(weight, **tensors))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(weight: Path, value: float) -> None:
    state = safetensors.torch.load_file(weight)
    state["conv_last.bias"][1] = value
    texts = {"model": "wmnet", "config": json.dumps(SMALL)}
    safetensors.torch.save_file(state, weight, texts)
    with pytest.raises(ModelError, match=r"conv_last\.bias holds"):
        load_model("wmnet", weights=weight)


def test_a_file_of_another_writer_is_sent_to_import(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(registry.build("wmnet", SMALL).state_dict(), path)
    with pytest.raises(ModelError, match="sdr2hdr weights import"):
        load_model("wmnet", weights=path)


@pytest.mark.parametrize(
    "config",
    [
        *("[]", "3", "{", '{"blocks": 7}', '{"walls": 1}', '{"channels": "x"}', "[" * 100_000),
        *(
            '{"channels": -1}',
            '{"channels": 0}',
            '{"blocks": -2}',
            '{"channels": 1' + 30 * "0" + "}",
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(weight: Path, config: str) -> None:
    safetensors.torch.save_file(
        safetensors.torch.load_file(weight), weight, {"model": "wmnet", "config": config}
    )
    with pytest.raises(ModelError):
        load_model("wmnet", weights=weight)


@pytest.mark.parametrize(
    ("model", "config"),
    [("kpnet", {"blocks": "a", "attention": "published"}), ("bt2408", {"mapping": "x"})],
)
def test_a_configuration_that_makes_no_sense_is_named(model: str, config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=f"Model {model} cannot be built with the configuration"):
        registry.spec(model, config)
        registry.build(model, config)


HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 2**64 - 1) + HEADER,  # a header longer than any memory
        struct.pack("<Q", 2**40) + HEADER,
        struct.pack("<Q", 90_000_000) + HEADER,
        struct.pack("<Q", len(HEADER)) + HEADER,  # no data
        struct.pack("<Q", len(HEADER)) + HEADER + b"\0" * 8,  # too much data
        struct.pack("<Q", 100_000) + b"[" * 100_000,  # brackets to overflow a stack
        struct.pack("<Q", 8) + b"not json" + b"\0" * 4,
        b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.",
        struct.pack("<Q", 75)
        + b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}  ',
    ],
)
def test_bombs_and_rubbish_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"bomb\.safetensors"):
        load_model("wmnet", weights=path)
    with pytest.raises(ModelError):
        parse(data, path)


def test_a_folder_is_no_weight(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(ModelError, match="not a file"):
        load_model("wmnet", weights=tmp_path / "a.safetensors")


@pytest.mark.parametrize("device", ["nothing", "cuda:99", "cpu:x"])
def test_a_device_that_cannot_be_had_is_named(weight: Path, device: str) -> None:
    with pytest.raises(ModelError, match=device):
        load_model("wmnet", weights=weight, device=device)


def test_a_weight_file_is_a_name_of_its_own_model(tmp_path: Path) -> None:
    model = registry.build("look")
    tensors = {name: p.detach() for name, p in model.named_parameters()}
    path = tmp_path / "mine.safetensors"
    save_weights(path, "look", tensors, registry.spec("look").config, {"licence": "none"})
    loaded = load_model(str(path))
    for name, p in loaded.named_parameters():
        assert torch.allclose(p, tensors[name], atol=1e-3)
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(str(tmp_path / "none.safetensors"))
