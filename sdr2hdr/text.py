"""Makes text from files (names, tags, titles) safe to show and to write.

A file's name or tag may hold line breaks, terminal control codes, marks that reverse the direction of writing, bytes that
are not characters, and text that a spreadsheet runs as a formula. None of this reaches a terminal, a page, a table, an edit
list or a log, because all of them take their text from here. Only JSON keeps every character, as an escape sequence in
ASCII.
"""

import html
import json
from typing import Any

_JOINERS = "\u200c\u200d"
"""They shape Persian words and emoji, and can neither hide nor reverse text."""
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that begin a formula in a spreadsheet, and the full-width forms that some programs accept."""


def printable(text: object) -> str:
    """The text on one line: every kind of white space is a space, everything else that does not print is U+FFFD."""
    return "".join(map(_shown, str(text)))


def _shown(char: str) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    return " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"


def counted(number: int, what: str) -> str:
    """A number of things, ``what`` in the singular: ``1 chapter``, ``2 chapters``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def csv_cell(value: object) -> object:
    """A cell of a table for spreadsheets: text is printable, and text that would be a formula begins with an apostrophe.

    Numbers and None stay as they are.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def html_text(value: object) -> str:
    """The text for a page or for an attribute in quotes: printable, with markup escaped."""
    return html.escape(printable(value))


def time_text(seconds: float) -> str:
    """A length of time for people: ``2.5 s``, ``40 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in ASCII: no control code of a file's name reaches a terminal, and none is lost. Unknown types are strings."""
    return json.dumps(value, indent=indent, default=str)
