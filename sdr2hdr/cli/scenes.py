"""``sdr2hdr scenes``: where the scenes are, before the film is converted."""

from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from sdr2hdr.cli.preview import Bars
from sdr2hdr.cli.screen import console, say, show_json

_FILE = click.Path(path_type=Path, readable=False)


@click.command()
@click.argument("source", type=click.Path(path_type=Path, readable=False), metavar="IN")
@click.option(
    "--scenes",
    default="auto",
    show_default=True,
    metavar="auto|none|FILE",
    help="How scenes are found.",
)
@click.option(
    "--csv",
    type=_FILE,
    default=None,
    help="Write a table that `convert --scenes` reads, edited or not.",
)
@click.option(
    "--qpfile", type=_FILE, default=None, help="Write a list of key frames for x264 and x265."
)
@click.option("--edl", type=_FILE, default=None, help="Write a CMX 3600 edit decision list.")
@click.option(
    "--sheet", type=_FILE, default=None, help="Write a PNG with three frames of each scene."
)
@click.option("--html", type=_FILE, default=None, help="Write a page with a table and pictures.")
@click.option(
    "--input-matrix", default=None, help="The source's Y'CbCr matrix, instead of its tag."
)
@click.option(
    "--input-range", default=None, help="The source's range, instead of its tag: limited or full."
)
@click.option("-y", "overwrite", is_flag=True, help="Replace existing files.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def scenes(source: Path, as_json: bool, quiet: bool, **options: Any) -> None:
    """Show how IN is split into scenes.

    The strength of a cut, from 0 to 1, is its certainty. Doubtful cuts have a question mark. To correct the split, write it
    with --csv, remove or add lines (a frame number or a time code is enough), and give the file to convert or this command.

    \b
    Examples:
      sdr2hdr scenes film.mp4 --sheet sheet.png
      sdr2hdr scenes film.mp4 --csv cuts.csv
      sdr2hdr convert film.mp4 film-hdr.mkv --scenes cuts.csv
    """
    from sdr2hdr.scene_split import scene_split, seconds
    from sdr2hdr.scenes.cutlist import time_code

    bars = Bars(quiet or as_json)
    with bars.bar:
        found = scene_split(source, progress=bars, **options)
        bars.finish()
    if as_json:
        show_json([row.to_json() for row in found.rows])
        return
    if quiet:
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("scene", "frame", "start", "end", "length", "strength"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("cut", no_wrap=True)
    for row in found.rows:
        times = (time_code(row.start), time_code(row.end), seconds(row.length))
        strength = "" if row.strength is None else f"{row.strength:.2f}"
        kind = f"{row.kind} ?" if row.is_doubtful else row.kind or ""
        cells = (str(row.number), str(row.first), *times, strength, kind)
        table.add_row(*cells, style="yellow" if row.is_doubtful else None)
    console().print(table)
    if found.loss:
        say(f"Not everything could be read: {found.loss}.")
    for path in found.files:
        say(f"Written: {path}")
