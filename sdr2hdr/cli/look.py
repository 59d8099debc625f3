"""``sdr2hdr look`` and ``sdr2hdr looks``: a film's look as a file, and looks by name."""

from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sdr2hdr.cli.options import conversion_options
from sdr2hdr.cli.preview import Bars
from sdr2hdr.cli.screen import console, say, show_json
from sdr2hdr.text import printable


@click.command()
@click.argument("source", type=click.Path(path_type=Path, readable=False), metavar="IN")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="File to write.  [default: IN's name.look.toml]",
)  # fmt: skip
@click.option(
    "--per", type=click.Choice(["scene", "film"]), default="scene", show_default=True,
    help="Write the look of every scene, or of the whole film alone.",
)  # fmt: skip
@conversion_options("look")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def look(source: Path, out: Path | None, per: str, quiet: bool, **options: Any) -> None:
    """Write the look that the model `look` reads from IN to a file, which you can edit and give to convert.

    With --per film the file fits every part of the film, and other films, too.

    \b
    Example:
      sdr2hdr look film.mp4 -o film.look.toml
      sdr2hdr convert film.mp4 film-hdr.mkv --model look --look film.look.toml
    """
    from sdr2hdr.exports.look import take_look

    out = out or Path(f"{source.stem}.look.toml")
    bars = Bars(quiet)
    with bars.bar:
        found = take_look(source, out, per=per, progress=bars, note=bars.note, **options)
        bars.finish()
    if not quiet:
        count = len(found.scenes)
        scenes = f"{count} scene{'' if count == 1 else 's'} and of " if count else ""
        say(f"{printable(str(out))} holds the look of {scenes}the whole film.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the looks as JSON.")
def looks(as_json: bool) -> None:
    """List the named looks for `--look`: sets of brightness, highlights and saturation.

    Your own looks go into sdr2hdr-looks.toml, next to sdr2hdr.toml (docs/looks.md).
    """
    from sdr2hdr.looks.named import named_looks, own_looks

    found = named_looks()
    if as_json:
        show_json([{"name": name, **vars(each)} for name, each in found.items()])
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("look", "brightness", "highlights", "saturation"):
        table.add_column(head, no_wrap=True)
    table.add_column("for", overflow="fold")
    for name, each in found.items():
        knobs = (each.brightness, each.highlights, each.saturation)
        shown = ("" if knob is None else f"{knob:g}" for knob in knobs)
        table.add_row(Text(printable(name)), *shown, Text(printable(each.about)))
    console().print(table)
    say(f"Your own: {printable(str(own_looks()))}")
