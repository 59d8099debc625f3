"""The input of a measurement: films and folders of frames, each with its truth if there is one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from sdr2hdr.data.alternating import ExposedScene, exposed_scenes
from sdr2hdr.data.paired import PairedScene, frame_files, paired_scenes, sides
from sdr2hdr.data.scene_list import select_from
from sdr2hdr.errors import InputError
from sdr2hdr.jobs.exposures import Times
from sdr2hdr.jobs.plan import Survey, survey
from sdr2hdr.media.png import png_facts, read_codes
from sdr2hdr.media.source import Source
from sdr2hdr.options import DEFAULTS

_RATE = 25.0  # frames per second of folders, which state no rate


@dataclass(frozen=True)
class Strip:
    """Frames in order: a film, or a scene of a folder.

    ``frames`` gives ``3,H,W`` float32, R'G'B' of BT.709 where ``sdr``, else PQ codes of BT.2020. ``scenes`` gives the first
    frame of each scene, followed by the number of frames; ``size`` is width, height. ``loose`` are the names of
    frames that are unrelated to each other. ``qp`` gives how strongly the scene that begins at a frame was compressed
    (:mod:`sdr2hdr.media.quantiser`), or None.
    """

    name: str
    sdr: bool
    size: tuple[int, int]
    rate: float
    frames: Callable[[], Iterator[Tensor]]
    scenes: Callable[[], Sequence[int]]
    loose: tuple[str, ...] = ()
    qp: Callable[[int], float | None] = lambda _first: None


@dataclass(frozen=True)
class Pairing:
    """A strip, and its truth if there is one.

    If only some frames are ``judged``, the truth has a frame for each of them alone. ``times`` are the exposures of the
    strip's frames, if they alternate; ``qp`` is that at which its frames were compressed.
    """

    strip: Strip
    truth: Strip | None
    judged: tuple[int, ...] | None = None
    times: Times = ()
    qp: int | None = None


def film(path: Path, times: Times = ()) -> Strip:
    """A video: SDR, HDR10, or HLG, which is taken to the light of a display of 1000 nits. Raises InputError.

    ``times`` are exposures that alternate in it.
    """
    source = Source(path, hdr=True, hlg=True, deband=DEFAULTS.deband)
    sdr = source.info.hdr is None

    def frames() -> Iterator[Tensor]:
        return (p.rgb() if sdr else p.codes() for p in source.pictures())

    @cache
    def found() -> Survey:
        return survey(source, "auto", lambda _done, _total: None, times)

    def scenes() -> list[int]:
        return [0, *found().cuts, len(found().pts)]

    def qp(first: int) -> float | None:
        return found().qp(first)

    size, rate = source.info.size, float(source.info.rate)
    return Strip(path.stem, sdr, size, rate, frames, scenes, qp=qp)


def folder_strip(name: str, paths: Sequence[Path], *, loose: bool = False) -> Strip:
    """PNG frames: 8 bits are SDR, 16 bits PQ. Raises InputError."""
    facts = png_facts(paths[0])
    count = len(paths)
    begins = list(range(count + 1)) if loose else [0, count]
    return Strip(
        name,
        facts.depth == 8,
        facts.size,
        _RATE,
        lambda: map(read_codes, paths),
        lambda: begins,
        tuple(path.stem for path in paths) if loose else (),
    )


def pairings(
    what: Path,
    truth: Path | None,
    scene_list: Path | None = None,
    part: str = "all",
    times: Times = (),
) -> list[Pairing]:
    """The pair for two names: two videos, two folders of frames, or a data set with an SDR and an HDR folder.

    A folder may also hold one of the data sets of alternating exposures (:mod:`sdr2hdr.data.alternating`).
    Of folders only the scenes of a list are taken, where one is given, and of these only one ``part``. Raises InputError.
    """
    if truth is not None and what.is_dir() != truth.is_dir():
        raise InputError(
            f"Of {what} and {truth} one is a folder and one is not; give two videos or two folders of frames."
        )
    if not what.is_dir():
        if scene_list is not None:
            raise InputError(
                f"A list of scenes is for folders of frames, and {what} is none; leave --scenes out."
            )
        return [Pairing(film(what, times), None if truth is None else _truth(film(truth), truth))]
    if truth is None and (exposed := exposed_scenes(what)) is not None:
        return [_exposed(scene) for scene in exposed]
    if truth is None and not _is_data_set(what):
        if not (strips := _strips(what)):
            raise InputError(
                f"{what} holds no PNG frames; name a folder that does, or a data set with sdr and hdr in it."
            )
        return [Pairing(strip, None) for strip in strips]
    side = part if scene_list is None else "train"  # a list divides the training frames
    left, right = sides(what, side) if truth is None else (what, truth)
    files = frame_files(left)
    if not files:
        raise InputError(f"{left} holds no PNG frames; name the folder that does.")
    results = png_facts(next(iter(files.values()))).depth == 16
    scenes = paired_scenes(left, right, results=results)
    if scene_list is not None:
        scenes = select_from(scenes, scene_list, part)
    return [_paired(s) for s in scenes]


def _exposed(scene: ExposedScene) -> Pairing:
    try:
        first = next(scene.sdr())
        height, width = first.shape[-2:]
    except StopIteration:
        raise InputError(f"Scene {scene.name} has no frames; get the data set again.") from None
    count = len(scene)
    sides = [
        Strip(scene.name, sdr, (width, height), _RATE, frames, lambda: [0, count])
        for sdr, frames in ((True, scene.sdr), (False, scene.hdr))
    ]
    truth = sides[1] if scene.judged else None
    judged = scene.judged if scene.judged else None
    return Pairing(sides[0], truth, judged, scene.exposures)


def _is_data_set(folder: Path) -> bool:
    return any("sdr" in p.name.lower() for p in folder.iterdir() if p.is_dir())


def _paired(scene: PairedScene) -> Pairing:
    strips = (
        folder_strip(scene.name, paths, loose=scene.loose) for paths in (scene.sdr, scene.hdr)
    )
    return Pairing(next(strips), next(strips))


def _strips(folder: Path) -> list[Strip]:
    scenes: dict[str, list[Path]] = {}
    for (scene, _), path in frame_files(folder).items():
        scenes.setdefault(scene, []).append(path)
    # frames without a truth are a clip, so that flicker can be measured
    return [
        folder_strip(folder.name if name == "." else name, paths) for name, paths in scenes.items()
    ]


def _truth(strip: Strip, path: Path) -> Strip:
    if strip.sdr:
        raise InputError(
            f"{path} is SDR and cannot be the truth; give an HDR10 or HLG video, or change the order."
        )
    return strip
