"""The scenes of a film as a table, and as text that other programs read.

Sources: the CMX 3600 edit list (SMPTE 258M) for ``edl``; x264's and x265's ``--qpfile`` (frame, type, quantiser).
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sdr2hdr.scenes.cutlist import TITLE, scenes_from_cuts, time_code
from sdr2hdr.scenes.detector import Cut
from sdr2hdr.text import printable

DOUBT = 0.55
"""Cuts of less strength are worth a look: of the true cuts of our hand-checked clips most lie between 0.59 and 0.72."""


@dataclass(frozen=True)
class Row:
    """A scene: frames ``first`` to ``last``, both in it; ``start`` and ``end`` in seconds since the film's first frame.

    ``kind`` and ``strength`` (0..1) are of the cut that begins it, None for the first scene and where a list says where cuts are.
    """

    number: int
    first: int
    last: int
    start: Fraction
    end: Fraction
    kind: str | None = None
    strength: float | None = None

    @property
    def frames(self) -> int:
        return self.last - self.first + 1

    @property
    def length(self) -> Fraction:
        """Seconds."""
        return self.end - self.start

    @property
    def is_doubtful(self) -> bool:
        """Whether the cut that begins it may be none."""
        return self.strength is not None and self.strength < DOUBT

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "first_frame": self.first,
            "last_frame": self.last,
            "frames": self.frames,
            "start": float(self.start),
            "end": float(self.end),
            "length": float(self.length),
            "kind": self.kind,
            "strength": self.strength,
            "doubtful": self.is_doubtful,
        }


def rows_of(
    pts: Sequence[int],
    last_duration: int,
    starts: Sequence[int],
    cuts: Sequence[Cut],
    time_base: Fraction,
) -> list[Row]:
    """The rows for scenes that start at frame 0 and at ``starts``; ``cuts`` is what is known of these."""
    known = {cut.frame: cut for cut in cuts}
    ends = [*(pts[i] for i in starts), pts[-1] + last_duration]
    rows = []
    for number, (scene, end) in enumerate(
        zip(scenes_from_cuts(starts, len(pts), pts), ends, strict=True), 1
    ):
        cut = known.get(scene.first)
        times = ((scene.pts - pts[0]) * time_base, (end - pts[0]) * time_base)
        rows.append(
            Row(
                number,
                scene.first,
                scene.last,
                *times,
                cut.kind if cut else None,
                cut.strength if cut else None,
            )
        )
    return rows


def as_csv(rows: Sequence[Row]) -> str:
    """A table with titles; its first column makes it a cut list, so ``convert --scenes`` takes it, edited or not."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        [
            TITLE,
            "start",
            "number",
            "last_frame",
            "frames",
            "end",
            "length",
            "kind",
            "strength",
            "doubtful",
        ]
    )
    for r in rows:
        strength = "" if r.strength is None else f"{r.strength:.2f}"
        times = (time_code(r.end), time_code(r.length))
        table.writerow(
            [
                r.first,
                time_code(r.start),
                r.number,
                r.last,
                r.frames,
                *times,
                r.kind or "",
                strength,
                int(r.is_doubtful),
            ]
        )
    return out.getvalue()


def as_qpfile(rows: Sequence[Row]) -> str:
    """A key frame for each scene, at the quantiser that the encoder likes."""
    return "".join(f"{r.first} I -1\n" for r in rows)


def as_edl(rows: Sequence[Row], title: str, rate: Fraction) -> str:
    """A CMX 3600 edit list, an event a scene, non-drop-frame time codes from 0 at the nearest whole rate."""
    title = printable(title)
    lines = [f"TITLE: {title}", "FCM: NON-DROP FRAME", ""]
    for r in rows:
        a, b = (_frame_code(round(t * rate), max(1, round(rate))) for t in (r.start, r.end))
        lines += [
            f"{r.number:03}  AX       V     C        {a} {b} {a} {b}",
            f"* FROM CLIP NAME: {title}",
        ]
    return "\n".join(lines) + "\n"


def _frame_code(frame: int, rate: int) -> str:
    seconds, rest = divmod(frame, rate)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{rest:02}"
