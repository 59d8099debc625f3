"""Combing: the trace of two fields of different times in one picture.

As in FFmpeg's idet, each line is compared with its two neighbours, and so are the same lines of the pictures before and
after. In a picture of one time its own line fits best by far. Where the fields are of two times, one field fits the picture
before as well as its own and the other the picture after: that also tells which is first. Only what moves is compared.

Arrays are NumPy's: torch would share each small step out to threads, and they cost more than the work.
"""

from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from sdr2hdr.media.picture import planes_of

Lines = NDArray[np.int16]

_COLUMNS = 240  # about as many columns of a picture are looked at
_MOVED = 6  # codes of 8 bits between this picture and those beside it
_LEAST = 64  # samples that must move in a picture that is flagged interlaced
_SHARE = 1 / 500  # of all samples that must move in one that is not
# How much worse than its own line the line of another time fits at most, and how much better one order of fields
# must fit than the other: with a flag that says interlaced, and without.
_FITS, _PLAIN_FITS = 1.6, 1.1
_ORDERED, _PLAIN_ORDERED = 1.15, 1.8


@dataclass(frozen=True, slots=True)
class Combing:
    """``moved`` samples of a picture's ``size``.

    ``fit``: how much worse than its own lines those of another time fit, in the better order of
    fields. ``ordered``: how much better that order fits than the other. ``top_first``: whether the
    top field is first in it.
    """

    moved: int = 0
    size: int = 0
    fit: float = 0
    ordered: float = 0
    top_first: bool = True

    def is_seen(self, *, flagged: bool) -> bool:
        """Whether the fields are of two times; without a flag that says so more must move."""
        if flagged:
            return self.moved >= _LEAST and self.fit < _FITS and self.ordered > _ORDERED
        least = max(_LEAST, self.size * _SHARE)
        return self.moved >= least and self.fit < _PLAIN_FITS and self.ordered > _PLAIN_ORDERED


def luma_lines(frame: VideoFrame) -> Lines:
    """A thinned copy of a planar frame's first colour plane, ``H,W``, about 240 columns, in codes of 8 bits."""
    plane = planes_of(frame)[0].numpy()[:, :: max(1, frame.width // _COLUMNS)]
    shift = frame.format.components[0].bits - 8
    return (plane >> shift if shift else plane).astype(np.int16)


def combing(before: Lines | None, lines: Lines, after: Lines | None) -> Combing:
    """Whether a picture is combed, by its lines and those of the pictures before and after it."""
    size = lines.size
    beside = [
        (other, earlier) for other, earlier in ((before, True), (after, False)) if other is not None
    ]
    if not beside or lines.shape[0] < 4:
        return Combing()
    here = lines[1:-1]
    changes = [np.abs(other[1:-1] - here) > _MOVED for other, _ in beside]
    moves = changes[0] if len(changes) == 1 else changes[0] | changes[1]
    moved = int(np.count_nonzero(moves))
    if moved < _LEAST:
        return Combing(moved, size)
    around = lines[:-2] + lines[2:]
    own = _by_field(np.abs(around - 2 * here) * moves)
    # how badly each order of fields fits: of what is found in other pictures, the share over what is found in its own lines
    found = {True: 0, False: 0}
    expected = {True: 1, False: 1}
    for other, earlier in beside:
        off = _by_field(np.abs(around - 2 * other[1:-1]) * moves)
        for is_top in (True, False):
            # top first: the top field fits the picture after, the bottom field the picture before
            order = is_top != earlier
            found[order] += off[is_top]
            expected[order] += own[is_top]
    top, bottom = (found[order] / expected[order] for order in (True, False))
    low, high = sorted((top, bottom))
    return Combing(moved, size, low, high / low if low else high, top < bottom)


def _by_field(rows: Lines) -> dict[bool, int]:
    """Sums over the lines of the top field (True) and of the bottom field, the first row being of the bottom field."""
    sums = rows.sum(axis=1, dtype=np.int32)
    return {True: int(sums[1::2].sum()), False: int(sums[::2].sum())}
