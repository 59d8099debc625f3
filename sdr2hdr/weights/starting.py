"""Tensors for the start of training: those of a weight, or of a published part of a network."""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.weights import download, fetch
from sdr2hdr.weights.load import parse, read_own
from sdr2hdr.weights.manifest import hub_file
from sdr2hdr.weights.opened import open_model


def starting_tensors(name: str, *, alone: bool = False) -> dict[str, Tensor]:
    """The tensors by name, float32, of a model's or a weight's own file, for training to start with.

    They are for a network that stands ``alone`` (:func:`~sdr2hdr.models.registry.stands_alone`) or corrects a base. Raises
    ModelError if it stands alone and the weight is of one that corrects a base.

    ``hf:owner/repo@revision/path/NAME.safetensors`` is a file on the hub with Stable Diffusion's autoencoder, in the diffusers
    layout, which HDR-V-Diff's published form contains. Raises ModelError for a file of another network.
    """
    if not name.startswith("hf:"):
        opened = open_model(name)
        if alone and not registry.stands_alone(opened.spec.name, opened.spec.config):
            raise ModelError(
                f"{name} is a weight of our own form of {opened.spec.name}, from which a published form cannot start; leave the "
                "start out, or name a weight of a published form."
            )
        return opened.model.state_dict()
    file = hub_file(name)
    if fetch.offline():
        raise ModelError(f"{name} must be downloaded, but SDR2HDR_OFFLINE is set; unset it.")
    with TemporaryDirectory() as folder:
        path = download.from_hub(file, Path(folder), None)
        return registry.network("hdrvdiff").from_published(parse(read_own(path), path)[0], name)
