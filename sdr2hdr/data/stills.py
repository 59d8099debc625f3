"""Real scenes in linear light: a folder of OpenEXR or Radiance stills and, where there are any, the same photos in SDR.

The folder's ``manifest.json`` names each still's split, projection, primaries and whether 1.0 is the white of an SDR picture.
Without one, all stills in the folder are taken, and the files themselves answer as well as they can (:func:`_guessed`).
Scenes of the ``val`` split are for results only; some train scenes are set aside as ``select``, to choose the best weight
on. :func:`stills` gives one split at a time.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color.primaries import PRIMARIES, convert
from sdr2hdr.color.transfer import bt1886_inverse_eotf, srgb_eotf
from sdr2hdr.data.splits import Split, is_select, is_val
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import read_radiance
from sdr2hdr.reading import read_text
from sdr2hdr.typed import typed

SUFFIXES = (".exr", ".hdr")


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


@dataclass(frozen=True)
class _Entry:
    """A still in the manifest, as docs/training.md has it."""

    file: str
    split: Literal["train", "val"]
    projection: Literal["equirectangular", "perspective"]
    primaries: Literal["bt709", "bt2020"]
    white_is_one: bool
    tag: str
    sdr_pair: str | None = None


@dataclass(frozen=True)
class _Manifest:
    stills: tuple[_Entry, ...]


def _split(entry: _Entry) -> Split:
    """``select`` for about one train scene in eight, by its name's hash: the best weight is chosen on these, never on val."""
    return "select" if entry.split == "train" and is_select(Path(entry.file).stem) else entry.split


def stills(folder: Path, split: Split) -> list[Still]:
    """All stills of one split, sorted by name; raises InputError where the folder is no corpus."""
    manifest = folder / "manifest.json"
    try:
        entries = _entries(manifest) if manifest.exists() else _guessed(folder)
        found = [
            Still(
                folder / e.file,
                _split(e),
                e.projection == "equirectangular",
                e.primaries,
                e.white_is_one,
                e.tag,
                folder / e.sdr_pair if e.sdr_pair else None,
            )
            for e in entries
        ]
    except OSError as e:
        raise InputError(
            f"{folder} cannot be read ({e.strerror}); name a folder of HDR stills."
        ) from e
    train, val = (
        {s.path.resolve() for s in found if (s.split == "val") is held} for held in (False, True)
    )
    if both := sorted(train & val):
        raise InputError(
            f"{manifest} lists {both[0].name} for training and for val; a val scene is never trained on."
        )
    return sorted((s for s in found if s.split == split), key=lambda s: s.name)


def _entries(manifest: Path) -> Sequence[_Entry]:
    """The manifest's entries, which may have more keys, such as a still's author. Raises InputError."""
    try:
        data = json.loads(read_text(manifest, "a list of stills"))
        return typed(data, _Manifest, others=True).stills
    except ValueError as e:
        cause = str(e)
    except RecursionError:
        cause = "it is nested too deeply"
    raise InputError(
        f"{manifest} cannot be read as a list of stills ({cause}); correct it as docs/training.md says."
    )


def _guessed(folder: Path) -> Sequence[_Entry]:
    """Entries as a manifest has them, of a folder without one.

    ``val`` is one still in eight, by its name's hash. A picture twice as wide as high is a panorama. Primaries are BT.2020 where
    an EXR's chromaticities say so, else BT.709; the scale is arbitrary. ``NAME.sdr.jpg`` (or ``.sdr.png``) beside ``NAME.exr``
    is the same photo in SDR, of the same size, and 1.0 is then taken for SDR white.
    """
    above = folder.resolve().parent / "manifest.json"
    if above.exists() and any(
        e.file.startswith(f"{folder.resolve().name}/") for e in _entries(above)
    ):
        # its splits are someone's word; other ones would let val scenes into training
        raise InputError(f"{folder} is listed in {above}; give the folder that holds the list.")
    entries: list[_Entry] = []
    for path in sorted(
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
    ):
        width, height, primaries = _header(path)
        pair = next(
            (
                p
                for end in ("jpg", "png")
                if (p := path.with_name(f"{path.stem}.sdr.{end}")).exists()
            ),
            None,
        )
        if pair is not None and (size := tuple(_picture(pair).shape[1::-1])) != (width, height):
            raise InputError(
                f"{pair} is {size[0]}x{size[1]}, but {path} is {width}x{height}; scale one of them or take the SDR picture out."
            )
        entries.append(
            _Entry(
                file=path.name,
                split="val" if is_val(path.stem) else "train",
                projection="equirectangular" if width == 2 * height else "perspective",
                primaries=primaries,
                white_is_one=pair is not None,
                tag="",
                sdr_pair=None if pair is None else pair.name,
            )
        )
    if not entries:
        raise InputError(
            f"{folder} is no training corpus: it has neither a manifest.json nor HDR stills (.exr, .hdr); "
            "name the folder that holds them."
        )
    return entries


def _header(path: Path) -> tuple[int, int, Literal["bt709", "bt2020"]]:
    """Width, height and primaries of a still."""
    if path.suffix.lower() == ".exr":
        header = _exr(path, header_only=True).header()
        (left, top), (right, bottom) = header["dataWindow"]
        red = header.get("chromaticities", (0.64, 0.33))[:2]
        wide = (
            abs(red[0] - PRIMARIES["bt2020"][0][0]) < 0.01
            and abs(red[1] - PRIMARIES["bt2020"][0][1]) < 0.01
        )
        return int(right - left + 1), int(bottom - top + 1), "bt2020" if wide else "bt709"
    _, height, width = read_radiance(path).shape
    return width, height, "bt709"


def _exr(path: Path, *, header_only: bool = False) -> Any:
    import OpenEXR

    try:
        file = OpenEXR.File(str(path), header_only=header_only)
        file.header()  # one that is cut short opens all the same, without its part
        return file
    except (RuntimeError, OSError, ValueError) as e:
        raise InputError(
            f"{path} cannot be read as OpenEXR; get a new copy or take it out of the corpus."
        ) from e


def load_linear(still: Still) -> Tensor:
    """The scene ``3,H,W`` float32 in linear light, BT.2020 primaries, no negative value."""
    if still.path.suffix.lower() != ".exr":
        rgb = read_radiance(still.path)
    else:
        channels = _exr(still.path).channels()
        own = channels.get("RGB") or channels.get("RGBA")
        if own is None:
            raise InputError(
                f"{still.path} holds no channels R, G and B; save it as RGB or take it out of the corpus."
            )
        pixels = np.ascontiguousarray(own.pixels[..., :3].astype(np.float32))
        rgb = torch.from_numpy(pixels).permute(2, 0, 1)
    if not torch.isfinite(rgb).all():
        rgb = torch.nan_to_num(rgb, nan=0.0, posinf=6e4, neginf=0.0)
    return convert(rgb, still.primaries, "bt2020").clamp_min_(0.0).contiguous()


def load_sdr(still: Still) -> Tensor:
    """The SDR rendition ``3,H,W`` of a still that has one, an sRGB file, as BT.1886 codes 0..1 of the same display light."""
    if still.sdr is None:
        raise InputError(f"{still.path} has no SDR rendition next to it.")
    codes = torch.from_numpy(_picture(still.sdr)).permute(2, 0, 1).float() / 255.0
    return bt1886_inverse_eotf(srgb_eotf(codes))


def _picture(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        return iio.imread(path, mode="RGB")
    except (OSError, ValueError, SyntaxError) as e:
        raise InputError(
            f"{path} cannot be read as a picture; get a new copy or take it out of the corpus."
        ) from e
