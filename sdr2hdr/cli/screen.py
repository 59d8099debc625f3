"""What a command prints: tables and lines for people, JSON and text for programs. Nothing else prints.

Words from files pass through ``text.py`` here, so that no command can forget it.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from sdr2hdr.text import json_text, printable

_NARROWEST = 20
"""Columns. Fewer are a mistake in the environment: a table in them would show nothing."""


class _Console(Console):
    """A terminal that takes no text for markup, an emoji code or a control code, whoever renders it."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for part in super().render(renderable, options):
            yield part if part.control else Segment(_lines(part.text), part.style)


def console(*, stderr: bool = False) -> Console:
    """The terminal behind standard output or standard error."""
    environ = dict(os.environ)
    columns = environ.pop("COLUMNS", "")
    if columns.isdecimal() and len(columns) < 5 and int(columns) >= _NARROWEST:
        environ["COLUMNS"] = columns
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False, _environ=environ)


def say(words: object) -> None:
    """A line on standard error."""
    click.echo(printable(words), err=True)


def show_json(value: Any) -> None:
    """A result as JSON on standard output."""
    click.echo(json_text(value, indent=2))


def show_text(text: str) -> None:
    """A result as lines on standard output."""
    click.echo(_lines(text), nl=False)


def show_path(path: Path) -> None:
    """A path as a line on standard output: to the byte for a program that reads it, printable for people."""
    click.echo(printable(path) if sys.stdout.isatty() else os.fsencode(path))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
