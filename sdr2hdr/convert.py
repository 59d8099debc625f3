"""The product in one function: from an SDR file to a checked HDR10 file."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sdr2hdr.codecs import CODECS, PQ
from sdr2hdr.errors import Interrupted, UsageError
from sdr2hdr.jobs.auto import check_model
from sdr2hdr.jobs.chosen import Chosen
from sdr2hdr.jobs.dovi import DoviTool
from sdr2hdr.jobs.dynamic import words
from sdr2hdr.jobs.finishing import check_unchanged, finish, streams_for
from sdr2hdr.jobs.output import Output
from sdr2hdr.jobs.plan import survey
from sdr2hdr.jobs.planning import make_plan
from sdr2hdr.jobs.progress import Watcher
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.jobs.run import Executor, Here, Rendered, Task, render
from sdr2hdr.jobs.work import Work
from sdr2hdr.jobs.workers import Local
from sdr2hdr.media.inputs import as_film
from sdr2hdr.media.source import Source
from sdr2hdr.options import DEFAULTS, Options
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.scenes.cutlist import Scene, scenes_from_cuts

HLG_PEAK = 1000
"""Nits of the reference display of HLG (BT.2408-7 clause 2)."""


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Light in nits, as measured on the planes that are encoded; of HLG it is what a display of the peak shows.
    ``pix_fmt`` is "half" and ``transfer`` "linear" for pictures that hold linear light. ``max_cll`` and
    ``max_fall`` are the integers written to bitstream and container; to those of HLG none are written. ``dynamic`` are
    sentences on what is written of each picture. ``busy`` is the time that each stage worked, in seconds, out of
    ``render_seconds``.
    """

    source: Path
    output: Path
    model: str
    weights: str
    device: str
    precision: str
    frames: int
    scenes: int
    chunks: int
    resumed_chunks: int
    tile: int
    width: int
    height: int
    input_colour: str
    input_display: str
    grade: str
    codec: str
    encoder: str
    pix_fmt: str
    transfer: str
    container: str
    mastering_peak: int
    max_cll: int
    max_fall: int
    measured_max_cll: float
    measured_max_fall: float
    p9999: float
    seconds: float
    render_seconds: float
    busy: dict[str, float]
    loss: str | None
    notes: tuple[str, ...]
    dynamic: tuple[str, ...] = ()
    aux_sdr: Path | None = None

    @property
    def frames_per_second(self) -> float:
        """Frames rendered in this run over the time that rendering took."""
        return self.frames / self.render_seconds if self.render_seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        out = {k: str(v) if isinstance(v, Path) else v for k, v in vars(self).items()}
        return {**out, "frames_per_second": self.frames_per_second}


def convert(
    src: str | Path,
    dst: str | Path,
    model: str | None = None,
    *,
    options: Options = DEFAULTS,
    progress: Watcher = lambda _: None,
    **changes: Any,
) -> Report:
    """Convert one SDR video to HDR10, into a file or, for some codecs, into a folder of pictures.

    ``options`` hold every option, each with its meaning (:class:`sdr2hdr.options.Options`); keywords set single options and
    take precedence: ``convert("film.mp4", "film-hdr.mkv", model="look", peak=600)``.

    The target appears once it is complete and has passed its check. The same call continues an interrupted conversion. With
    ``aux_sdr`` a second file holds the restored SDR picture; it appears together with the target.

    Raises :class:`UsageError`, :class:`InputError`, :class:`OutputError`, :class:`ModelError` or :class:`Interrupted`, all
    with a message for people, and TypeError for a keyword that is not an option.
    """
    since = time.monotonic()
    keep_one_heap()
    src, o = Path(src), options.changed(**changes if model is None else {"model": model, **changes})
    if o.format is not None:
        raise UsageError("--format is for frames in a pipe; give - instead of a file with it.")
    check_model(o)
    hdr = Output.of(src, Path(dst), o)
    sdr = Output.of_aux(src, hdr, o)
    dovi = DoviTool.found(hdr.container) if o.dolby_vision else None
    with _cluster(o) as cluster, as_film(src, hdr.path.parent, o.fps) as film:
        source = open_source(film.path, o)
        with _work(hdr, dst, keep=o.keep_work) as work:
            begun = None if o.fresh else work.read_plan()
            chosen = Chosen.of(source, o, begun, progress)
            streams = streams_for(source, hdr, o)
            sdr_streams = None if sdr is None else streams_for(source, sdr, o)
            task = Task(film.path.absolute(), work.folder, chosen.spec.name, chosen.weights)
            here = Here(source, cache(task.open))
            plan, notes = make_plan(source, chosen, begun, here.model, progress)
            if plan is not begun:
                work.begin(plan)
            executor = cluster or Local(here, o.workers)
            rendered = render(task, executor, plan, work, progress)
            lost = finish(work, plan, source, streams, rendered.scenes, progress, dovi)
            if sdr_streams is not None:
                finish(work, plan, source, sdr_streams, None, progress)
            check_unchanged(source, plan)
            if sdr is not None:
                sdr.appear(work.assembled_aux)
            hdr.appear(work.assembled)
    notes = (
        *work.notes,
        *film.notes,
        *streams.notes,
        *notes,
        *plan.survey.notes,
        *lost,
    )
    return report_of(
        source, Path(dst), chosen, rendered, notes,
        codec=o.codec, encoder=rendered.plan.encode.writer.name, container=hdr.container, seconds=time.monotonic() - since,
    )  # fmt: skip


def detect_scenes(src: str | Path, scenes: str = "auto") -> list[Scene]:
    """The scenes of an SDR video, in order; ``scenes`` may name a cut list to use instead. Raises InputError."""
    source = Source(src)
    found = survey(source, scenes, lambda _done, _total: None)
    return scenes_from_cuts(found.cuts, len(found.pts), found.pts)


@contextmanager
def _cluster(options: Options) -> Iterator[Executor | None]:
    """The executor of the cluster that was asked for, if one was; Ray loads only then."""
    if options.cluster is None:
        yield None
        return
    from sdr2hdr.cluster.connection import joined

    with joined(options.cluster, options.workers) as executor:
        yield executor


@contextmanager
def _work(hdr: Output, named: str | Path, *, keep: bool) -> Iterator[Work]:
    """The work folder, locked; it is removed after a success, unless it is to be kept."""
    work = Work.beside(hdr.path)
    done = False
    try:
        yield work
        done = True
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped; the finished part of {named} is kept next to it; run the same command again to continue."
        ) from None
    finally:
        work.close(remove=done and not keep)


def report_of(
    source: Source, named: Path, chosen: Chosen, rendered: Rendered, notes: Sequence[str],
    *, codec: str, encoder: str, container: str, seconds: float,
) -> Report:  # fmt: skip
    """The report on ``named``, an output that was rendered in ``seconds``; ``notes`` are sentences about how."""
    info, plan, light = source.info, rendered.plan, rendered.light
    peak, aux = chosen.options.peak, chosen.options.aux_sdr
    width, height = info.size
    linear = codec in CODECS and CODECS[codec].linear
    cll, fall = light.written(peak)
    if plan.settings.chosen:
        notes = (plan.settings.chosen, *notes)
    if plan.encode.transfer != PQ and peak != HLG_PEAK:
        notes = (
            *notes,
            f"HLG is graded for a display of {peak} nits; with --peak {HLG_PEAK} white has the usual 75 %.",
        )
    if width % 2 or height % 2:
        notes = (*notes, f"{width}x{height} was made even by repeating the last column or row.")
    return Report(
        source=source.path,
        output=named,
        model=plan.settings.model,
        weights=chosen.weights_name,
        device=plan.settings.device,
        precision=plan.settings.precision,
        frames=len(plan.survey.pts),
        scenes=len(plan.survey.cuts) + 1,
        chunks=len(plan.chunks),
        resumed_chunks=rendered.resumed,
        tile=plan.tile,
        width=plan.encode.width,
        height=plan.encode.height,
        input_colour=f"{info.layout.matrix} {'full' if info.layout.full_range else 'limited'}"
        f" (matrix {info.matrix_from}, range {info.range_from})",
        input_display=info.shown.words,
        grade=plan.settings.grade.words,
        codec=codec,
        encoder=encoder,
        pix_fmt="half" if linear else plan.encode.pix_fmt,
        transfer="linear" if linear else plan.encode.transfer,
        container=container,
        mastering_peak=peak,
        max_cll=cll,
        max_fall=fall,
        measured_max_cll=light.max_cll,
        measured_max_fall=light.max_fall,
        p9999=light.p9999,
        seconds=seconds,
        render_seconds=rendered.seconds,
        busy=rendered.busy,
        loss=plan.survey.loss,
        notes=tuple(dict.fromkeys(notes)),
        dynamic=words(plan, dolby_vision=chosen.options.dolby_vision),
        aux_sdr=None if aux is None else Path(aux),
    )
