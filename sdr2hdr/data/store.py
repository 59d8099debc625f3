"""Clips on disk: made once, by any number of processes; of each the loop reads only the patch that it needs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from sdr2hdr.data.clips import Clip, Span, cut, rgb
from sdr2hdr.data.damage import Planes
from sdr2hdr.data.footage import Maker, scene_of
from sdr2hdr.errors import InputError
from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.writing import make_folder, note_down, whole_file

_PLANES = ("y", "cb", "cr")
_CLEAN = ("clean_y", "clean_cb", "clean_cr")
SUFFIX = ".safetensors"


def write_clip(clip: Clip, path: Path) -> None:
    """One clip as safetensors; it appears whole or not at all."""
    tensors = dict(zip(_PLANES + _CLEAN, clip.planes + clip.clean, strict=True))
    tensors["codes"] = clip.codes.to(torch.uint16)
    meta = {"scene": clip.scene, "look": clip.look, "qp": str(clip.qp)}
    meta["brightness"] = repr(clip.brightness)
    data = save({k: t.contiguous().numpy() for k, t in tensors.items()}, meta)
    with whole_file(path) as part:
        part.write_bytes(data)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A clip's file. Raises InputError if it is damaged."""
    try:
        with safe_open(path, "pt") as f:
            yield f
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as e:
        raise InputError(
            f"{path} is damaged; delete it, and the same command makes the clip again."
        ) from e


def read_clip(path: Path) -> Clip:
    """A clip written by :func:`write_clip`. Raises InputError if it is damaged."""
    with _opened(path) as f:
        (y, cb, cr), (y0, cb0, cr0) = (map(f.get_tensor, names) for names in (_PLANES, _CLEAN))
        codes, meta = f.get_tensor("codes").to(torch.int32), f.metadata()
    qp, brightness = int(meta["qp"]), float(meta["brightness"])
    return Clip((y, cb, cr), (y0, cb0, cr0), codes, meta["scene"], meta["look"], qp, brightness)


class _Plane:
    """A plane ``T,H,W`` in an open file, of which slices are read."""

    def __init__(self, file: Any, name: str) -> None:
        self._slice = file.get_slice(name)
        self.shape = tuple(self._slice.get_shape())

    def __getitem__(self, index: tuple[slice, ...]) -> Tensor:
        found: Tensor = self._slice[index]
        return found


def clip_paths(folder: Path, count: int | None = None) -> list[Path]:
    """The first ``count`` clips of a folder, or all."""
    return sorted(folder.glob(f"*{SUFFIX}"))[:count]


def claim(folder: Path, kind: str) -> None:
    """Note in a new folder of clips of what ``kind`` they are. Raises InputError if it has clips of another kind."""
    note, said = folder / "kind.txt", f"{kind}\n".encode()
    if not note.exists() and any(folder.glob(f"*/*{SUFFIX}")):
        return  # made before there were such notes
    if note_down(note, said, "a note on clips") != said:
        raise InputError(
            f"{folder} holds clips of other settings than [clips] of this recipe has; name another folder with --clips."
        )


def make_clips(maker: Maker, folder: Path, numbers: range) -> int:
    """Make the training clips that the folder lacks; returns how many were made."""
    make_folder(folder)
    made = 0
    for n in numbers:
        path = folder / f"{n:06d}{SUFFIX}"
        if not path.exists():
            write_clip(maker.train_clip(n), path)
            made += 1
    return made


@dataclass(frozen=True)
class Batch:
    """Patches of clips: SDR R'G'B' ``sdr`` and PQ codes ``hdr``, ``B,T,3,P,P``; the SDR from before it was compressed, ``clean``,
    of the same shape (``sdr`` again unless it is asked for); thumbnails of the whole pictures ``thumbs B,T,3,S,S`` (S is 0 unless
    asked for); where in them the patches are, ``place B,4``: top, left, bottom, right as shares of the picture; the clips'
    ``brightness B`` and ``qp B``, float, 0 for those that went through no codec; and the names of their ``scenes``."""

    sdr: Tensor
    hdr: Tensor
    clean: Tensor
    thumbs: Tensor
    place: Tensor
    brightness: Tensor
    qp: Tensor
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

    With ``flips`` half of the patches are flipped top to bottom, and half are transposed. They begin at multiples of ``grid``
    pixels, at least 2.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        count: int | None = None,
        *,
        flips: bool = True,
        grid: int = 2,
    ) -> None:
        self.paths = clip_paths(folder, count)
        self.seed, self.flips, self.grid = seed, flips, grid

    def facts(self, index: int) -> Facts:
        """The facts of a clip."""
        with _opened(self.paths[index]) as f:
            frames, height, width = f.get_slice("y").get_shape()
            return Facts(int(f.metadata()["qp"]), frames, height, width)

    def check(self, frames: int, patch: int) -> None:
        """Raise InputError for a clip that is too short or too small for patches, as another recipe has made it."""
        for index, path in enumerate(self.paths):
            has = self.facts(index)
            if has.frames < frames or min(has.height, has.width) < patch:
                raise InputError(
                    f"{path} has {has.frames} frames of {has.width}x{has.height}, and this recipe takes patches of {patch} pixels"
                    f" from {frames}; name another folder with --clips."
                )

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
            first = int(rng.integers(0, facts.frames - frames + 1))
            top, left = (
                int(rng.integers(0, (n - patch) // self.grid + 1)) * self.grid
                for n in (facts.height, facts.width)
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
        damaged, clean, masters, thumbs = ([] for _ in range(4))
        places, brightness, qps, scenes = [], [], [], []
        draws = list(self.draws(step, size, frames, patch, strong_from))
        for draw in draws:
            which = slice(draw.first, draw.first + frames)
            rows, columns = (draw.top, draw.top + patch), (draw.left, draw.left + patch)
            with _opened(self.paths[draw.clip]) as f:
                damaged.append(_cut(f, _PLANES, which, rows, columns))
                if undamaged:
                    clean.append(_cut(f, _CLEAN, which, rows, columns))
                masters.append(f.get_slice("codes")[which, :, slice(*rows), slice(*columns)])
                _, height, width = f.get_slice("y").get_shape()
                if thumb:
                    whole = (0, height), (0, width)
                    picture = rgb(_cut(f, _PLANES, which, *whole), *whole)
                    thumbs.append(thumbnail(picture[None], thumb)[0])
                meta = f.metadata()
                brightness.append(float(meta["brightness"]))
                qps.append(float(meta["qp"]))
                scenes.append(scene_of(meta["scene"]))
            places.append(place(draw, patch, height, width))

        def pictures(planes: list[Planes]) -> Tensor:
            y, cb, cr = (torch.cat(same) for same in zip(*planes, strict=True))
            every = rgb((y, cb, cr), (0, patch), (0, patch))
            return _turned(every.view(size, -1, 3, patch, patch), draws)

        sdr = pictures(damaged)
        return Batch(
            sdr,
            _turned(torch.stack(masters).to(torch.int32), draws).float() / 65535.0,
            pictures(clean) if undamaged else sdr,
            _turned(torch.stack(thumbs), draws) if thumb else sdr[..., :0, :0],
            torch.tensor(places),
            torch.tensor(brightness),
            torch.tensor(qps),
            tuple(scenes),
        )


def _cut(file: Any, names: tuple[str, ...], which: slice, rows: Span, columns: Span) -> Planes:
    return cut([_Plane(file, name) for name in names], which, rows, columns)


def _turned(pictures: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Pictures ``B,...,P,P``, flipped and transposed as drawn."""
    out = []
    for picture, draw in zip(pictures, draws, strict=True):
        flipped = picture.flip(-2) if draw.flipped else picture
        out.append(flipped.transpose(-1, -2) if draw.transposed else flipped)
    return torch.stack(out)


def place(draw: Draw, patch: int, height: int, width: int) -> tuple[float, float, float, float]:
    """Where a patch is in its picture, which is flipped and transposed as the patch: top, left, bottom, right, as shares."""
    top, bottom = draw.top / height, (draw.top + patch) / height
    left, right = draw.left / width, (draw.left + patch) / width
    if draw.flipped:
        top, bottom = 1 - bottom, 1 - top
    return (left, top, right, bottom) if draw.transposed else (top, left, bottom, right)
