"""Tables of a file as dataclasses: what is wrong is named by its key, in words."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from sdr2hdr.typed import typed


@dataclass(frozen=True)
class Part:
    steps: Annotated[int, Meta(ge=1)]
    share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Whole:
    name: str
    parts: tuple[Part, ...]
    first: Part | None = None
    extra: dict[str, Any] = field(default_factory=dict)


GOOD: dict[str, Any] = {"name": "n", "parts": [{"steps": 2, "share": 1}], "extra": {"anything": 1}}


def test_tables_become_dataclasses() -> None:
    found = typed(GOOD, Whole)
    assert found == Whole("n", (Part(2, 1.0),), None, {"anything": 1})
    assert isinstance(found.parts[0].share, float)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nmae": "x"}, "the key 'nmae' is unknown; known are name, parts, first, extra"),
        ({"parts": [{"stepps": 2}]}, "the key 'stepps' is unknown; known are steps, share, kind"),
        ({"parts": [{"share": 0.5}]}, "the key 'steps' is missing in parts[0]"),
        ({"name": 3}, "'name' must be text, not a whole number"),
        ({"parts": [{"steps": 2.0}]}, "'parts[0].steps' must be a whole number, not a number"),
        ({"parts": [{"steps": 0}]}, "'parts[0].steps' must be a whole number >= 1"),
        ({"parts": [{"steps": 1, "share": 2}]}, "'parts[0].share' must be a number <= 1.0"),
        ({"parts": [{"steps": 1, "kind": "c"}]}, "'parts[0].kind' cannot be 'c'"),
        ({"parts": 1}, "'parts' must be a list, not a whole number"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as e:
        typed(GOOD | change, Whole)
    assert str(e.value) == words
