"""From a name to a weight, and from a file to tensors that fit a model. Nothing in a weight file is ever executed."""

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.models.model import Model
from sdr2hdr.weights import cubes, manifest
from sdr2hdr.weights.manifest import WeightEntry
from sdr2hdr.weights.save import canonical

_LARGEST = (
    4 << 30
)  # bytes; a file of the user's own beyond that is a mistake (a film, say), not a weight


def choose(name: str, weights: str | Path | None = None) -> WeightEntry | None:
    """The weight that ``open_model`` would take, or None for a model that needs no weights; opens nothing of the manifest's.

    A ``.safetensors`` file of the user's own is read, and becomes an entry with the model and configuration that it carries.
    """
    known = manifest.entries()
    if weights is None and name not in registry.names():
        if name in known:
            return known[name]
        if name.endswith((".safetensors", cubes.SUFFIX)):
            return own_entry(Path(name), known)
        both = ", ".join(dict.fromkeys([*registry.names(), *known]))
        raise ModelError(f"There is no model or weight {name!r}; choose one of {both}.")
    spec = registry.spec(name)
    if weights is None:
        entry = manifest.default_for(name) if spec.has_weights else None
        if name in known and known[name] != entry:
            reason = f"weight {name!r} has a model's name and must then be that model's default"
            raise ModelError(f"{known[name].manifest}: {reason}; give it another name.")
        if entry is None and name == cubes.MODEL:
            raise ModelError(
                "Model lut applies a colour table of your own; name it with --lut FILE.cube."
            )
        if entry is None and spec.has_weights:
            raise ModelError(
                f"Model {name} has no bundled weight yet; name one with --weights (`sdr2hdr weights list` shows them)."
            )
        return entry
    if not spec.has_weights:
        raise ModelError(
            f"Model {name} is a fixed mapping and takes no weights; leave {str(weights)!r} out."
        )
    entry = known[str(weights)] if str(weights) in known else own_entry(Path(weights), known)
    if entry.model != name:
        raise ModelError(
            f"Weight {str(weights)!r} is for model {entry.model}, not for {name}; choose that model."
        )
    return entry


def model_of(weights: str | Path) -> str:
    """The model that weights are for: a named weight or a file of the user's own. Raises ModelError."""
    known = manifest.entries()
    entry = known[str(weights)] if str(weights) in known else own_entry(Path(weights), known)
    return entry.model


def own_entry(path: Path, known: Iterable[str] = ()) -> WeightEntry:
    """The entry that a file of the user's own makes for itself; ``known`` is for the message.

    It is a ``.safetensors`` file that sdr2hdr wrote, or a ``.cube`` file. Raises ModelError for any other.
    """
    model: str
    config: dict[str, Any]
    metadata: dict[str, str]
    if path.suffix.lower() == cubes.SUFFIX:
        data = cubes.read_cube(path)
        model, config, metadata = cubes.MODEL, cubes.cube_config(data, path), {}
    elif path.suffix == ".safetensors":
        data = read_own(path)
        _, metadata = parse(data, path)
        model, config = _named_model(metadata, path)
    else:
        names = ", ".join(known) or "none yet"
        raise ModelError(
            f"{path}: neither a .safetensors file nor a known weight (known are: {names})."
        )
    return WeightEntry(
        name=path.stem,
        model=model,
        source=f"file:{path.absolute()}",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        manifest=path.absolute(),
        config=config,
        licence=metadata.get("licence", "unknown"),
        data=metadata.get("data", "unknown"),
        recipe=metadata.get("recipe", "unknown"),
        commit=metadata.get("commit", "unknown"),
    )


def _named_model(metadata: Mapping[str, str], path: Path) -> tuple[str, dict[str, Any]]:
    """The model and the configuration that a file's metadata name."""
    try:
        model, config = metadata["model"], json.loads(metadata["config"])
    except (KeyError, ValueError, RecursionError) as e:
        raise ModelError(
            f"{path}: the file does not say which model it is for; bring it in with `sdr2hdr weights import`."
        ) from e
    if not isinstance(config, dict):
        raise ModelError(
            f"{path}: the configuration that the file carries is not a table; it cannot be used."
        )
    return model, config


def read_own(path: Path) -> bytes:
    """The bytes of a weight file that no manifest vouches for."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST:
            raise ModelError(
                f"{path}: this is not a file, or one too large for a weight; is the name right?"
            )
        return path.read_bytes()
    except OSError as e:
        raise ModelError(f"{path}: the weight file cannot be read ({e.strerror}).") from e


def parse(data: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file's bytes; ``path`` is for the message. Checks them to be finite."""
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as e:
        raise ModelError(f"{path}: this is not a usable safetensors file ({e}).") from e
    check_finite(tensors, path)
    # the library gives the metadata of files only; it has just found this header to be sound
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, header.get("__metadata__") or {}


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises ModelError naming the first tensor that holds a value which is infinite or not a number."""
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
            raise ModelError(
                f"{path}: {key} holds infinite values or values that are not numbers; it cannot be used."
            )


def fill(model: Model, tensors: Mapping[str, Tensor], name: str, path: Path) -> None:
    """Puts tensors into a model, half precision as float32; every key and shape must be there, and no other."""
    wanted: dict[str, Tensor] = model.state_dict()
    for key, tensor in wanted.items():
        if key not in tensors:
            raise ModelError(
                f"{path}: {key} is missing; this is not a weight of model {name} as configured."
            )
        given = tensors[key]
        if given.shape != tensor.shape or given.is_floating_point() != tensor.is_floating_point():
            has, needs = (
                f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in (given, tensor)
            )
            raise ModelError(
                f"{path}: {key} is {has}, while model {name} as configured needs {needs}."
            )
    if extra := sorted(tensors.keys() - wanted.keys()):
        raise ModelError(f"{path}: {extra[0]} has no place in model {name} as configured.")
    model.load_state_dict(dict(tensors))  # copies into the model's own float32


def check_agrees(entry: WeightEntry, metadata: Mapping[str, Any], path: Path) -> None:
    """Raise ModelError unless the file names the same model and configuration as the manifest's entry."""
    for what, says, should in (
        ("model", metadata.get("model"), entry.model),
        ("config", metadata.get("config"), canonical(entry.config)),
    ):
        if says != should:
            raise ModelError(
                f"{path}: the file says {what} {says}, while weight {entry.name!r} in {entry.manifest} says {should}; "
                "correct the entry."
            )
