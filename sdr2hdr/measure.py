"""Films and folders of frames, converted or to be converted, measured against an HDR truth."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

from torch import Tensor

from sdr2hdr.data.paired import PairedScene, frame_files, paired_scenes, sides
from sdr2hdr.data.scene_list import read_scene_list, select
from sdr2hdr.errors import InputError
from sdr2hdr.jobs.exposures import Times
from sdr2hdr.jobs.plan import survey
from sdr2hdr.media.png import png_facts, read_codes
from sdr2hdr.media.source import Source
from sdr2hdr.metrics.measures import Measure, Meter
from sdr2hdr.metrics.scores import Score
from sdr2hdr.metrics.worst import Worst
from sdr2hdr.render.looks import SceneLooks
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.opened import open_model

LEAST = 16
"""Pixels that a picture must have each way to be measured."""

_RATE = 25.0  # frames a second of folders, which do not say


@dataclass(frozen=True)
class Strip:
    """Frames in order: a film, or a scene of a folder.

    ``frames`` gives ``3,H,W`` float32, R'G'B' of BT.709 where ``sdr``, else PQ codes of BT.2020. ``scenes`` gives where scenes
    begin, and the number of frames as the last; ``size`` is width, height. ``loose`` frames have nothing to do with one another.
    """

    name: str
    sdr: bool
    size: tuple[int, int]
    rate: float
    frames: Callable[[], Iterator[Tensor]]
    scenes: Callable[[], Sequence[int]]
    loose: bool = False


@dataclass(frozen=True)
class Pairing:
    """What is measured: a strip, and the truth beside it where there is one."""

    strip: Strip
    truth: Strip | None


def film(path: Path, times: Times = ()) -> Strip:
    """A video: SDR, HDR10, or HLG, which is taken to the light of a display of 1000 nits. Raises InputError.

    ``times`` are exposures that alternate in it.
    """
    source = Source(path, hdr=True, hlg=True)
    sdr = source.info.hdr is None

    def frames() -> Iterator[Tensor]:
        return (p.rgb() if sdr else p.codes() for p in source.pictures())

    def scenes() -> list[int]:
        found = survey(source, "auto", lambda _done, _total: None, times)
        return [0, *found.cuts, len(found.pts)]

    return Strip(path.stem, sdr, source.info.size, float(source.info.rate), frames, scenes)


def folder_strip(name: str, paths: Sequence[Path], *, loose: bool = False) -> Strip:
    """PNG frames: 8 bits are SDR, 16 bits PQ. Raises InputError."""
    facts = png_facts(paths[0])
    count = len(paths)
    begins = list(range(count + 1)) if loose else [0, count]
    return Strip(name, facts.depth == 8, facts.size, _RATE, lambda: map(read_codes, paths), lambda: begins, loose)


def pairings(
    what: Path, truth: Path | None, scene_list: Path | None = None, part: str = "all", times: Times = ()
) -> list[Pairing]:
    """What two names stand for: two videos, two folders of frames, or a data set with an SDR and an HDR folder in it.

    Of folders only the scenes of a list are taken, where one is given, and of these only one ``part``. Raises InputError.
    """
    if truth is not None and what.is_dir() != truth.is_dir():
        raise InputError(
            f"Of {what} and {truth} one is a folder and one is not; give two videos or two folders of frames."
        )
    if not what.is_dir():
        if scene_list is not None:
            raise InputError(f"A list of scenes is for folders of frames, and {what} is none; leave --scenes out.")
        return [Pairing(film(what, times), None if truth is None else _truth(film(truth), truth))]
    if truth is None and not _is_data_set(what):
        if not (strips := _strips(what)):
            raise InputError(
                f"{what} holds no PNG frames; name a folder that does, or a data set with sdr and hdr in it."
            )
        return [Pairing(strip, None) for strip in strips]
    left, right = sides(what) if truth is None else (what, truth)
    files = frame_files(left)
    if not files:
        raise InputError(f"{left} holds no PNG frames; name the folder that does.")
    results = png_facts(next(iter(files.values()))).depth == 16
    scenes = paired_scenes(left, right, results=results)
    if scene_list is not None:
        scenes = select(
            scenes, read_scene_list(scene_list), None if part == "all" else "train" if part == "train" else "test"
        )
        if not scenes:
            raise InputError(f"{scene_list} has no scene for {part}; ask for --part all.")
    return [_paired(s) for s in scenes]


def _is_data_set(folder: Path) -> bool:
    return any("sdr" in p.name.lower() for p in folder.iterdir() if p.is_dir())


def _paired(scene: PairedScene) -> Pairing:
    strips = (folder_strip(scene.name, paths, loose=scene.loose) for paths in (scene.sdr, scene.hdr))
    return Pairing(next(strips), next(strips))


def _strips(folder: Path) -> list[Strip]:
    scenes: dict[str, list[Path]] = {}
    for (scene, _), path in frame_files(folder).items():
        scenes.setdefault(scene, []).append(path)
    # without a partner a folder's frames are a clip: flicker is what can be measured of it
    return [folder_strip(folder.name if name == "." else name, paths) for name, paths in scenes.items()]


def _truth(strip: Strip, path: Path) -> Strip:
    if strip.sdr:
        raise InputError(f"{path} is SDR and cannot be the truth; give an HDR10 or HLG video, or change the order.")
    return strip


def measure(
    pairs: Sequence[Pairing],
    models: Sequence[str],
    measures: Iterable[Measure],
    worst: Worst,
    *,
    limit: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    peak: float = 1000.0,
    times: Times = (),
    progress: Callable[[str, int], None] = lambda _what, _done: None,
) -> Iterator[Score]:
    """Scores of all frames, or the first ``limit`` of each strip. SDR strips are converted by each model, as ``convert`` would.

    HDR strips are measured as they are, under the name "result". ``times`` are exposures that alternate from each strip's first
    frame on; models that know none do not hear of them. Raises InputError where strip and truth do not fit.
    """
    measures = tuple(measures)
    for pair in pairs:
        strip = pair.strip
        _check_sizes(pair)
        if not strip.sdr:
            yield from _measured(pair, "result", strip.frames(), measures, worst, limit, progress)
            continue
        begins = strip.scenes()
        if limit is not None:
            begins = sorted({min(b, limit) for b in begins})
        for name in models:
            converted = _converted(strip, begins, name, device, precision, peak, times)
            yield from _measured(pair, name, converted, measures, worst, limit, progress)


def _check_sizes(pair: Pairing) -> None:
    strip, truth = pair.strip, pair.truth
    if min(strip.size) < LEAST:
        raise InputError(
            f"{strip.name} is {strip.size[0]}x{strip.size[1]}, too small to be measured; {LEAST} pixels is the least."
        )
    if truth is not None and max(abs(a - b) for a, b in zip(strip.size, truth.size, strict=True)) > 1:
        sizes = ["x".join(map(str, s.size)) for s in (strip, truth)]
        raise InputError(
            f"{strip.name} is {sizes[0]}, but its truth {truth.name} is {sizes[1]}; scale one of them first."
        )


def _converted(
    strip: Strip, begins: Sequence[int], name: str, device: str, precision: str, peak: float, times: Times
) -> Iterator[Tensor]:
    """PQ codes of a model, scene by scene."""
    loaded = open_model(name)
    spec, size = loaded.spec, strip.size[::-1]
    renderer = Renderer(loaded.model, spec, size, device=device, precision=precision, peak=peak, exposures=times)
    looks = SceneLooks(renderer.model, spec)
    for number, frame in enumerate(islice(strip.frames(), begins[-1]) if spec.thumb else ()):
        if looks.wants(number):
            looks.see(number, frame)
    frames = strip.frames()
    for (first, last), look in zip(pairwise(begins), looks.of(begins), strict=True):
        run = Run(first, last, first, last)
        yield from renderer.run(islice(frames, last - first), run, renderer.new_states(look))


def _measured(
    pair: Pairing,
    model: str,
    results: Iterator[Tensor],
    measures: tuple[Measure, ...],
    worst: Worst,
    limit: int | None,
    progress: Callable[[str, int], None],
) -> Iterator[Score]:
    strip, truth = pair.strip, pair.truth
    meter = Meter(measures, rate=strip.rate)
    truths = None if truth is None else truth.frames()
    guides = strip.frames() if strip.sdr else None
    held: Score | None = None
    number = 0
    for whole in islice(results, limit):
        others = [None if frames is None else next(frames, None) for frames in (truths, guides)]
        if truth is not None and others[0] is None:
            raise InputError(f"{truth.name} has {number} frames, fewer than {strip.name}; cut them to the same frames.")
        least = [min(n) for n in zip(*(x.shape[-2:] for x in (whole, *others) if x is not None), strict=True)]
        area = (..., slice(least[0]), slice(least[1]))
        result, (target, guide) = whole[area], (None if x is None else x[area] for x in others)
        if strip.loose:
            meter = Meter(measures, rate=strip.rate)
        if held is not None:
            yield held
        scene = f"{number + 1:03d}" if strip.loose else strip.name
        held = Score(model, scene, number, meter.add(result, target, guide))
        worst.offer(held, result, target, guide)
        number += 1
        progress(f"{model}: {strip.name}", number)
    if truth is not None and truths is not None and limit is None and next(truths, None) is not None:
        raise InputError(f"{strip.name} has {number} frames, fewer than {truth.name}; cut them to the same frames.")
    if held is not None:
        yield replace(held, values={**held.values, **meter.finish()})
