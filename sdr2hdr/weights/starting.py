"""Tensors that training begins with: those of a weight, or of Stable Diffusion's published autoencoder."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from sdr2hdr.errors import ModelError
from sdr2hdr.models.stable import StableAutoencoder, named_as_today
from sdr2hdr.weights import download, fetch
from sdr2hdr.weights.load import parse, read_own
from sdr2hdr.weights.manifest import hub_file
from sdr2hdr.weights.opened import open_model


def starting_tensors(name: str) -> dict[str, Tensor]:
    """The tensors by name, float32, of a model's or weight's own file, for training to begin with.

    ``hf:owner/repo@revision/path/NAME.safetensors`` is Stable Diffusion's autoencoder on the hub, in the diffusers layout.
    """
    if name.startswith("hf:"):
        return published_autoencoder(name)
    return {key: p.detach().float() for key, p in open_model(name).model.named_parameters()}


def published_autoencoder(source: str, layout: StableAutoencoder | None = None) -> dict[str, Tensor]:
    """Stable Diffusion's autoencoder, from the hub by name and revision, as HDR-V-Diff in the paper's size names its tensors.

    ``layout`` is another size of it. Raises ModelError for a file of another network.
    """
    file = hub_file(source)
    if fetch.offline():
        raise ModelError(f"{source} is to be downloaded, and offline use is asked for; unset SDR2HDR_OFFLINE.")
    with TemporaryDirectory() as folder:
        path = download.from_hub(file, Path(folder), None)
        tensors = named_as_today(parse(read_own(path), path)[0])
    if layout is None:
        with torch.device("meta"):
            layout = StableAutoencoder()
    wanted = layout.state_dict()
    for key, tensor in wanted.items():
        if key not in tensors or tensors[key].shape != tensor.shape:
            raise ModelError(f"{source}: {key} is missing or of another shape; this is another network's file.")
    return {f"autoencoder.{key}": tensors[key].float() for key in wanted}
