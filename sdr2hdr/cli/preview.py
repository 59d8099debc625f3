"""``sdr2hdr preview``: single frames, before the whole film."""

import itertools
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from sdr2hdr.cli import values
from sdr2hdr.cli.options import conversion_options
from sdr2hdr.cli.screen import console, show_json
from sdr2hdr.options import AUTO, declared
from sdr2hdr.text import printable

STAGES = {
    "scan": "Finding scenes",
    "preview": "Rendering",
    "measure": "Measuring",
    "stills": "Taking stills",
    "tables": "Writing tables",
}
_TIME = re.compile(r"(?:(?:(\d{1,4}):)?([0-5]?\d):)?(\d{1,6}(?:\.\d{1,9})?)", re.ASCII)


class Time(click.ParamType[Fraction]):
    """A time since the first frame: seconds, ``m:ss`` or ``h:mm:ss``, with decimals."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        match = _TIME.fullmatch(value)
        if match is None or (match[2] is not None and Fraction(match[3]) >= 60):
            self.fail(f"{value!r} is not a time; write 12.5, 1:02.5 or 0:01:02.5.", param, ctx)
        hours, minutes, seconds = match.groups()
        return Fraction(seconds) + 60 * int(minutes or 0) + 3600 * int(hours or 0)


class Bars:
    """Progress for people: a bar per stage, on standard error."""

    def __init__(self, quiet: bool) -> None:
        self.bar = Progress(console=console(stderr=True), disable=quiet)
        self.tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.tasks:
            self.finish()
            self.tasks[stage] = self.bar.add_task(STAGES[stage], total=total)
        self.bar.update(self.tasks[stage], completed=done, total=total)

    def note(self, sentence: str) -> None:
        """Show a sentence above the bars."""
        if not self.bar.disable:
            self.bar.console.print(Text(printable(sentence)))

    def finish(self) -> None:
        """Show every started stage as done; totals of a scan are estimates."""
        for task in self.tasks.values():
            self.bar.update(task, completed=self.bar.tasks[task].total)


KNOBS = ("brightness", "highlights", "saturation", "look")
"""Options that preview takes lists of."""


def _parsed(_ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Any, ...]:
    """The values of a list of an option of a conversion."""
    known = next(o for o in declared() if o.name == param.name)
    return tuple(known.parse(part.strip()) for part in (value or "").split(",") if part.strip())


def side_by_side(function: Callable[..., None]) -> Callable[..., None]:
    """Give preview the knobs of a conversion as lists."""
    for known in reversed(declared()):
        if known.name in KNOBS:
            about = known.about
            shown = f" ({about.range})" if about.range else ""
            function = click.option(
                known.flag,
                callback=_parsed,
                metavar="A,B,C",
                help=f"{about.help.removesuffix('.')}{shown}; several are shown side by side.",
            )(function)
    return function


@click.command()
@click.argument("source", type=click.Path(path_type=Path, readable=False), metavar="IN")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder to write to.  [default: IN's name-preview]",
)
@click.option(
    "--at",
    type=Time(),
    multiple=True,
    metavar="TIME",
    help="A time: 12.5, 1:02.5 or 0:01:02.5; may be repeated.",
)
@click.option(
    "--most",
    type=click.IntRange(1),
    default=24,
    show_default=True,
    help="Maximum number of scenes, without --at.",
)
@click.option(
    "--models", "--model", default=AUTO, show_default=True, callback=values.names, metavar="A,B,C",
    shell_complete=values.models,
    help="Models or named weights, side by side; auto is the choice of convert.",
)  # fmt: skip
@click.option(
    "--hdr", is_flag=True, help="Write a 10-bit PQ AVIF still for each model, for HDR screens."
)
@click.option(
    "--history", type=click.IntRange(0, 1000), default=24, show_default=True,
    help="Frames that a model with memory sees before the rendered frame.",
)  # fmt: skip
@click.option(
    "--edge",
    type=click.IntRange(64),
    default=960,
    show_default=True,
    help="Maximum longer edge of a picture.",
)
@click.option(
    "--screen",
    type=click.IntRange(100, 4000),
    default=300,
    show_default=True,
    help="Peak of the screen that the PNG is tone-mapped for, in nits.",
)
@side_by_side
@conversion_options("preview")
@click.option("--json", "as_json", is_flag=True, help="Print the list of files as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def preview(
    source: Path, as_json: bool, quiet: bool, models: tuple[str, ...], **options: Any
) -> None:
    """Render frames of IN: one frame per scene, or the frames at given times.

    Each PNG holds the SDR frame, the HDR frame tone-mapped for an SDR screen, and the luminance of both in false colour
    with a scale in nits. With --at, only the seconds around each time are read. Models, looks
    and knobs may be lists.

    \b
    Example:
      sdr2hdr preview film.mp4 --at 12.5 --at 1:02.5
      sdr2hdr preview film.mp4 --models wmnet,bt2446a,bt2408 --most 6
      sdr2hdr preview film.mp4 --at 12.5 --hdr --peak 600
      sdr2hdr preview film.mp4 --model look --brightness 1.5,2,3
    """
    from sdr2hdr.preview import preview as run

    bars = Bars(quiet or as_json)
    out = options.pop("out")
    lists = {name: options.pop(name) for name in KNOBS}
    versions = [
        {name: value for name, value in zip(lists, values, strict=True) if value is not None}
        for values in itertools.product(*(each or (None,) for each in lists.values()))
    ]
    with bars.bar:
        shown = run(
            source, out, models=models, versions=versions, progress=bars, note=bars.note, **options
        )
        bars.finish()
    if as_json:
        show_json([s.to_json() for s in shown])
    elif not quiet:
        table = Table(show_edge=False)
        for head in ("time", "model", "brightest", "mean", "files"):
            table.add_column(head, overflow="fold")
        for s in shown:
            for number, (name, (brightest, mean)) in enumerate(s.light.items()):
                words = " ".join(str(f) for f in s.files) if number == 0 else ""
                time = f"{s.seconds:.3f} s" if number == 0 else ""
                table.add_row(
                    time, name, f"{brightest:.0f} nits", f"{mean:.1f} nits", Text(printable(words))
                )
        console().print(table)
