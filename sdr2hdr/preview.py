"""Single frames through the real model, to look at before a film is converted."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from sdr2hdr.color.grade import Grade
from sdr2hdr.color.primaries import luminance
from sdr2hdr.color.transfer import pq_code, pq_eotf
from sdr2hdr.color.yuv import to_yuv
from sdr2hdr.errors import InputError, ModelError
from sdr2hdr.jobs.auto import choose_model
from sdr2hdr.jobs.exposures import Times, check_count, exposures_for, read_from_frames
from sdr2hdr.jobs.looks import Look
from sdr2hdr.jobs.plan import Survey, scene_qps, survey
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.media.source import Source
from sdr2hdr.media.still import avif
from sdr2hdr.options import AUTO, DEFAULTS, Options
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.looks import SceneLooks, scene_look
from sdr2hdr.render.renderer import MODEL_PEAK, Renderer, Run
from sdr2hdr.scenes.cutlist import scenes_from_cuts, time_code
from sdr2hdr.scenes.detector import Cut, Detector
from sdr2hdr.scenes.small import small_frame
from sdr2hdr.views.falsecolour import false_colour
from sdr2hdr.views.pictures import SCREEN, as_hdr, fit, image, on_screen, png_bytes, shown_size
from sdr2hdr.views.sheet import Column, sheet
from sdr2hdr.weights.opened import Loaded, open_model, spec_of
from sdr2hdr.writing import check_free, make_folder, write_whole

HISTORY = 24
"""Frames that a model with memory sees before the one shown, if the scene has that many."""

_SPREAD = 24  # frames that tell the look of the whole film, if it is not read through
_LOOK = Fraction(3, 2)  # seconds on either side of a moment that are searched for cuts


@dataclass(frozen=True)
class Moment:
    """A frame to show: its index among the frames with known ``pts``, its scene ``first..last`` (exclusive) with its ``qp``."""

    pts: Sequence[int]
    frame: int
    first: int
    last: int
    qp: float | None


@dataclass(frozen=True)
class _Version:
    """A column of the pictures: a model with a grade and a look, its title, and its name as a part of a file's."""

    title: str
    filed: str
    model: str
    look: Look
    grade: Grade

    @classmethod
    def of(cls, model: str, options: Options, version: Mapping[str, Any], times: Times) -> Self:
        mine = options.changed(**version)
        look = Look.of(mine.look)
        spec = spec_of(model, mine.weights)
        words = [f"{key} {value}" for key, value in version.items() if value is not None]
        grade = look.grade(mine, spec, has_times=bool(times))
        filed = re.sub(r"[^\w.]+", "-", " ".join([Path(model).name, *words]))
        return cls(", ".join([model, *words]), filed, model, look, grade)

    def renderer(
        self, loaded: Loaded, size: tuple[int, int], options: Options, times: Times
    ) -> Renderer:
        """A renderer of the model, which is ``loaded``; versions of one model share it."""
        return Renderer(
            loaded.model, loaded.spec, size, device=options.device, precision=options.precision,
            tile=options.tile, grade=self.grade, peak=float(options.peak), exposures=times,
        )  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A preview that was written: seconds since the film's first frame, each model's brightest and mean light, nits; files."""

    seconds: float
    light: dict[str, tuple[float, float]]
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        light = {name: {"brightest": top, "mean": mean} for name, (top, mean) in self.light.items()}
        return {"seconds": self.seconds, "light": light, "files": [str(f) for f in self.files]}


def preview(
    src: str | Path,
    out: str | Path | None = None,
    *,
    at: Sequence[Fraction] = (),
    most: int = 24,
    models: Sequence[str] = (AUTO,),
    versions: Sequence[Mapping[str, Any]] = ({},),
    history: int = HISTORY,
    hdr: bool = False,
    edge: int = 960,
    screen: float = SCREEN,
    options: Options = DEFAULTS,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    note: Callable[[str], None] = lambda _sentence: None,
    **changes: Any,
) -> list[Shown]:
    """Write a PNG, and with ``hdr`` an AVIF for each model, of single frames of an SDR video.

    ``at``: seconds since the first frame; without any, the middle frame of each scene (``scenes`` as in ``convert``), of at most
    ``most`` scenes spread over the film. Each of ``versions`` is a set of options that every model is shown with, side by side:
    ``brightness``, ``highlights``, ``saturation`` and ``look``. Files go to the folder ``out`` (made if need be), by default
    ``NAME-preview`` in the current one. ``edge``: the longer one of a picture on the PNG, at most; ``screen``: nits of the screen
    that the PNG is for. Of the ``options``, and of single ``changes`` to them, those count that ``sdr2hdr preview`` has. If
    exposures alternate, or without ``at``, every frame is decoded once; else the look of the whole film is read here and there.
    ``note`` takes sentences on what was assumed of the film.

    Raises :class:`UsageError`, :class:`InputError`, :class:`OutputError` or :class:`ModelError`, with a message for people.
    """
    keep_one_heap()
    src, o = Path(src), options.changed(**changes)
    weights, exposures, peak = o.weights, o.exposures, o.peak
    if weights is not None and len(models) > 1:
        raise ModelError(
            "One file of weights does not fit several models; name the weights among --models instead."
        )
    source = open_source(src, o)
    chosen = (choose_model(o.changed(model=name), source.info.size).model for name in models)
    models = tuple(dict.fromkeys(chosen))
    specs = [spec_of(name, weights) for name in models]
    times, *_ = [exposures_for(exposures, spec) for spec in specs]
    if exposures is None and any(spec.exposures for spec in specs):
        times, _ = read_from_frames(
            source, lambda done: progress("scan", done, max(done, source.info.frames or 0))
        )
    height, wide = source.info.size[::-1]
    every = [_Version.of(name, o, version, times) for name in models for version in versions]
    columns = {c.title: c for c in every}
    opened = {name: open_model(name, weights) for name in models}
    renderers = {c.title: c.renderer(opened[c.model], (height, wide), o, times) for c in every}
    films = {
        name: SceneLooks(r.model, r.spec, r.grade, film=True)
        for name, r in renderers.items()
        if o.look_over == "film" and r.spec.look and not r.exposures
    }
    whole = times or not at or any(c.look.has_scenes for c in every)
    known = (
        survey(source, o.scenes, partial(progress, "scan"), times, list(films.values()))
        if whole
        else None
    )
    if known is not None and exposures is not None:
        check_count(exposures, times, len(known.pts), src)
    moments = [_moment(source, seconds, history, known) for seconds in at]
    if known is None:
        _spread(source, list(films.values()))
    elif not at:
        moments = _scene_moments(source, known, most)
    folder = _folder(src, out)
    named = {_name(source, moment): moment for moment in moments}  # two times may mean one frame
    for name in named:
        check_free(folder / f"{name}.png", o.overwrite, src)
    written = []
    for done, (name, moment) in enumerate(named.items()):
        progress("preview", done, len(named))
        rgb = next(_frames(source, moment, moment.frame, moment.frame + 1))
        codes = {
            title: _rendered(
                source,
                moment,
                r,
                (
                    _look(source, moment, r, history, films.get(title), known)
                    if columns[title].look.file is None
                    else _given(columns[title].look, r, known, moment, src)
                ),
                history,
            )
            for title, r in renderers.items()
        }
        seconds = (moment.pts[moment.frame] - source.info.start_pts) * source.info.time_base
        files = {folder / f"{name}.png": b""}
        size = shown_size((height, wide), source.info.sample_aspect_ratio, edge)
        shown, light = [_column("SDR as it is", as_hdr(rgb), rgb, peak, size, screen)], {}
        for title, result in codes.items():
            light[title] = _light(result)
            shown.append(_column(title, result, None, peak, size, screen))
            if hdr:
                planes = to_yuv(
                    result, seed=moment.pts[moment.frame], peak_code=pq_code(float(peak))
                )
                files[folder / f"{name}-{columns[title].filed}.avif"] = avif(planes)
        foot = (
            f"at {time_code(seconds)}; HDR toned down for a screen of {screen:g} nits (BT.2390-11 5.4.1); "
            "SDR luminance with white at 203 nits (BT.2408-7 5.1.3)"
        )
        files[folder / f"{name}.png"] = png_bytes(sheet(shown, foot))
        for path, data in files.items():
            write_whole(path, data, o.overwrite)
        written.append(Shown(float(seconds), light, tuple(files)))
    progress("preview", len(named), len(named))
    for sentence in dict.fromkeys(source.notes if known is None else known.notes):
        note(sentence)
    return written


def _moment(source: Source, seconds: Fraction, history: int, known: Survey | None = None) -> Moment:
    """The frame that is shown at a time, with the cuts around it; only the pictures near it are decoded, unless all are known."""
    info = source.info
    step = info.time_base
    target = info.start_pts + int(seconds / step)
    if known is None:
        pts, cuts, ended = _near(source, target, history)
    else:
        pts, cuts, ended = (
            known.pts,
            known.cuts,
            known.last_duration or round(1 / (info.rate * step)),
        )
    if ended is not None and (not pts or target >= pts[-1] + ended):
        end = (
            f"it ends at {time_code((pts[-1] + ended - info.start_pts) * step)}"
            if pts
            else "it ends before"
        )
        raise InputError(
            f"{source.path} has no picture at {time_code(seconds)}, {end}; give an earlier --at."
        )
    edges = [0, *(cut for cut in cuts if cut > 0), len(pts)]
    frame = max((i for i, time in enumerate(pts) if time <= target), default=0)
    first = max(e for e in edges if e <= frame)
    qps = scene_qps(source.qps, pts, edges[1:-1]) if known is None else known.qps
    qp = qps[edges.index(first)] if qps else None
    return Moment(pts, frame, first, min(e for e in edges if e > frame), qp)


def _near(
    source: Source, target: int, history: int
) -> tuple[Sequence[int], Sequence[int], int | None]:
    """The pts of the pictures around ``target``, the cuts between them, and the last one's duration if the film ends there."""
    info = source.info
    step = info.time_base
    before = max(_LOOK, (history + 8) / info.rate)
    detector, last_duration = Detector(step), None
    pts: list[int] = []
    cuts: list[Cut] = []
    for picture in source.pictures(max(info.start_pts, target - int(before / step)), qps=True):
        pts.append(picture.pts)
        last_duration = picture.duration
        small = small_frame(picture.planes, picture.layout)
        cuts += detector.push(small, picture.pts)
        if picture.pts > target + _LOOK / step:
            ended = None
            break
    else:
        ended = last_duration or round(1 / (info.rate * step))
    return pts, [c.frame for c in (*cuts, *detector.close())], ended


def _scene_moments(source: Source, found: Survey, most: int) -> list[Moment]:
    """The middle frame of each scene, or of ``most`` of them at even distances in their list."""
    if not found.pts:
        raise InputError(f"{source.path} holds no picture that decodes; check the file.")
    every = scenes_from_cuts(found.cuts, len(found.pts), found.pts)
    if len(every) > most:
        every = [every[(2 * i + 1) * len(every) // (2 * most)] for i in range(most)]
    return [
        Moment(found.pts, (s.first + s.last) // 2, s.first, s.last + 1, found.qp(s.first))
        for s in every
    ]


def _rendered(
    source: Source, moment: Moment, renderer: Renderer, look: Tensor | None, history: int
) -> Tensor:
    """The model's PQ codes ``3,H,W`` for the frame, after at most ``history`` frames of its scene."""
    spec, states = renderer.spec, renderer.new_states(look)
    remembers = (
        spec.stateful and not renderer.exposures
    )  # alternating exposures have no look, which HDR-V-Diff would remember
    begin = max(moment.first, moment.frame - history) if remembers else moment.frame
    if not spec.state_from_thumbs:
        run = Run(begin, moment.frame + 1, moment.first, moment.last, moment.qp)
        *_, codes = renderer.run(_frames(source, moment, *run.needs(spec)), run, states)
        return codes
    run = Run(moment.frame, moment.frame + 1, moment.first, moment.last, moment.qp)
    low, high = run.needs(spec)
    window = []
    for number, frame in enumerate(_frames(source, moment, min(begin, low), high), min(begin, low)):
        if begin <= number < moment.frame:
            renderer.recall(frame, states)
        if number >= low:
            window.append(frame)
    (codes,) = renderer.run(iter(window), run, states)
    return codes


def _given(
    look: Look, renderer: Renderer, known: Survey | None, moment: Moment, src: Path
) -> Tensor:
    """The look that a file gives the scene."""
    cuts, frames = ((), 0) if known is None else (known.cuts, len(known.pts))
    looks = look.scenes(renderer.brightness, cuts, frames, src)
    return torch.tensor(looks[bisect_right(cuts, moment.first)])


def _look(
    source: Source,
    moment: Moment,
    renderer: Renderer,
    history: int,
    film: SceneLooks | None,
    known: Survey | None,
) -> Tensor | None:
    """The look of the scene: what ``film`` has read of it in the whole film, or else what as many frames before and after the
    frame as ``history`` says tell, drawn halfway to the film's if it has read frames here and there."""
    if not renderer.spec.look or renderer.exposures:
        return None
    if film is not None and known is not None:
        return film.of([moment.first, moment.last])[0]
    near = max(moment.first, moment.frame - history), min(moment.last, moment.frame + history + 1)
    frames = _frames(source, moment, *near)
    look = scene_look(renderer.model, renderer.spec, frames, grade=renderer.grade)
    return look if film is None else film.drawn([look])[0]


def _spread(source: Source, films: Sequence[SceneLooks]) -> None:
    """Let ``films`` read frames at even distances over the whole film, each found by seeking."""
    info = source.info
    if info.frames is None or not films:
        return
    step = info.frames / _SPREAD / info.rate / info.time_base
    for i in range(_SPREAD):
        picture = next(source.pictures(info.start_pts + int((i + 0.5) * step)), None)
        rgb = None if picture is None else picture.rgb()
        for film in films:
            if rgb is not None:
                film.see(i, rgb)


def _frames(source: Source, moment: Moment, low: int, high: int) -> Iterator[Tensor]:
    """The frames ``low..high`` (exclusive), R'G'B' ``3,H,W``; their pts must match those known."""
    for number, picture in enumerate(islice(source.pictures(moment.pts[low]), high - low), low):
        if picture.pts != moment.pts[number]:
            break
        yield picture.rgb()
        low = number + 1
    if low < high:
        raise InputError(
            f"{source.path} reads differently each time (frame at {moment.pts[low]}); get a new copy."
        )


def _light(codes: Tensor) -> tuple[float, float]:
    """The brightest max(R, G, B) of a picture, and its mean (as MaxCLL and MaxFALL count), in nits."""
    nits = pq_eotf(codes.amax(dim=0))
    return float(nits.max()), float(nits.mean())


def _column(
    title: str, codes: Tensor, rgb: Tensor | None, peak: int, size: tuple[int, int], screen: float
) -> Column:
    """A column of the sheet: ``rgb``, or ``codes`` tone-mapped for the screen, and the luminance of ``codes``."""
    brightest, mean = _light(codes)
    picture = (
        on_screen(fit(codes, size), max(float(peak), MODEL_PEAK), screen)
        if rgb is None
        else fit(rgb, size)
    )
    nits = fit(luminance(pq_eotf(codes))[None], size)[0]
    figures = f"brightest {brightest:.0f} nits, mean {mean:.1f}"
    return Column(title, figures, image(picture), image(false_colour(nits)))


def _name(source: Source, moment: Moment) -> str:
    """The name of a preview's files, without an ending: the film's and the time, in characters that every disk allows."""
    seconds = (moment.pts[moment.frame] - source.info.start_pts) * source.info.time_base
    return f"{source.path.stem}-{time_code(seconds).replace(':', '.')}"


def _folder(src: Path, out: str | Path | None) -> Path:
    folder = Path(f"{src.stem}-preview") if out is None else Path(out)
    make_folder(folder)
    return folder
