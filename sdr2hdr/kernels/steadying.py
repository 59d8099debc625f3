"""Planes steadied over their neighbours: :func:`sdr2hdr.models.base.steady.steadied` before R'G'B' is made.

How alike two frames are is the same seen from either, so that each pair is compared once, and planes hold half as many samples
as R'G'B'. What is compared is R'G'B' all the same, chroma taken from the nearest sample.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

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
def _tints(tints: tuple[Plane, ...], i: int, gains: Row) -> tuple[np.float32, np.float32]:
    """The least and the greatest difference of R'-Y', G'-Y' and B'-Y' at a chroma sample."""
    cb, cr, other_cb, other_cr = tints
    u, v = f4(cb[i]) - f4(other_cb[i]), f4(cr[i]) - f4(other_cr[i])
    r, g, b = v * gains[3], u * gains[4] + v * gains[5], u * gains[6]
    return min(r, g, b), max(r, g, b)


@row
def _apart(
    y: Plane, other: Plane, tints: tuple[Plane, ...], across: int, gains: Row, out: Row
) -> None:
    """The largest difference of R', G' and B' at each pixel of a row, 0..1; ``out[2:-2]``."""
    scale, count = f4(1.0) / gains[1], len(y)
    if across == 1:
        for i in range(count // 2):
            low, high = _tints(tints, i, gains)
            a = (f4(y[2 * i]) - f4(other[2 * i])) * scale
            b = (f4(y[2 * i + 1]) - f4(other[2 * i + 1])) * scale
            out[2 * i + 2] = max(a + high, -(a + low))
            out[2 * i + 3] = max(b + high, -(b + low))
        if count % 2:
            low, high = _tints(tints, count // 2, gains)
            a = (f4(y[count - 1]) - f4(other[count - 1])) * scale
            out[count + 1] = max(a + high, -(a + low))
    else:
        for i in range(count):
            low, high = _tints(tints, i, gains)
            a = (f4(y[i]) - f4(other[i])) * scale
            out[i + 2] = max(a + high, -(a + low))
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


@kernel
def _compare(
    one: tuple[Plane, ...],
    two: tuple[Plane, ...],
    size: NDArray[np.int32],
    sub: NDArray[np.int32],
    gains: Row,
    unlike: np.float32,
    out: _Weights,
    first: int,
    last: int,
) -> None:
    height, width = size[0], size[1]
    across, down = sub[0], sub[1]
    small = (width + across) >> across
    apart = np.empty((5, width + 4), np.float32)
    sums = np.empty(width + 4, np.float32)
    ready = max(first - 2, 0)  # the next row to compare; row n lies in slot n % 5
    for at in range(first, last):
        while ready < min(at + 3, height):
            k = ready >> down
            tints = one[1][k, :small], one[2][k, :small], two[1][k, :small], two[2][k, :small]
            _apart(
                one[0][ready, :width],
                two[0][ready, :width],
                tints,
                across,
                gains,
                apart[ready % 5],
            )
            ready += 1
        above, top = max(at - 2, 0) % 5, max(at - 1, 0) % 5
        below, bottom = min(at + 1, height - 1) % 5, min(at + 2, height - 1) % 5
        _weight(
            apart[above],
            apart[top],
            apart[at % 5],
            apart[below],
            apart[bottom],
            sums,
            unlike,
            out[at],
        )


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


@kernel
def _average(
    now: Plane,
    others: tuple[Plane, ...],
    weights: tuple[_Weights, ...],
    width: int,
    across: int,
    down: int,
    finer: np.float32,
    out: NDArray[np.uint16],
    first: int,
    last: int,
) -> None:
    """Rows ``first:last`` of a plane whose samples lie 2^across and 2^down pixels apart, in steps ``finer`` than its codes'."""
    count, height = out.shape[1], weights[0].shape[0]
    room = np.empty((4, count), np.float32)
    base = f4(255.0 * (4.0 if across == 1 else 1.0))
    for at in range(first, last):
        one = at << down
        two = min(one + down, height - 1)
        a, b, c, d = (
            others[0][at, :count], others[1][at, :count],
            others[2][at, :count], others[3][at, :count],
        )  # fmt: skip
        if across == 1:
            for n in range(4):
                _paired(weights[n][one, :width], weights[n][two, :width], room[n])
            sums = room[0], room[1], room[2], room[3]
            _mean(now[at, :count], a, b, c, d, sums, base, finer, out[at])
        else:
            own = (
                weights[0][one, :width], weights[1][one, :width],
                weights[2][one, :width], weights[3][one, :width],
            )  # fmt: skip
            _mean(now[at, :count], a, b, c, d, own, base, finer, out[at])


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
        pairs = [(min(n, at), max(n, at)) for n in steps]
        arrays = [tuple(flat(p) for p in frame[:3]) for frame in planes]
        weights = [self._alike(arrays, planes[at][0].shape, pair, first) for pair in pairs]
        # missing neighbours have no weight
        four = (*weights, *[np.zeros_like(weights[0])] * spare)
        others = [arrays[n] for n in (*steps, *[at] * spare)]
        out = []
        for c, plane in enumerate(planes[at][:3]):
            new = torch.empty(plane.shape, dtype=torch.uint16)
            width, sub = planes[at][0].shape[1], self._how.sub.tolist() if c else (0, 0)
            now, near = arrays[at][c], tuple(other[c] for other in others)
            in_bands(
                plane.shape[0],
                partial(_average, now, near, four, width, *sub, f4(self._finer), new.numpy()),
            )
            out.append(new)
        self._weights = {pair: w for pair, w in self._weights.items() if pair[1] > first + at}
        return tuple(out)

    def _alike(
        self, arrays: Sequence[tuple[Any, ...]], size: torch.Size, pair: tuple[int, int], first: int
    ) -> _Weights:
        """The weights ``H,W`` of one frame of a pair in the mean of the other."""
        key = pair[0] + first, pair[1] + first
        if key not in self._weights:
            out = np.empty(size, np.uint8)
            shape = np.array(size, dtype=np.int32)
            one, two = arrays[pair[0]], arrays[pair[1]]
            in_bands(
                size[0],
                partial(
                    _compare, one, two, shape, self._how.sub, self._how.gains, self._unlike, out
                ),
            )
            self._weights[key] = out
        return self._weights[key]
