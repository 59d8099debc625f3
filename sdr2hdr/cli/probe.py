"""``sdr2hdr probe``: the facts of a video file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from sdr2hdr.cli.screen import console, show_json
from sdr2hdr.text import printable


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def probe(file: Path, as_json: bool) -> None:
    """Say what a video FILE is: its streams, its colours, and what is assumed where it says nothing.

    \b
    Example:
      sdr2hdr probe film.mp4
    """
    from sdr2hdr.media.probe import probe as look

    facts = look(file)
    if as_json:
        show_json(facts)
        return
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    for title, rows in groups(facts, file.name):
        table = Table(title=Text(printable(title)), title_justify="left", show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for key, value in rows.items():
            table.add_row(Text(printable(key)), Text(printable(shown(value))))
        terminal.print(table)


def groups(facts: Mapping[str, Any], title: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The plain facts under one title, then each nested table, and each table of a list, under its own."""
    nested = {}
    plain = {}
    for key, value in facts.items():
        if isinstance(value, Mapping):
            nested[key] = value
        elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            nested |= {f"{key} {number}": item for number, item in enumerate(value, 1)}
        else:
            plain[key] = value
    if plain:
        yield title, plain
    for key, table in nested.items():
        yield from groups(table, key)


def shown(value: Any) -> str:
    """A fact as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value) or "-"
    return str(value)
