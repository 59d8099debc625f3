"""Cut lists: what is written is read again, what a person edits is understood, what does not fit is named."""

from fractions import Fraction
from pathlib import Path

import pytest

from sdr2hdr.errors import InputError
from sdr2hdr.scenes.cutlist import Scene, read_cutlist, scenes_from_cuts, time_code

RATE = Fraction(1001, 24000)
PTS = [900 + k for k in range(400)]


def listed(tmp_path: Path, text: str) -> list[int]:
    path = tmp_path / "cuts.csv"
    path.write_text(text, encoding="utf-8")
    return read_cutlist(path, PTS, RATE)


def test_scenes_are_the_frames_between_cuts() -> None:
    assert scenes_from_cuts([3, 7], 10, list(range(100, 110))) == [
        Scene(0, 2, 100),
        Scene(3, 6, 103),
        Scene(7, 9, 107),
    ]
    assert scenes_from_cuts([], 1, [5]) == [Scene(0, 0, 5)]
    assert scenes_from_cuts([], 0, []) == []


@pytest.mark.parametrize("cuts", [[], [1], [52, 53, 399]])
def test_what_is_written_is_read(tmp_path: Path, cuts: list[int]) -> None:
    path = tmp_path / "cuts.csv"
    path.write_text(
        "".join(f"{s.first}, for people\n" for s in scenes_from_cuts(cuts, len(PTS), PTS))
    )
    assert read_cutlist(path, PTS, RATE) == cuts


def test_the_time_codes_written_lead_to_the_same_frames(tmp_path: Path) -> None:
    path, variable = tmp_path / "cuts.csv", [0, 1000, 1500, 9000, 9900, 270_000_000, 270_001_500]
    path.write_text("\n".join(time_code(Fraction(pts, 90000)) for pts in variable))
    assert read_cutlist(path, variable, Fraction(1, 90000)) == [1, 2, 3, 4, 5, 6]


def test_frame_0_may_be_listed_or_not(tmp_path: Path) -> None:
    assert listed(tmp_path, "0, 0:00:00.000\n52") == listed(tmp_path, "52") == [52]


def test_what_people_write_is_understood(tmp_path: Path) -> None:
    text = "\ufeff# my cuts\r\n\r\n 52 , 0:00:02.2, the tower # really\r\n0:00:05.000; by ear\r\n  # nothing\r\n130\tlast\r\n"
    assert listed(tmp_path, text) == [52, 120, 130]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("0\nfifty\n", 2, "fifty"),
        ("0\n-3\n", 2, "-3"),
        ("0\n5.5\n", 2, "5.5"),
        ("0\n, 0:00:02\n", 2, "neither"),
        ("0\n1:75:00\n", 2, "1:75:00"),
        ("10\n\n# a word\n10\n", 4, "frame 10"),
        ("0\n60\n52\n", 3, "frame 52"),
        ("0\n400\n", 2, "399"),
        ("0\n" + "9" * 5000 + "\n", 2, "999"),
        ("0:00:59\n", 1, "399"),
        ("0\n0:00:01,500\n", 2, "comma"),
    ],
)
def test_a_line_that_does_not_fit_is_named(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        listed(tmp_path, text)
    message = str(caught.value)
    assert "cuts.csv" in message
    assert f"line {line}:" in message
    assert words in message
    assert len(message) < 300


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"\x1a\x45\xdf\xa3\xff\xfe")
    (tmp_path / "large.txt").write_bytes(b"0" * ((16 << 20) + 1))
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "film.mkv", tmp_path / "large.txt"):
        with pytest.raises(InputError, match=path.name):
            read_cutlist(path, PTS, RATE)
