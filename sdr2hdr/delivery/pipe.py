"""Frames for another program: a film is rendered, and its frames are written one after the other, uncompressed."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from sdr2hdr.codecs import either
from sdr2hdr.errors import Interrupted, UsageError
from sdr2hdr.jobs.auto import check_model
from sdr2hdr.jobs.chosen import Chosen
from sdr2hdr.jobs.finishing import check_unchanged
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.planning import make_plan
from sdr2hdr.jobs.progress import Watcher
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.jobs.report import Report, report_of
from sdr2hdr.jobs.run import Here
from sdr2hdr.jobs.straight import frames_alone, idle, render_straight
from sdr2hdr.media.frames import PIPED, FrameWriter, left_behind, times_lost
from sdr2hdr.media.inputs import as_film
from sdr2hdr.options import DEFAULTS, FORMS, Options
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.stream import Planes
from sdr2hdr.scenes.cutlist import check_cutlist

Write = Callable[[Planes], None]


def pipe(
    src: str | Path,
    out: BinaryIO,
    model: str | None = None,
    *,
    options: Options = DEFAULTS,
    progress: Watcher = lambda _: None,
    **changes: Any,
) -> Report:
    """Write the frames of an SDR video, in HDR10, into ``out``, which may be a pipe: planes Y, Cb and Cr of limited range,
    uint16 little endian, in the form that ``format`` names. Chroma of 4:2:0 is sited top left. Options are those of
    :func:`convert`.

    Memory holds a few frames. The light of the film is known at the end, and the report gives it.

    Raises what :func:`convert` raises, and what ``out`` raises: BrokenPipeError if its reader has gone.
    """
    o = options.changed(**changes if model is None else {"model": model, **changes})
    form = o.format or FORMS[0]

    def writing(plan: Plan) -> Write:
        return FrameWriter(
            out, form, plan.encode, f"{plan.encode.pix_fmt}le", len(plan.survey.pts)
        ).write

    report, _ = rendered(src, o, writing, progress, container=form)
    out.flush()
    return replace(report, notes=(*report.notes, *idle(o, "frames in a pipe")))


def rendered(
    src: str | Path,
    options: Options,
    writing: Callable[[Plan], Write],
    progress: Watcher,
    *,
    container: str,
) -> tuple[Report, Plan]:
    """Render a film straight through. ``writing`` returns for the film's plan the function that takes each frame.

    Raises what :func:`convert` raises, and what the function raises.
    """
    since = time.monotonic()
    keep_one_heap()
    if options.aux_sdr is not None:
        raise UsageError("Frames of two pictures do not fit one pipe; leave --aux-sdr out.")
    for flag, asked in (
        ("--hdr10plus", options.hdr10plus),
        ("--dolby-vision", options.dolby_vision),
    ):
        if asked:
            raise UsageError(
                f"Frames in a pipe carry no dynamic metadata, which lies in an encoder's packets; leave {flag} out,"
                " or name a file."
            )
    if options.planes not in PIPED and options.pix_fmt is not None:
        raise UsageError(f"A pipe takes no {options.pix_fmt}; give --pix-fmt {either(PIPED)}.")
    o = frames_alone(options)
    check_model(o)
    check_cutlist(o.scenes)
    with (
        tempfile.TemporaryDirectory(prefix="sdr2hdr-") as folder,
        as_film(Path(src), Path(folder), o.fps) as film,
    ):
        source = open_source(film.path, o)
        try:
            chosen = Chosen.of(source, o, None, progress)
            here = Here(source, cache(chosen.open))
            plan, notes = make_plan(source, chosen, None, here.model, progress)
            lost = (
                *left_behind(film.path, source.info),
                *times_lost(source.info, plan.survey.pts),
            )
            done = render_straight(here, plan, writing(plan), progress)
        except KeyboardInterrupt:
            raise Interrupted("Stopped; frames in a pipe cannot be continued.") from None
        check_unchanged(source, plan)
    notes = (*film.notes, *lost, *notes, *done.notes, *plan.survey.notes)
    report = report_of(
        Path(src), source, Path("-"), chosen, done, notes,
        codec="none", encoder="none", container=container, seconds=time.monotonic() - since,
    )  # fmt: skip
    return report, plan
