"""From a name to a model that is ready to run."""

from dataclasses import dataclass
from pathlib import Path

import torch

from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.models.model import Model
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.weights import cubes, fetch
from sdr2hdr.weights.load import check_agrees, choose, fill, parse
from sdr2hdr.weights.manifest import WeightEntry


@dataclass(frozen=True)
class Loaded:
    """An opened model (float32, evaluation mode, on the CPU), its spec, and its weight if it has one."""

    model: Model
    spec: ModelSpec
    entry: WeightEntry | None


def open_model(name: str = "wmnet", weights: str | Path | None = None) -> Loaded:
    """Open a model with its weights.

    ``name`` is a model, a weight of the manifest, or a file: ``.safetensors``, which names its own model, or ``.cube``, a
    colour table for the model ``lut``. ``weights`` is a weight of the manifest or such a file. Raises ModelError, naming
    file and reason, if a name is unknown or a file is missing, changed, misshapen or not finite.
    """
    entry = choose(name, weights)
    if entry is None:
        return Loaded(registry.build(name), spec_with(name, None), None)
    path = fetch.place(entry)
    if path.suffix.lower() == cubes.SUFFIX:
        tensors = cubes.cube_tensors(fetch.read(entry), path)
    else:
        tensors, metadata = parse(fetch.read(entry), path)
        check_agrees(entry, metadata, path)
    if registry.stands_alone(entry.model, entry.config) and any(
        k.startswith(("look.", "reader.")) for k in tensors
    ):
        raise ModelError(
            f"{path}: its tensors are of our own form of {entry.model}, while its configuration is that of a published form; "
            "leave the configuration as it was."
        )
    model = registry.build(entry.model, entry.config)
    fill(model, tensors, entry.model, path)
    return Loaded(model, spec_with(name, entry), entry)


def spec_of(name: str = "wmnet", weights: str | Path | None = None) -> ModelSpec:
    """What the model that :func:`open_model` would open needs; opens no weight of the manifest. Raises ModelError."""
    return spec_with(name, choose(name, weights))


def spec_with(name: str, entry: WeightEntry | None) -> ModelSpec:
    """What the model of that name needs with the weight that :func:`~sdr2hdr.weights.load.choose` gave for it."""
    return registry.spec(name) if entry is None else registry.spec(entry.model, entry.config)


def load_model(
    name: str = "wmnet", *, weights: str | Path | None = None, device: str | torch.device = "cpu"
) -> Model:
    """The model of :func:`open_model` alone, on ``device``. Raises ModelError as it does, or if the device cannot be used."""
    try:
        return open_model(name, weights).model.to(device)
    except (RuntimeError, AssertionError) as e:  # torch built without CUDA asserts
        reason = str(e).partition("\n")[0]
        raise ModelError(
            f"Device {str(device)!r} cannot be used ({reason}); cpu always can."
        ) from e
