"""Planes steadied over their neighbours: :func:`sdr2hdr.models.base.steady.steadied` before R'G'B' is made.

How alike two frames are is the same seen from either, so that each pair is compared once, and planes hold half as many samples
as R'G'B'. What is compared is R'G'B' all the same, chroma taken from the nearest sample.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.reading import Reading, flat
from sdr2hdr.kernels.rows import Plane, Row, f4, i4

_Weights = NDArray[np.uint8]

_MOST = 4  # neighbours


@row
def _tints(
    cb: Plane, cr: Plane, other_cb: Plane, other_cr: Plane, gains: Row, low: Row, high: Row
) -> None:
    """The least and the greatest difference of R'-Y', G'-Y' and B'-Y' at each sample of a row of chroma."""
    for i in range(len(low)):
        u, v = f4(cb[i]) - f4(other_cb[i]), f4(cr[i]) - f4(other_cr[i])
        r, g, b = v * gains[3], u * gains[4] + v * gains[5], u * gains[6]
        low[i], high[i] = min(r, g, b), max(r, g, b)


@row
def _apart(
    y: Plane, other: Plane, low: Row, high: Row, across: int, scale: np.float32, out: Row
) -> None:
    """The largest difference of R', G' and B' at each pixel of a row, 0..1; ``out[2:-2]``."""
    count = len(y)
    if across == 1:
        for i in range(count // 2):
            a = (f4(y[2 * i]) - f4(other[2 * i])) * scale
            b = (f4(y[2 * i + 1]) - f4(other[2 * i + 1])) * scale
            out[2 * i + 2] = max(a + high[i], -(a + low[i]))
            out[2 * i + 3] = max(b + high[i], -(b + low[i]))
        if count % 2:
            i = count // 2
            a = (f4(y[count - 1]) - f4(other[count - 1])) * scale
            out[count + 1] = max(a + high[i], -(a + low[i]))
    else:
        for i in range(count):
            a = (f4(y[i]) - f4(other[i])) * scale
            out[i + 2] = max(a + high[i], -(a + low[i]))
    out[0] = out[1] = out[2]
    out[count + 2] = out[count + 3] = out[count + 1]


@row
def _weight(
    a: Row, b: Row, c: Row, d: Row, e: Row, sums: Row, unlike: np.float32, out: _Weights
) -> None:
    """Tukey's biweight of the mean difference over 5x5 pixels, 0 to 255."""
    for i in range(len(sums)):
        sums[i] = (((a[i] + b[i]) + c[i]) + d[i]) + e[i]
    for i in range(len(out)):
        apart = ((((sums[i] + sums[i + 1]) + sums[i + 2]) + sums[i + 3]) + sums[i + 4]) * unlike
        weight = max(f4(1.0) - apart * apart, f4(0.0))
        out[i] = np.uint8(i4(weight * weight * f4(255.0) + f4(0.5)))


@row
def _mean(
    now: Plane,
    a: Plane,
    b: Plane,
    c: Plane,
    d: Plane,
    weights: tuple[Plane | Row, ...],
    base: np.float32,
    finer: np.float32,
    out: NDArray[np.uint16],
) -> None:
    """The mean of five rows, of which the first weighs ``base``."""
    one, two, three, four = weights
    for i in range(len(out)):
        total, w = f4(now[i]) * base, f4(one[i])
        total, all_weights = total + w * f4(a[i]), base + w
        w = f4(two[i])
        total, all_weights = total + w * f4(b[i]), all_weights + w
        w = f4(three[i])
        total, all_weights = total + w * f4(c[i]), all_weights + w
        w = f4(four[i])
        total, all_weights = total + w * f4(d[i]), all_weights + w
        out[i] = np.uint16(i4(total / all_weights * finer + f4(0.5)))


@row
def _paired(one: _Weights, two: _Weights, out: Row) -> None:
    """The sums of 2x2 weights; an odd last column counts twice."""
    for i in range(len(one) // 2):
        upper = i4(i4(one[2 * i]) + i4(one[2 * i + 1]))
        lower = i4(i4(two[2 * i]) + i4(two[2 * i + 1]))
        out[i] = f4(i4(upper + lower))
    if len(one) % 2:
        i = len(one) // 2
        out[i] = f4(2 * i4(one[2 * i]) + 2 * i4(two[2 * i]))


@row
def _compare(
    one: tuple[Plane, ...],
    two: tuple[Plane, ...],
    at: int,
    begun: int,
    form: NDArray[np.int32],
    gains: Row,
    unlike: np.float32,
    tints: NDArray[np.float32],
    apart: NDArray[np.float32],
    sums: Row,
    out: _Weights,
) -> None:
    """Row ``at`` of the weights of a pair; rows come one after the other from ``begun`` on.

    ``apart`` holds five rows of differences, row n in slot n % 5, ``tints`` what chroma adds to the last of them.
    """
    height, width, across, down = form[0], form[1], form[2], form[3]
    small = (width + across) >> across
    ready = max(begun - 2, 0) if at == begun else min(at + 2, height)
    for n in range(ready, min(at + 3, height)):
        k = n >> down
        if n == k << down:
            _tints(
                one[1][k, :small], one[2][k, :small], two[1][k, :small], two[2][k, :small],
                gains, tints[0, :small], tints[1, :small],
            )  # fmt: skip
        _apart(
            one[0][n, :width], two[0][n, :width], tints[0], tints[1], across, f4(1.0) / gains[1], apart[n % 5],
        )  # fmt: skip
    above, top = max(at - 2, 0) % 5, max(at - 1, 0) % 5
    below, bottom = min(at + 1, height - 1) % 5, min(at + 2, height - 1) % 5
    _weight(
        apart[above], apart[top], apart[at % 5], apart[below], apart[bottom], sums, unlike, out[at],
    )  # fmt: skip


@kernel
def _steady(
    frames: tuple[tuple[Plane, ...], ...],
    weights: tuple[_Weights, ...],
    fresh: NDArray[np.bool_],
    form: NDArray[np.int32],
    gains: Row,
    unlike: np.float32,
    finer: np.float32,
    out: tuple[NDArray[np.uint16], ...],
    first: int,
    last: int,
) -> None:
    """Rows ``first:last`` of chroma, and those of luma beside them, of the first of five ``frames``.

    ``weights`` are those of the others; of the ``fresh`` ones these rows are worked out first. ``form`` holds the height and
    the width, and log2 of the subsampling across and down. What a row is made of lies in a cache while luma and chroma are
    made: planes of several frames do not.
    """
    height, width, across, down = form[0], form[1], form[2], form[3]
    small = (width + across) >> across
    begun = first << down
    apart = np.empty((_MOST, 5, width + 4), np.float32)
    tints = np.empty((_MOST, 2, small), np.float32)
    sums = np.empty(width + 4, np.float32)
    room = np.empty((_MOST, small), np.float32)
    now, a, b, c, d = frames
    one, two, three, four = weights
    base = f4(255.0)
    for k in range(first, last):
        rows = k << down, min((k << down) + down, height - 1)
        for at in range(rows[0], rows[1] + 1):
            for n in range(_MOST):
                if fresh[n]:
                    _compare(
                        now, frames[n + 1], at, begun, form, gains, unlike, tints[n], apart[n], sums, weights[n],
                    )  # fmt: skip
            own = one[at, :width], two[at, :width], three[at, :width], four[at, :width]
            _mean(
                now[0][at, :width], a[0][at, :width], b[0][at, :width], c[0][at, :width], d[0][at, :width],
                own, base, finer, out[0][at],
            )  # fmt: skip
        if across == 1:
            for n in range(_MOST):
                _paired(weights[n][rows[0], :width], weights[n][rows[1], :width], room[n])
        for p in range(1, 3):
            near = a[p][k, :small], b[p][k, :small], c[p][k, :small], d[p][k, :small]
            if across == 1:
                sums_of_two = room[0], room[1], room[2], room[3]
                _mean(now[p][k, :small], *near, sums_of_two, base * f4(4.0), finer, out[p][k])
            else:
                single = (
                    one[rows[0], :width],
                    two[rows[0], :width],
                    three[rows[0], :width],
                    four[rows[0], :width],
                )
                _mean(now[p][k, :small], *near, single, base, finer, out[p][k])


class Steadier:
    """Steadies the frames of scenes of one kind, one after the other: planes that are read as ``how`` says.

    ``reach`` neighbours on each side, at most 2, take part; pixels whose 5x5 neighbourhoods differ by ``unlike`` 0..1 do
    not. Samples come out as 16-bit numbers ``finer`` times as large.
    """

    def __init__(self, how: Reading, finer: int, reach: int, unlike: float) -> None:
        if reach > _MOST // 2:
            raise ValueError(f"no more than {_MOST // 2} neighbours on each side")
        self._how, self._finer = how, finer
        self._reach, self._unlike = reach, f4(1.0 / (25.0 * unlike))
        self._weights: dict[tuple[int, int], _Weights] = {}

    def forget(self) -> None:
        """What follows is another scene."""
        self._weights.clear()

    def __call__(
        self, planes: Sequence[tuple[Tensor, ...]], at: int, first: int
    ) -> tuple[Tensor, ...]:
        """Frame ``at`` of a scene's neighbouring ``planes``.

        ``first`` is the number of the first of them in the film, by which comparisons are remembered. As many neighbours take
        part on either side.
        """
        reach = min(self._reach, at, len(planes) - 1 - at)
        if reach == 0:
            return tuple(
                p.to(torch.int32).mul_(self._finer).to(torch.uint16) for p in planes[at][:3]
            )
        steps = [n for step in range(1, reach + 1) for n in (at - step, at + step)]
        spare = _MOST - len(steps)
        arrays = [tuple(flat(p) for p in frame[:3]) for frame in planes]
        size = planes[at][0].shape
        fresh = np.zeros(_MOST, np.bool_)
        # missing neighbours have no weight
        weights = [np.zeros(size, np.uint8)] * spare
        for n in range(len(steps) - 1, -1, -1):
            pair = min(steps[n], at) + first, max(steps[n], at) + first
            fresh[n] = pair not in self._weights
            weights.insert(0, self._weights.setdefault(pair, np.empty(size, np.uint8)))
        out = tuple(torch.empty(p.shape, dtype=torch.uint16) for p in planes[at][:3])
        work = partial(
            _steady,
            tuple(arrays[n] for n in (at, *steps, *[at] * spare)),
            tuple(weights),
            fresh,
            np.array([*size, *self._how.sub], np.int32),
            self._how.gains,
            self._unlike,
            f4(self._finer),
            tuple(p.numpy() for p in out),
        )
        in_bands(out[1].shape[0], work)
        self._weights = {pair: w for pair, w in self._weights.items() if pair[1] > first + at}
        return out
