"""``sdr2hdr lut``: colour tables of a film for other programs."""

from pathlib import Path
from typing import Any

import click

from sdr2hdr.cli import values
from sdr2hdr.cli.options import conversion_options
from sdr2hdr.cli.preview import Bars
from sdr2hdr.cli.screen import say
from sdr2hdr.text import printable


@click.command()
@click.argument("source", type=click.Path(path_type=Path, readable=False), metavar="IN")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("luts"), show_default=True,
    metavar="FOLDER", help="Folder to write to.",
)  # fmt: skip
@click.option(
    "--model", default="look", show_default=True, shell_complete=values.models,
    help="A model that maps each pixel alone: look, bt2408 or bt2446a.",
)  # fmt: skip
@click.option(
    "--per", type=click.Choice(["scene", "film"]), default="film", show_default=True,
    help="One table for the whole film, or one for each scene.",
)  # fmt: skip
@click.option(
    "--size", type=click.Choice(["33", "65"]), default="65", show_default=True,
    help="Entries along an edge.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["cube"]), default="cube", show_default=True,
    help="The form of the tables.",
)  # fmt: skip
@conversion_options("lut")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def lut(source: Path, per: str, size: str, form: str, quiet: bool, **options: Any) -> None:
    """Write the conversion of IN as .cube tables, for FFmpeg, mpv and DaVinci Resolve.

    The tables map SDR (BT.709, gamma 2.4, full range) to HDR (BT.2020, PQ, full range). They leave out steadying,
    debanding and dither, which need more than one pixel.

    \b
    Example:
      sdr2hdr lut film.mp4 --out luts/
      sdr2hdr lut film.mp4 --out luts/ --per scene --brightness 2
    """
    from sdr2hdr.exports.lut import take_tables

    bars = Bars(quiet)
    with bars.bar:
        files = take_tables(
            source,
            options.pop("out"),
            per=per,
            size=int(size),
            progress=bars,
            note=bars.note,
            **options,
        )
        bars.finish()
    if not quiet:
        for path in files:
            say(f"Written: {printable(str(path))}")
