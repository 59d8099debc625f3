"""Imports published checkpoints without executing anything in them."""

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sdr2hdr.errors import ModelError, OutputError
from sdr2hdr.models import registry
from sdr2hdr.weights.load import check_finite, fill, own_entry, parse, read_own
from sdr2hdr.weights.manifest import WeightEntry
from sdr2hdr.weights.save import save_weights

_WRAPPERS = ("params_ema", "params", "state_dict")


@dataclass(frozen=True)
class Published:
    """A model's published checkpoint: the options of the network that it is for, and what must be said before it is used.

    ``early`` lists the first parts of the keys that a checkpoint of an earlier training stage lacks, and ``refusal``
    is what is said of one. ``unused`` lists the first parts of keys that the published network holds but never uses;
    they are left out. Where ``several`` files are published, the entry's name tells them apart.
    """

    config: Mapping[str, Any]
    where: str
    licence: str
    note: str
    data: str
    early: tuple[str, ...] = ()
    refusal: str = ""
    unused: tuple[str, ...] = ()
    several: bool = False


PUBLISHED = {
    "wmnet": Published(
        config={"form": "published"},
        where="github.com/eezkni/WMNet, pretrain_model/stage2.pth",
        licence="MIT by the publisher's README; parts derive from CC BY-NC code",
        note=(
            "The publisher's README says MIT, but the repository has no licence file and parts of it derive from code "
            "under CC BY-NC, which forbids commercial use. Whether you may use these weights is for you to find out."
        ),
        data="HDRTV4K-Scene, as the paper says",
        early=("propagation.", "memory.", "mlp."),
        refusal="this is WMNet after its first training stage, without T-MoE and memory; import stage2.pth instead",
    ),
    "kpnet": Published(
        config={"form": "published"},
        where="github.com/wanghu178/KPNet, code/model/{32,37,42,47}/latest_G.pth",
        licence="MIT",
        note=(
            "MIT. There is a file for each strength of compression (QP 32, 37, 42, 47), and none says which it is: "
            "name the new file after it, say kpnet-qp37.safetensors."
        ),
        data="HDRTV1K, compressed by HM 16.9 (intra) at one QP, as the paper says",
        unused=("down_fea1.", "up_conv1."),
        several=True,
    ),
}


@dataclass(frozen=True)
class Imported:
    """The manifest entry of the new file, and the names of the checkpoint's content that was left out."""

    entry: WeightEntry
    left_out: tuple[str, ...]


def published(model: str) -> Published:
    """What is known of the model's published checkpoint; raises ModelError if there is none."""
    if model not in PUBLISHED:
        raise ModelError(
            f"No published checkpoint of {model!r} is known; models with one: {', '.join(PUBLISHED)}."
        )
    return PUBLISHED[model]


def import_checkpoint(model: str, src: Path, dst: Path) -> Imported:
    """Turns a published ``.pth`` (or ``.safetensors``) file into our safetensors file ``dst``.

    Numbers are kept as they are: float32 stays float32, so that the result equals the published network. Raises
    ModelError if the file is not exactly a checkpoint of that model, OutputError if ``dst`` exists.
    """
    known = published(model)
    if dst.suffix != ".safetensors":
        raise OutputError(f"{dst}: the name of the new file must end in .safetensors.")
    if dst.exists():
        raise OutputError(f"{dst}: the file exists; name another with -o, or delete it.")
    data = read_own(src)
    tensors, left_out = _read(src, data)
    if known.unused:
        left_out += tuple(sorted(key for key in tensors if key.startswith(known.unused)))
        tensors = {
            key: tensor for key, tensor in tensors.items() if not key.startswith(known.unused)
        }
    network = registry.build(model, known.config)
    missing = network.state_dict().keys() - tensors.keys()
    if known.early and missing and all(key.startswith(known.early) for key in missing):
        raise ModelError(f"{src}: {known.refusal}.")
    fill(network, tensors, model, src)
    digest = hashlib.sha256(data).hexdigest()
    facts = {
        "licence": known.licence,
        "data": known.data,
        "recipe": f"imported from {src.name} (SHA-256 {digest}), in the form published at {known.where}",
        "commit": "unknown",
    }
    config = registry.configuration(model, known.config)
    save_weights(dst, model, tensors, config, facts, half=False)
    name = f"{model}-published-{digest[:8]}" if known.several else f"{model}-published"
    entry = replace(own_entry(dst), name=name)  # from the file as it lies there now
    return Imported(entry, left_out)


def _read(src: Path, data: bytes) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The checkpoint's tensors under plain names, and the names of its other content."""
    if src.suffix == ".safetensors":
        loaded: Any = parse(data, src)[0]
    else:
        try:
            loaded = unpickle(io.BytesIO(data))
        except ValueError as e:
            raise ModelError(
                f"{src} is damaged or no checkpoint of plain tensors, and nothing of it was run; get a new copy."
            ) from e
    tensors, left_out = _unwrap(src, loaded)
    plain = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    if len(plain) != len(tensors):
        raise ModelError(
            f"{src}: a key is there with and without 'module.' before it; which one counts is unclear."
        )
    check_finite(plain, src)
    return plain, left_out


def unpickle(file: BinaryIO) -> Any:
    """What a file that PyTorch wrote holds, if that is tensors and plain containers. Raises ValueError; nothing in it is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles that are not PyTorch's
        try:
            # weights_only admits tensors and plain containers and calls nothing; safe as of torch 2.6 (CVE-2025-32434)
            return torch.load(file, map_location="cpu", weights_only=True)
        except (
            Exception
        ) as e:  # damaged files raise whatever the zip and pickle readers stumble over
            raise ValueError from e


def _unwrap(src: Path, loaded: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    left_out: tuple[str, ...] = ()
    wrapper = next(
        (
            key
            for key in _WRAPPERS
            if isinstance(loaded, dict) and isinstance(loaded.get(key), dict)
        ),
        None,
    )
    if wrapper is not None:
        left_out = tuple(sorted(str(key) for key in loaded if key != wrapper))
        loaded = loaded[wrapper]
    if not isinstance(loaded, dict):
        raise ModelError(
            f"{src}: the file holds a {type(loaded).__name__}, not named tensors; it is no checkpoint."
        )
    for key, value in loaded.items():
        if (
            not isinstance(key, str)
            or not isinstance(value, Tensor)
            or value.layout != torch.strided
        ):
            raise ModelError(
                f"{src}: {key!r} is not a plain tensor; it has no place in a checkpoint."
            )
    return dict(loaded), left_out
