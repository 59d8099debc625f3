"""The product in one function: from an SDR file to a checked HDR10 file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sdr2hdr.codecs import FOLDER
from sdr2hdr.errors import Interrupted, UsageError
from sdr2hdr.jobs.auto import check_model
from sdr2hdr.jobs.chosen import Chosen
from sdr2hdr.jobs.dovi import DoviTool
from sdr2hdr.jobs.finishing import check_unchanged, finish, streams_for
from sdr2hdr.jobs.output import Output, is_still
from sdr2hdr.jobs.plan import survey
from sdr2hdr.jobs.planning import make_plan
from sdr2hdr.jobs.progress import Watcher
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.jobs.report import Report, report_of
from sdr2hdr.jobs.run import Executor, Here, Task, render
from sdr2hdr.jobs.work import Work
from sdr2hdr.jobs.workers import Local
from sdr2hdr.media.inputs import as_film
from sdr2hdr.media.source import Source
from sdr2hdr.options import DEFAULTS, Options
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.scenes.cutlist import Scene, check_cutlist, scenes_from_cuts


def convert(
    src: str | Path,
    dst: str | Path,
    model: str | None = None,
    *,
    options: Options = DEFAULTS,
    progress: Watcher = lambda _: None,
    **changes: Any,
) -> Report:
    """Convert one SDR video to HDR10, into a file or, for some codecs, into a folder of pictures; or a still picture to HDR, if
    ``dst`` ends in .avif or .jpg.

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
    check_cutlist(o.scenes)
    if is_still(Path(dst), o):
        from sdr2hdr.jobs.still import convert_still  # with Pillow and others, for stills alone

        return convert_still(src, Path(dst), o, progress)
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
            hdr.appear(work.pictures if hdr.container == FOLDER else work.assembled)
    notes = (
        *work.notes,
        *film.notes,
        *notes,
        *plan.survey.notes,
        *lost,
    )
    return report_of(
        src, source, Path(dst), chosen, rendered, notes,
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
    from sdr2hdr.cluster.driver import joined

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
        kept = (
            f"the finished part of {named} is kept next to it; run the same command again to continue"
            if work.has_chunks
            else f"no part of {named} was finished; run the same command again to begin"
        )
        raise Interrupted(f"Stopped; {kept}.") from None
    finally:
        work.close(remove=done and not keep)
