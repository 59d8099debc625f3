"""TOML and JSON data as dataclasses; their fields declare the keys, types and ranges that are checked."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "a table",
}
_NAMES |= {"array": "a list", "null": "nothing"}


def typed(data: Any, kind: type[T], *, others: bool = False) -> T:
    """``data`` as the dataclass ``kind``, whose fields may hold dataclasses and be annotated with ``msgspec.Meta``.

    No key is ignored, unless ``others`` may be there. Integers are accepted for floats; nothing else is converted. Raises
    ValueError, whose text names the wrong key and the reason, as part of a sentence.
    """
    for key, known in () if others else _unknown(data, kind):
        raise ValueError(f"the key {key!r} is unknown; known are {', '.join(known)}")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as e:
        raise ValueError(_in_words(str(e))) from None


def _unknown(data: Any, kind: Any) -> Iterator[tuple[str, list[str]]]:
    """Unknown keys, each with the known ones; looks into nested dataclasses, alone or in a tuple."""
    if isinstance(data, list | tuple):
        for each in data:
            yield from _unknown(each, typing.get_args(kind)[0] if typing.get_args(kind) else None)
    elif isinstance(data, dict) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(typing.cast(type, kind))
        for key, value in data.items():
            if key not in hints:
                yield key, list(hints)
            yield from _unknown(value, hints.get(key))


def _in_words(text: str) -> str:
    """A message of msgspec (``Expected `int` >= 1 - at `$.steps```) in plain English."""
    what, _, where = text.partition(" - at `$")
    key = where.strip("`.")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        return f"the key {missing[1]!r} is missing" + (f" in {key}" if key else "")
    what = what.replace(" | null`", "`")  # TOML has no null
    for name, words in _NAMES.items():
        what = what.replace(f"`{name}`", words)
    what = (
        what.replace("Expected ", "must be ")
        .replace(", got", ", not")
        .replace("Invalid enum value", "cannot be")
    )
    return f"{key!r} {what}" if key else f"it {what}"
