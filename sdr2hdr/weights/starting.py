"""Tensors for the start of training: those of a weight, or of a published part of a network."""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.weights import download, fetch
from sdr2hdr.weights.load import parse, read_own
from sdr2hdr.weights.manifest import hub_file
from sdr2hdr.weights.opened import open_model, spec_of

_HUB = "hf:"


def starting_tensors(*sources: str, alone: bool = False) -> list[dict[str, Tensor]]:
    """The tensors by name, float32, of each source, for training to start with: a model's or a weight's own file.

    ``first.=wmnet-deep`` is a source for the part ``first`` of the network.

    They are for a network that stands ``alone`` (:func:`~sdr2hdr.models.registry.stands_alone`) or corrects a base. Raises
    ModelError if it stands alone and a weight is of one that corrects a base, before any source is downloaded or opened.

    ``hf:owner/repo@revision/path/NAME.safetensors`` is a file on the hub with Stable Diffusion's autoencoder, in the diffusers
    layout, which HDR-V-Diff's published form contains. Raises ModelError for a file of another network.
    """
    check_sources(*sources, alone=alone)
    found = []
    for part, source in map(_placed, sources):
        found.append({part + name: t for name, t in _tensors(source).items()})
    return found


def check_sources(*sources: str, alone: bool) -> None:
    """Raise ModelError as :func:`starting_tensors` does for what can be told without a download."""
    for _, source in map(_placed, sources):
        if source.startswith(_HUB):
            hub_file(source)
            if fetch.offline():
                raise ModelError(
                    f"{source} must be downloaded, but SDR2HDR_OFFLINE is set; unset it."
                )
            continue
        spec = spec_of(source)
        if alone and not registry.stands_alone(spec.name, spec.config):
            raise ModelError(
                f"{source} is a weight of our own form of {spec.name}, from which a published form cannot start; leave the "
                "start out, or name a weight of a published form."
            )


def _placed(source: str) -> tuple[str, str]:
    """The part of the network that a source is for, with its full stop, or nothing; and the source."""
    part, equals, rest = source.partition(".=")
    return (f"{part}.", rest) if equals else ("", source)


def _tensors(source: str) -> dict[str, Tensor]:
    if not source.startswith(_HUB):
        return open_model(source).model.state_dict()
    with TemporaryDirectory() as folder:
        path = download.from_hub(hub_file(source), Path(folder), None)
        return registry.network("hdrvdiff").from_published(parse(read_own(path), path)[0], source)
