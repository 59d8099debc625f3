"""Data sets of alternating exposures: DeepHDRVideo, Cinematic and HDRVideo as DeepHDRVideo's authors lay them out, and Real-HDRV.

Frames are 8-bit or 16-bit pictures whose codes are light to the power 1 / 2.2. HDR pictures are linear; 1 is the largest light
that the shortest exposure holds. Source: Chen et al., "HDR video reconstruction: a coarse-to-fine network and a real-world
benchmark dataset" (2021), and its published data.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from sdr2hdr.color.mulaw import MU_PEAK
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import CAMERA_GAMMA, WHITE, pq_inverse_eotf
from sdr2hdr.data.response import read_response
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import read_picture, read_radiance
from sdr2hdr.reading import read_text

SCALE = MU_PEAK
"""Nits of the value 1 of HDR pictures. Papers judge them in the mu-law domain, in which 1000 nits are 1 here."""

REAL_HDRV_STOPS = 3.0
"""The longer exposure of Real-HDRV over the shorter one. The data do not tell it; this ratio was measured in its pixels."""

_MOST_STOPS = 20.0


@dataclass(frozen=True)
class ExposedScene:
    """Frames in order, their exposure times in stops above the shortest, and each frame's HDR picture, if there is one.

    ``response`` is a camera's response curve that the frames still have (HDRVideo).
    """

    name: str
    frames: tuple[Path, ...]
    stops: tuple[float, ...]
    truth: tuple[Path | None, ...]
    response: Path | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def exposures(self) -> tuple[float, ...]:
        """The exposures of the model contract, 1 for code 1 at SDR white: the shortest clips at :data:`SCALE`."""
        return tuple(2.0**stop * WHITE / SCALE for stop in self.stops)

    @property
    def judged(self) -> tuple[int, ...]:
        """The numbers of the frames that have an HDR picture."""
        return tuple(n for n, path in enumerate(self.truth) if path is not None)

    def sdr(self) -> Iterator[Tensor]:
        """The frames' R'G'B' codes ``3,H,W`` 0..1. Raises InputError."""
        curve = None if self.response is None else read_response(self.response)
        for path in self.frames:
            codes = read_picture(path)
            if curve is not None:
                at = (codes * (curve.shape[1] - 1)).round().long()
                codes = torch.stack([c[i] for c, i in zip(curve, at, strict=True)])
                codes = codes.clamp(0, 1).pow(1 / CAMERA_GAMMA)
            yield codes

    def hdr(self) -> Iterator[Tensor]:
        """PQ codes ``3,H,W`` (BT.2020) of the judged frames. A picture brighter than 1 is divided by its largest value, as the
        published evaluation does. Raises InputError."""
        for path in filter(None, self.truth):
            light = read_radiance(path)
            light = (light / light.max().clamp_min(1.0)).clamp_min(0.0) * SCALE
            yield pq_inverse_eotf(convert(light, "bt709", "bt2020").clamp_min(0.0))


def exposed_scenes(folder: Path, stream: int | None = None) -> list[ExposedScene] | None:
    """The scenes of a folder in one of the layouts; None if it is of none of them. Raises InputError if one is incomplete.

    * DeepHDRVideo: ``scene_all.txt`` names folders with ``Exposures.txt`` and ``img_hdr_list.txt`` or ``img_list.txt``;
    * Cinematic: ``scenes_2expo.txt`` or ``scenes_3expo.txt`` name such folders in ``Images``;
    * HDRVideo: ``2Exp_scenes.txt`` and ``3Exp_scenes.txt`` name such folders. ``BaslerCRF.mat`` is the camera's response; the HDR
      pictures are another method's results, and no truth;
    * Real-HDRV: scenes with ``Input_0``, ``Input_1`` and ``GT``. The exposures alternate, the longer first; ``stream`` 0 or 1
      takes the frames of one exposure instead.
    """
    if (folder / "scene_all.txt").exists():
        names = _names(folder / "scene_all.txt")
        return [_scene(folder, name, *_lists(folder / name)) for name in names]
    if found := [p for n in (2, 3) if (p := folder / f"scenes_{n}expo.txt").exists()]:
        images = folder / "Images"
        names = [name for path in found for name in _names(path)]
        return [_scene(images, name, *_synthetic(images / name)) for name in names]
    if found := [p for n in (2, 3) if (p := folder / f"{n}Exp_scenes.txt").exists()]:
        names = [name for path in found for name in _names(path)]
        curve = folder / "BaslerCRF.mat"
        scenes = ((name, _lists(folder / name)[0]) for name in names)
        return [_scene(folder, n, files, [None] * len(files), curve) for n, files in scenes]
    return _real_hdrv(folder, stream)


def _names(path: Path, columns: int = 1) -> list[str]:
    """The words of a list, ``columns`` in each line; each is a name below the list's folder."""
    words = []
    for number, line in enumerate(read_text(path, "a list of names").splitlines(), 1):
        if not line.strip():
            continue
        found = line.split()
        if len(found) < columns or any(
            PurePosixPath(w).is_absolute() or ".." in PurePosixPath(w).parts for w in found
        ):
            raise InputError(
                f"{path}, line {number}: {line[:60]!r} names no file of the data set; get the list again."
            )
        words += found[:columns]
    if not words:
        raise InputError(f"{path} is empty; get it again.")
    return words


def _lists(folder: Path) -> tuple[list[Path], list[Path | None]]:
    both = folder / "img_hdr_list.txt"
    if both.exists():
        names = _names(both, 2)
        truth = [folder / name for name in names[1::2]]
        return [folder / n for n in names[::2]], [p if p.exists() else None for p in truth]
    files = [folder / name for name in _names(folder / "img_list.txt")]
    return files, [None] * len(files)


def _synthetic(folder: Path) -> tuple[list[Path], list[Path | None]]:
    names = _names(folder / "img_list.txt")
    truth = [folder / f"{name}.hdr" for name in names]
    return [folder / f"{name}.tif" for name in names], [p if p.exists() else None for p in truth]


def _scene(
    folder: Path,
    name: str,
    files: list[Path],
    truth: list[Path | None],
    response: Path | None = None,
) -> ExposedScene:
    path = folder / name / "Exposures.txt"
    words = read_text(path, "a list of exposures").split()
    try:
        stops = [float(word) for word in words]
    except ValueError:
        stops = []
    if len(stops) < 2 or not all(math.isfinite(s) and abs(s) <= _MOST_STOPS for s in stops):
        raise InputError(f"{path} is no list of exposures in stops, one a line; get it again.")
    over = [stop - min(stops) for stop in stops]
    _check(files)
    return ExposedScene(
        name, tuple(files), tuple(islice(cycle(over), len(files))), tuple(truth), response
    )


def _check(files: list[Path]) -> None:
    missing = [path for path in files if not path.exists()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(files)} files of a scene are missing, the first is {missing[0]}; get the data set again."
        )


def _real_hdrv(folder: Path, stream: int | None) -> list[ExposedScene] | None:
    found = sorted(p.parent for p in folder.glob("*/Input_0") if p.is_dir())
    scenes = []
    for scene in found:
        streams = [sorted((scene / f"Input_{i}").glob("*.tif")) for i in (0, 1)]
        count = max(map(len, streams))
        if not count or len(streams[0]) != len(streams[1]):
            raise InputError(
                f"{scene} has {len(streams[0])} short and {len(streams[1])} long exposures; get the data set again."
            )
        which = [(n + 1) % 2 if stream is None else stream for n in range(count)]
        files = [streams[i][n] for n, i in enumerate(which)]
        truth = [scene / "GT" / f"GT_{path.stem}.hdr" for path in files]
        _check(truth)
        stops = tuple(REAL_HDRV_STOPS * i for i in which)
        scenes.append(ExposedScene(scene.name, tuple(files), stops, tuple(truth)))
    return scenes or None
