"""Scenes as runs of frames, and cut lists as text that a person can edit.

A cut list has one scene per line, with fields separated by commas: the first frame's number (the first frame of all is 0)
or its time code ``h:mm:ss.sss`` since the first frame; the rest is a comment, and so is text after ``#``. Blank lines do
not count, nor does a first line of column titles that begins with ``first_frame``. The scene that starts at frame 0 need
not be listed.
"""

import itertools
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from sdr2hdr.errors import InputError
from sdr2hdr.reading import read_text

TITLE = "first_frame"
"""The title of the first column, where a list has titles."""
_COMMA = re.compile(r"\d+:\d+:\d+,\d{3}", re.ASCII)  # as subtitles have it
_TIME = re.compile(r"(\d{1,4}):([0-5]?\d):([0-5]?\d(?:\.\d{1,9})?)", re.ASCII)


@dataclass(frozen=True)
class Scene:
    """The frames ``first``..``last`` (both in it) between two cuts; ``pts`` is the first frame's."""

    first: int
    last: int
    pts: int


def scenes_from_cuts(cuts: Sequence[int], frame_count: int, pts: Sequence[int]) -> list[Scene]:
    """The scenes that increasing ``cuts`` (first frames of new scenes, each in 1..frame_count-1) leave of a stream."""
    if not frame_count:
        return []
    return [Scene(a, b - 1, pts[a]) for a, b in itertools.pairwise([0, *cuts, frame_count])]


def check_cutlist(scenes: str) -> None:
    """Raise InputError unless ``scenes`` is ``auto``, ``none`` or the path of a text that can be read."""
    if scenes not in ("auto", "none"):
        read_text(Path(scenes), "a cut list")


def read_cutlist(path: Path, pts: Sequence[int], time_base: Fraction) -> list[int]:
    """The cuts of a list: increasing frame numbers, frame 0 left out, checked against the ``pts`` of all frames.

    A time code means the frame whose time is nearest. Raises InputError, naming file and line.
    """
    lines = read_text(path, "a cut list").splitlines()
    frames: list[int] = []
    for number, line in enumerate(lines, 1):
        field = re.split(r"[,;\t]", line.split("#")[0], maxsplit=1)[0].strip()
        if (not field and not line.split("#")[0].strip()) or (number == 1 and field == TITLE):
            continue
        where = f"{path}, line {number}"
        if _COMMA.fullmatch(line.split("#")[0].strip()):
            raise InputError(
                f"{where}: '{line.strip()[:40]}' has a comma before fractions of a second; write 0:00:02.167."
            )
        frame = _frame(field, pts, time_base)
        if frame is None:
            raise InputError(
                f"{where}: '{field[:40]}' is neither a frame number nor a time code; write 52 or 0:00:02.167."
            )
        if frame >= len(pts):
            raise InputError(
                f"{where}: '{field[:40]}' is beyond the last frame, {len(pts) - 1}; correct or remove the line."
            )
        if frames and frame <= frames[-1]:
            raise InputError(
                f"{where}: frame {frame} does not come after frame {frames[-1]}; put the lines in order."
            )
        frames.append(frame)
    return [f for f in frames if f > 0]


def _frame(field: str, pts: Sequence[int], time_base: Fraction) -> int | None:
    """The frame that a field names; past the last frame if the time is more than a frame after it; None if invalid."""
    if re.fullmatch(r"\d{1,12}", field, re.ASCII):
        return int(field)
    if not (match := _TIME.fullmatch(field)) or not pts:
        return None
    hours, minutes, seconds = match.groups()
    at = pts[0] + (Fraction(seconds) + 60 * int(minutes) + 3600 * int(hours)) / time_base
    after = bisect_left(pts, at)
    if after == len(pts):
        step = pts[-1] - pts[-2] if len(pts) > 1 else 0
        return after - 1 if at < pts[-1] + max(step, 1) else after
    return after if after == 0 or pts[after] - at <= at - pts[after - 1] else after - 1


def time_code(seconds: Fraction) -> str:
    """``h:mm:ss.sss`` of a time since the first frame, 0 or later."""
    ms = round(seconds * 1000)
    return f"{ms // 3600000}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
