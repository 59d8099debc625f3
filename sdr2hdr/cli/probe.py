"""``sdr2hdr probe``: the facts of a video file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdr2hdr.cli.screen import console, show_json
from sdr2hdr.codecs import CONTAINERS
from sdr2hdr.text import printable

if TYPE_CHECKING:
    from rich.table import Table

Rows = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Facts by name, or a list of things of one kind, each with the same facts."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--for",
    "container",
    type=click.Choice(CONTAINERS),
    default="mkv",
    show_default=True,
    help="Show what a conversion to this container keeps and leaves out.",
)
@click.option(
    "--hdr10plus",
    type=click.Choice(["json"]),
    help="Export the HDR10+ of the file as JSON, as hdr10plus_tool has it.",
)
def probe(file: Path, as_json: bool, container: str, hdr10plus: str | None) -> None:
    """Show what the video FILE is: its streams, its colours, what is assumed if a tag is missing, and what convert
    would do with each stream.

    \b
    Example:
      sdr2hdr probe film.mp4
      sdr2hdr probe --hdr10plus json film-hdr.mkv
    """
    if hdr10plus:
        from sdr2hdr.media.dynamic import hdr10plus_of
        from sdr2hdr.media.hdr10plus import film_json

        show_json(film_json(hdr10plus_of(file)))
        return
    from sdr2hdr.media.probe import probe as look

    facts = look(file, container)
    if as_json:
        show_json(facts)
        return
    terminal = console()
    for title, rows in groups(facts, file.name):
        terminal.print(_facts(title, rows) if isinstance(rows, Mapping) else _list(title, rows))


def _facts(title: str, facts: Mapping[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        table.add_row(
            Text(printable(key)), Text("\n").join(Text(printable(part)) for part in _lines(value))
        )
    return table


def _list(title: str, items: Sequence[Mapping[str, Any]]) -> "Table":
    """A row for each item, without the columns in which none says anything."""
    from rich.table import Table
    from rich.text import Text

    names = [
        name
        for name in dict.fromkeys(key for item in items for key in item)
        if any(shown(item.get(name)) != "-" for item in items)
    ]
    table = Table(title=Text(printable(title)), title_justify="left")
    for name in names:
        table.add_column(Text(printable(name)), overflow="fold")
    for item in items:
        table.add_row(*(Text(printable(shown(item.get(name)))) for name in names))
    return table


def groups(facts: Mapping[str, Any], title: str) -> Iterator[tuple[str, Rows]]:
    """The plain facts under one title, then each nested table and each list of things under its
    own."""
    nested: dict[str, Rows] = {}
    plain = {}
    for key, value in facts.items():
        if isinstance(value, Mapping) or _is_list(value):
            nested[key] = value
        else:
            plain[key] = value
    if plain:
        yield title, plain
    for key, rows in nested.items():
        if isinstance(rows, Mapping):
            yield from groups(rows, key)
        else:
            yield key, rows


def _is_list(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(item, Mapping) for item in value)
    )


def _lines(value: Any) -> list[str]:
    """A fact on one line, sentences on a line each."""
    sentences = isinstance(value, list | tuple) and any(
        " " in str(item) and len(str(item)) > 40 for item in value
    )
    return [shown(item) for item in value] if sentences else [shown(value)]


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
