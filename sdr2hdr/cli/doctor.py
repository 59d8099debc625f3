"""``sdr2hdr doctor``: what this machine has, and what is missing."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdr2hdr.cli.screen import console, say, show_json

if TYPE_CHECKING:
    from sdr2hdr.doctor import Finding


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(folder: Path, as_json: bool) -> int:
    """Show what this machine has for conversions into FOLDER (by default the current folder), what is missing, and how to get it.

    It lists versions, devices, encoders, weights with their hashes, disk, extras, and the external tools of the tests. It
    exits with 0 if conversions can work, with 5 if a device, an encoder or a weight is not in order, and with 4 if only the
    disk is not.

    \b
    Example:
      sdr2hdr doctor /films
    """
    from sdr2hdr.doctor import examine

    found = list(examine(folder))
    bad = [f for f in found if f.state == "bad"]
    if as_json:
        show_json([asdict(f) for f in found])
    else:
        _show(found)
        say(
            f"Some conversions will not work: {', '.join(f'{f.topic} {f.name}' for f in bad)}."
            if bad
            else "Conversions can work."
        )
    if not bad:
        return 0
    return 4 if all(f.topic == "disk" for f in bad) else 5


def _show(found: "list[Finding]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("", "what", "state", "", "how to get it"):
        table.add_column(title, overflow="fold")
    styles, before = {"ok": "green", "absent": "yellow", "bad": "red"}, ""
    for f in found:
        topic = f.topic if f.topic != before else ""
        table.add_row(
            topic, Text(f.name), Text(f.state, style=styles[f.state]), Text(f.said), Text(f.way_out)
        )
        before = f.topic
    console().print(table)
