"""Real scenes in linear light: a folder of OpenEXR stills and, where there are any, the same photos as a phone rendered them.

The folder's ``manifest.json`` names each still's split, projection, primaries and whether 1.0 is the white of an SDR picture.
Scenes of the ``val`` split are for results only; some train scenes are set aside as ``select``, to choose the best weight
on. :func:`stills` gives one split at a time.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color.primaries import convert
from sdr2hdr.errors import InputError

Split = Literal["train", "select", "val"]


@dataclass(frozen=True)
class Still:
    """One scene. ``white_is_one``: linear 1.0 is SDR white (203 nits); else the scale is arbitrary, log-average 0.18."""

    path: Path
    split: Split
    panorama: bool
    primaries: str
    white_is_one: bool
    tag: str
    sdr: Path | None

    @property
    def name(self) -> str:
        return self.path.stem


def _split(entry: dict[str, str]) -> Split:
    """``select`` for about one train scene in eight, by its name's hash: the best weight is chosen on these, never on val."""
    if entry["split"] not in ("train", "val"):
        raise KeyError(f"split {entry['split']}")
    if entry["split"] == "val":
        return "val"
    digest = hashlib.sha256(Path(entry["file"]).stem.encode()).digest()
    return "select" if digest[-1] % 8 == 0 else "train"


def stills(folder: Path, split: Split) -> list[Still]:
    """All stills of one split, sorted by name; raises InputError where the folder is no corpus."""
    manifest = folder / "manifest.json"
    try:
        entries = json.loads(manifest.read_text())["stills"]
        found = [
            Still(
                folder / e["file"],
                _split(e),
                e["projection"] == "equirectangular",
                e["primaries"],
                bool(e["white_is_one"]),
                e["tag"],
                folder / e["sdr_pair"] if e.get("sdr_pair") else None,
            )
            for e in entries
        ]
    except FileNotFoundError:
        raise InputError(
            f"{folder} is no training corpus: it has no manifest.json; give the folder that holds it."
        ) from None
    except (KeyError, TypeError, json.JSONDecodeError) as e:
        raise InputError(f"{manifest} cannot be read as a list of stills ({e!r}); see docs/training.md.") from e
    return sorted((s for s in found if s.split == split), key=lambda s: s.name)


def load_linear(still: Still) -> Tensor:
    """The scene ``3,H,W`` float32 in linear light, BT.2020 primaries, no negative value."""
    import OpenEXR  # an extra: only training reads stills

    channels = OpenEXR.File(str(still.path)).channels()
    rgb = torch.from_numpy(np.ascontiguousarray(channels["RGB"].pixels.astype(np.float32))).permute(2, 0, 1)
    return convert(rgb, still.primaries, "bt2020").clamp_min_(0.0).contiguous()


def load_sdr(still: Still) -> Tensor:
    """The phone's rendition ``3,H,W`` float32 codes 0..1 of a still that has one."""
    if still.sdr is None:
        raise InputError(f"{still.path} has no SDR rendition beside it.")
    return torch.from_numpy(iio.imread(still.sdr)).permute(2, 0, 1).float() / 255.0
