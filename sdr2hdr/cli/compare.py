"""``sdr2hdr compare``: two films on one page."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from sdr2hdr.cli.preview import Bars
from sdr2hdr.cli.screen import console, say, show_json
from sdr2hdr.text import printable

if TYPE_CHECKING:
    from sdr2hdr.views.comparison import Comparison


@click.command()
@click.argument("a", type=click.Path(path_type=Path, readable=False))
@click.argument("b", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--html",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PAGE",
    help="The page to write.",
)
@click.option(
    "--truth", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="The HDR10 master; A and B are measured against it.",
)  # fmt: skip
@click.option(
    "--scenes",
    default="auto",
    show_default=True,
    metavar="auto|none|FILE",
    help="How the scenes of A are found.",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Measure every N-th frame.",
)
@click.option(
    "--most",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="Maximum number of stills, one per scene.",
)
@click.option(
    "--edge",
    type=click.IntRange(64),
    default=1200,
    show_default=True,
    help="Maximum longer edge of a still.",
)
@click.option(
    "--screen",
    type=click.IntRange(100, 4000),
    default=300,
    show_default=True,
    help="Peak of the screen that the stills are tone-mapped for, in nits.",
)
@click.option("-y", "overwrite", is_flag=True, help="Replace an existing PAGE.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def compare(a: Path, b: Path, html: Path, as_json: bool, quiet: bool, **options: Any) -> None:
    """Compare the films A and B on one page: a source and its conversion, or two conversions.

    The page needs no network. It has stills with a slider, light by scene, histograms, chromaticities and gamuts, and with
    --truth the error of both films against the master. SDR white is shown at 203 nits.

    \b
    Example:
      sdr2hdr compare film.mp4 film-hdr.mkv --html film.html
      sdr2hdr compare wmnet.mkv bt2446a.mkv --truth master.mkv --html models.html
    """
    from sdr2hdr.compare import compare as run

    bars = Bars(quiet or as_json)
    with bars.bar:
        found = run(a, b, html, progress=bars, **options)
        bars.finish()
    if as_json:
        show_json(_facts(found))
    elif not quiet:
        console().print(_table(found, html))
        for note in found.notes:
            say(note)


def _facts(found: "Comparison") -> dict[str, Any]:
    """The figures as plain JSON values; an infinite PSNR (the same picture) is None."""
    from sdr2hdr.views.comparison import mean

    facts: dict[str, Any] = {"frames": len(found.times), "notes": list(found.notes)}
    for key, side in (("a", found.a), ("b", found.b)):
        facts[key] = {
            "file": side.file, "max_cll": side.figures.max_cll, "max_fall": side.figures.max_fall, "stated": side.stated,
            "average": mean(side.figures.average), "beyond": side.figures.beyond,
        }  # fmt: skip
        if side.figures.psnr:
            facts[key] |= {
                "psnr": _finite(mean(side.figures.psnr)),
                "delta_e_itp": mean(side.figures.delta),
            }
    facts["scenes"] = [{key: _finite(value) for key, value in row.items()} for row in found.rows()]
    return facts


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _table(found: "Comparison", page: Path) -> Table:
    from sdr2hdr.views.comparison import mean

    table = Table(title=Text(printable(str(page))), title_justify="left")
    for head in ("", "A", "B"):
        table.add_column(head)
    sides = (found.a, found.b)
    table.add_row("MaxCLL", *(f"{s.figures.max_cll:.0f} nits" for s in sides))
    table.add_row("MaxFALL", *(f"{s.figures.max_fall:.1f} nits" for s in sides))
    table.add_row("Average light", *(f"{mean(s.figures.average):.1f} nits" for s in sides))
    table.add_row("Beyond BT.709", *(f"{100 * s.figures.beyond['bt709']:.2f} %" for s in sides))
    table.add_row("Beyond P3", *(f"{100 * s.figures.beyond['p3-d65']:.2f} %" for s in sides))
    if found.truth is not None:
        table.add_row("PSNR", *(f"{mean(s.figures.psnr):.2f} dB" for s in sides))
        table.add_row("dE_ITP", *(f"{mean(s.figures.delta):.2f}" for s in sides))
    return table
