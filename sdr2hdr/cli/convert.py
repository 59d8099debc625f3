"""``sdr2hdr convert``: one file."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from sdr2hdr.cli.options import conversion_options
from sdr2hdr.cli.screen import console, say, show_json
from sdr2hdr.errors import Interrupted, UsageError
from sdr2hdr.kernels.compiled import is_compiling
from sdr2hdr.system import let_threads_sleep
from sdr2hdr.text import json_text, printable

if TYPE_CHECKING:
    from sdr2hdr.jobs.progress import Progress, Speeds
    from sdr2hdr.jobs.report import Report

STILLS = ("avif", "jpg", "jpeg")
"""Endings of still pictures, which have neither frames nor scenes."""
STAGES = {
    "scan": "Finding scenes",
    "render": "Rendering",
    "assemble": "Assembling",
    "check": "Checking",
}


class _Speed(ProgressColumn):
    """Frames per second of this run, or what they wait for, half a minute on a new machine."""

    def render(self, task: Task) -> Text:
        if is_compiling() and not task.finished:
            return Text("compiling kernels, once", style="progress.data.speed")
        speed = task.speed
        return Text(f"{speed:.3g} frames/s" if speed else "", style="progress.data.speed")


class Screen:
    """Progress for people: a bar per stage, on standard error."""

    def __init__(self, quiet: bool) -> None:
        self.bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            console=console(stderr=True),
            disable=quiet,
            transient=False,
        )
        self.tasks: dict[str, Any] = {}

    def __call__(self, p: "Progress") -> None:
        if p.note:
            if not self.bar.disable:
                self.bar.console.print(Text(printable(p.note)))
            return
        text = STAGES[p.stage]
        if p.stage == "render":
            text += f" scene {p.scene} of {p.scenes}"
        if p.stage not in self.tasks:
            self.finish()
            counted = p.stage in ("scan", "render")
            self.tasks[p.stage] = self.bar.add_task(
                text, total=p.total if counted else None, completed=p.done
            )
            return
        self.bar.update(self.tasks[p.stage], completed=p.done, total=p.total, description=text)

    def finish(self) -> None:
        """Show every started stage as done."""
        for task in self.tasks.values():
            total = self.bar.tasks[task].total or 1
            self.bar.update(task, total=total, completed=total)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the progress of the block, in which torch and av load, after the first output."""
        with stoppable(), self.bar:
            yield
            self.finish()


class _Lines:
    """Progress for machines: JSON lines on standard error, one for each note and at most one per hundredth of a stage."""

    def __init__(self) -> None:
        self.last: tuple[str, int] | None = None
        self.speeds: Speeds | None = None

    def __call__(self, p: "Progress") -> None:
        if p.note:
            say(json_text({"event": "note", "note": p.note}))
            return
        if p.machines:
            from sdr2hdr.jobs.progress import Speeds  # torch has loaded long ago

            self.speeds = self.speeds or Speeds()
            self.speeds.see(p.machines)
        here = (p.stage, 100 * p.done // max(p.total, 1))
        if here != self.last:
            self.last = here
            moment = {k: v for k, v in vars(p).items() if k not in ("note", "machines")}
            if self.speeds is not None:
                moment["machines"] = self.speeds.facts()
            say(json_text({"event": "progress", **moment}))

    def shown(self) -> AbstractContextManager[None]:
        """The block whose progress is written."""
        return stoppable()


@contextmanager
def stoppable() -> Iterator[None]:
    """A block that Ctrl-C stops before it has begun to render."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Stopped before anything was rendered; nothing was written.") from None


@click.command(
    epilog="Exit codes: 0 success, 2 usage error, 3 bad source, 4 output failed, 5 model or device, 130 stopped "
    "(run again to continue)."
)
@click.argument("source", type=click.Path(path_type=Path, readable=False), metavar="IN")
@click.argument("target", type=click.Path(path_type=Path, readable=False), metavar="OUT")
@conversion_options("convert")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the report as JSON on standard output, and progress as JSON lines.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print a longer report.")
def convert(
    source: Path, target: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> None:
    """Turn the SDR video IN into the HDR10 file OUT.

    Sound, subtitles, chapters, attachments, tags and every time stamp are kept. You can stop at any moment; the same command
    then continues. OUT appears once it is complete and has passed its check.

    If OUT ends in .avif or .jpg, IN is a still picture (JPEG, PNG, WebP, TIFF), and OUT an HDR AVIF or an Ultra HDR JPEG.

    With --codec exr, png16 or tiff16, OUT is a folder with a picture for each frame.

    If OUT is -, the frames go to the standard output, uncompressed, for an encoder of your own (docs/delivering.md).

    \b
    Examples:
      sdr2hdr convert film.mp4 film-hdr.mkv
      sdr2hdr convert film.mp4 film-hdr.mp4 --peak 600 --crf 14
      sdr2hdr convert film.mp4 fast.mkv --model bt2446a
      sdr2hdr convert photo.jpg photo-hdr.jpg
      sdr2hdr convert film.mp4 pictures --codec exr
      sdr2hdr convert film.mp4 - | x265 --y4m --input - ...
      sdr2hdr convert old.mp4 old-hdr.mkv --model didnet --aux-sdr old-restored.mkv
    """
    to_pipe = str(target) == "-"
    if to_pipe and sys.stdout.isatty():
        raise UsageError(
            "Frames would be printed on this terminal; pipe them into a program, as in `| x265 --y4m --input -`."
        )
    screen = _Lines() if as_json else Screen(quiet)
    let_threads_sleep()
    with screen.shown():
        if to_pipe:
            from sdr2hdr.delivery.pipe import pipe

            report = pipe(source, sys.stdout.buffer, progress=screen, **options)
        else:
            from sdr2hdr.convert import convert as run

            report = run(source, target, progress=screen, **options)
    if as_json and to_pipe:  # standard output holds the frames
        say(json_text({"event": "report", **report.to_json()}))
    elif as_json:
        show_json(report.to_json())
    elif not quiet:
        console(stderr=True).print(_table(report, verbose))


def _table(r: "Report", verbose: bool) -> Table:
    table = Table(title=Text(printable(str(r.output))), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, words: str) -> None:
        table.add_row(name, Text(printable(words)))  # no rich markup: names may hold brackets

    resumed = f", {r.resumed_chunks} from an earlier run" if r.resumed_chunks else ""
    row("Source", f"{r.source}: {r.input_colour}")
    row("Display", f"made for {r.input_display}")
    row("Grade", r.grade)
    row("Model", f"{r.model}, weights {r.weights}, {r.precision} on {r.device}")
    counts = ((r.frames, "frame"), (r.scenes, "scene"), (r.chunks, "chunk"))
    parts = "".join(f", {n} {noun}{'' if n == 1 else 's'}" for n, noun in counts) + resumed
    row("Picture", f"{r.width}x{r.height}{'' if r.container in STILLS else parts}")
    by = f"{r.codec.upper()} {r.pix_fmt} {r.transfer.upper()} BT.2020 by {r.encoder} in {r.container}"
    if r.codec == "jpeg":
        by = "Ultra HDR JPEG: the SDR picture and a gain map"
    if r.codec == "none":
        by = f"frames of {r.pix_fmt} in {r.transfer.upper()} BT.2020 as {r.container}"
    row("Written", f"{by}, mastering peak {r.mastering_peak} nits")
    if r.aux_sdr is not None:
        row("Restored", f"{r.aux_sdr}: {r.codec.upper()} {r.pix_fmt} BT.709, SDR")
    row("MaxCLL", f"{r.max_cll} nits (99.99 % of all pixels stay below {r.p9999:.0f})")
    row("MaxFALL", f"{r.max_fall} nits")
    for written in r.dynamic:
        row("Dynamic", written)
    row("Time", f"{r.seconds:.1f} s, {r.frames_per_second:.3g} frames/s")
    if r.loss:
        row("Lost", r.loss)
    for note in r.notes:
        row("Note", note)
    if verbose:
        row(
            "Measured",
            f"MaxCLL {r.measured_max_cll:.2f}, MaxFALL {r.measured_max_fall:.2f} nits before rounding up",
        )
        row("Tile", f"{r.tile} pixels")
        for stage, seconds in r.busy.items():
            row(stage.capitalize(), f"{seconds:.1f} s at work")
    return table
