"""Clips on disk: made once, by any number of processes, and read by the loop as memory maps."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.data.clips import Clip
from sdr2hdr.data.footage import Maker, scene_of
from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.writing import whole_file

_PLANES = ("y", "cb", "cr", "clean_y", "clean_cb", "clean_cr")


def write_clip(clip: Clip, path: Path) -> None:
    """One clip as an uncompressed archive; it appears whole or not at all."""
    with whole_file(path) as part, part.open("wb") as f:
        planes = {k: p.numpy() for k, p in zip(_PLANES, clip.planes + clip.clean, strict=True)}
        meta = np.array([clip.scene, clip.look, str(clip.qp), repr(clip.brightness)])
        np.savez(
            f, allow_pickle=False, **planes, codes=clip.codes.numpy().astype(np.uint16), meta=meta
        )


def read_clip(path: Path) -> Clip:
    """A clip written by :func:`write_clip`."""
    with np.load(path, allow_pickle=False) as z:
        y, cb, cr, y0, cb0, cr0 = (torch.from_numpy(z[k]) for k in _PLANES)
        scene, look, qp, brightness = (str(v) for v in z["meta"])
        codes = torch.from_numpy(z["codes"].astype(np.int32))
        return Clip((y, cb, cr), (y0, cb0, cr0), codes, scene, look, int(qp), float(brightness))


def clip_paths(folder: Path, count: int | None = None) -> list[Path]:
    """The first ``count`` clips of a folder, or all."""
    return sorted(folder.glob("*.npz"))[:count]


def make_clips(maker: Maker, folder: Path, numbers: range) -> int:
    """Make the training clips that the folder lacks; returns how many were made."""
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    for n in numbers:
        path = folder / f"{n:06d}.npz"
        if not path.exists():
            write_clip(maker.train_clip(n), path)
            made += 1
    return made


@dataclass(frozen=True)
class Batch:
    """Patches of clips: SDR R'G'B' ``sdr`` and PQ codes ``hdr``, ``B,T,3,P,P``; the SDR from before it was compressed, ``clean``,
    of the same shape (``sdr`` again unless it is asked for); thumbnails of the whole pictures ``thumbs B,T,3,S,S`` (S is 0 unless
    asked for); where in them the patches are, ``place B,4``: top, left, bottom, right as shares of the picture; the clips'
    ``brightness B``; and the names of their ``scenes``."""

    sdr: Tensor
    hdr: Tensor
    clean: Tensor
    thumbs: Tensor
    place: Tensor
    brightness: Tensor
    scenes: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        held = (getattr(self, f.name) for f in fields(self))
        moved: list[Any] = [v.to(device) if isinstance(v, Tensor) else v for v in held]
        return type(self)(*moved)


@dataclass(frozen=True)
class Facts:
    """The facts of a clip that a sampler needs: the QP of its SDR, its frames and its size."""

    qp: int
    frames: int
    height: int
    width: int


@dataclass(frozen=True)
class Draw:
    """A patch: which clip, its first frame, where it is, and whether it is then flipped top to bottom and transposed."""

    clip: int
    first: int
    top: int
    left: int
    flipped: bool
    transposed: bool


class Sampler:
    """Batches of patches from the first ``count`` clips of a folder, drawn from (seed, step): a resumed run gets the same.

    With ``flips`` half of the patches are flipped top to bottom, and half are transposed.
    """

    def __init__(
        self, folder: Path, seed: int, count: int | None = None, *, flips: bool = True
    ) -> None:
        self.paths = clip_paths(folder, count)
        self.seed, self.flips = seed, flips

    def facts(self, index: int) -> Facts:
        """The facts of a clip."""
        with np.load(self.paths[index], allow_pickle=False) as z:
            return Facts(int(z["meta"][2]), *z["y"].shape)

    def draws(
        self, step: int, size: int, frames: int, patch: int, strong_from: int
    ) -> Iterator[Draw]:
        """The patches of a batch. A clip of a QP below ``strong_from`` is redrawn once."""
        rng = np.random.default_rng([self.seed, step])
        for i in rng.integers(len(self.paths), size=size):
            clip = int(i)
            facts = self.facts(clip)
            if facts.qp < strong_from:
                clip = int(rng.integers(len(self.paths)))
                facts = self.facts(clip)
            first = int(rng.integers(0, max(facts.frames - frames, 0) + 1))
            top, left = (
                int(rng.integers(0, (n - patch) // 2 + 1)) * 2 for n in (facts.height, facts.width)
            )
            flipped, transposed = (bool(rng.random() < 0.5) and self.flips for _ in range(2))
            yield Draw(clip, first, top, left, flipped, transposed)

    def batch(
        self,
        step: int,
        size: int,
        frames: int,
        patch: int,
        thumb: int,
        *,
        undamaged: bool = False,
        strong_from: int = 0,
    ) -> Batch:
        """``size`` patches of ``patch`` pixels from ``frames`` frames, with thumbnails of ``thumb`` pixels.

        ``undamaged`` asks for the SDR from before compression; ``strong_from`` is that of :meth:`draws`.
        """
        batch: tuple[list[Tensor], ...] = ([], [], [], [])
        places, brightness, scenes = [], [], []
        for draw in self.draws(step, size, frames, patch, strong_from):
            clip = read_clip(self.paths[draw.clip])
            y, x = draw.top, draw.left
            which = slice(draw.first, draw.first + frames)
            area = (slice(y, y + patch), slice(x, x + patch))
            if thumb:
                picture = clip.sdr(which)
                sdr, whole = picture[..., *area], thumbnail(picture[None], thumb)[0]
            else:
                sdr = clip.sdr(which, area)
                whole = sdr[..., :0, :0]
            pictures = [
                sdr,
                clip.hdr(which, area),
                clip.undamaged(which, area) if undamaged else sdr,
                whole,
            ]
            if draw.flipped:
                pictures = [p.flip(-2) for p in pictures]
            if draw.transposed:
                pictures = [p.transpose(-1, -2) for p in pictures]
            brightness.append(clip.brightness)
            scenes.append(scene_of(clip.scene))
            places.append(torch.tensor(place(draw, patch, *clip.codes.shape[-2:])))
            for kept, p in zip(batch, pictures, strict=True):
                kept.append(p)
        sdr, hdr, clean, thumbs = (torch.stack(kept) for kept in batch)
        told = torch.tensor(brightness)
        return Batch(sdr, hdr, clean, thumbs, torch.stack(places), told, tuple(scenes))


def place(draw: Draw, patch: int, height: int, width: int) -> tuple[float, float, float, float]:
    """Where a patch is in its picture, which is flipped and transposed as the patch: top, left, bottom, right, as shares."""
    top, bottom = draw.top / height, (draw.top + patch) / height
    left, right = draw.left / width, (draw.left + patch) / width
    if draw.flipped:
        top, bottom = 1 - bottom, 1 - top
    return (left, top, right, bottom) if draw.transposed else (top, left, bottom, right)
