"""Text that files bring along is data on every way out."""

import html
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdr2hdr.text import counted, csv_cell, html_text, json_text, printable

ANY = st.text(st.characters(codec=None), max_size=40)
"""All that a name decoded with surrogateescape, or a tag, may hold."""


@given(ANY)
def test_what_is_printed_is_one_line_without_control_codes_or_marks_of_direction(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert len(shown.splitlines()) <= 1
    kinds = {unicodedata.category(c) for c in shown if c not in "\u200c\u200d"}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x9b31m\x07", "\ufffd[2J\ufffd31m\ufffd"),
        ("a\r\nb\u2028c\x85d\te", "a  b c d e"),
        ("film\u202egpj.exe", "film\ufffdgpj.exe"),
        ("a\u2066b\u200fc\ufeff", "a\ufffdb\ufffdc\ufffd"),
        ("na\udcefve", "na\ufffdve"),
        ("\u65e5\u672c\u3000caf\u00e9\u00a0:", "\u65e5\u672c caf\u00e9 :"),
        ("\U0001f469\u200d\U0001f680 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", None),
        ("[red]x[/]", None),
    ],
)
def test_what_is_replaced_and_what_is_kept(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)


@given(ANY)
def test_no_cell_of_a_table_is_a_formula(text: str) -> None:
    cell = csv_cell(text)
    assert isinstance(cell, str) and not cell.strip().startswith(("=", "+", "-", "@"))
    assert cell.removeprefix("'") == printable(text) or cell == printable(text)


def test_numbers_in_a_table_stay_numbers() -> None:
    assert [csv_cell(v) for v in (-1, -0.5, None, "-1", "=1+1", " @SUM(A1)", "film.mp4")] == [
        -1,
        -0.5,
        None,
        "'-1",
        "'=1+1",
        "' @SUM(A1)",
        "film.mp4",
    ]


@given(ANY)
def test_a_page_shows_text_and_nothing_of_it_is_markup(text: str) -> None:
    written = html_text(text)
    assert not set("<>\"'") & set(written)
    assert html.unescape(written) == printable(text)


@given(st.lists(ANY))
def test_json_keeps_every_character_in_plain_ascii(value: list[str]) -> None:
    line = json_text(value)
    assert all(" " <= c <= "~" for c in line)
    assert json.loads(line) == [_joined(text) for text in value]


def _joined(text: str) -> str:
    """A pair of surrogates is one character to whoever reads JSON."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 damaged packets"), (1, "1 damaged packet"), (2, "2 damaged packets")],
)
def test_things_are_counted_in_the_singular_and_the_plural(number: int, text: str) -> None:
    assert counted(number, "damaged packet") == text
