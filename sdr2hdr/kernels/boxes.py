"""Means over squares of samples of maps ``H,W``, a map's border repeated outwards; of integers, whose sums are exact, faster."""

import numpy as np
from numpy.typing import NDArray

from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import Row, copied, f4, i4

Map = NDArray[np.float32]
Ints = NDArray[np.int32]


@row
def edged(x: Row | Ints, radius: int, out: Row | Ints) -> None:
    """A row with its ends repeated ``radius`` times."""
    count = len(x)
    for i in range(radius):
        out[i] = x[0]
        out[count + radius + i] = x[count - 1]
    copied(x, out[radius : radius + count])


@row
def _sum(x: Row, y: Row, z: Row, out: Row) -> None:
    for i in range(len(out)):
        out[i] = (x[i] + y[i]) + z[i]


@row
def _added(x: Row, y: Row, out: Row) -> None:
    for i in range(len(out)):
        out[i] = (out[i] + x[i]) + y[i]


@row
def _scaled(x: Row, by: np.float32) -> None:
    for i in range(len(x)):
        x[i] *= by


@kernel
def averaged(x: Map, radius: int, across: Map, out: Map, room: Row) -> None:
    """The mean of the (2 radius + 1)^2 around each, from a radius of 1 on; a border is repeated outwards."""
    height, width = x.shape
    for y in range(height):
        edged(x[y], radius, room)
        _sum(room[:width], room[1 : 1 + width], room[2 : 2 + width], across[y])
        for k in range(3, 2 * radius + 1, 2):
            _added(room[k : k + width], room[k + 1 : k + 1 + width], across[y])
    share = f4(1.0) / f4((2 * radius + 1) ** 2)
    last = height - 1
    for y in range(height):
        near = y - radius
        rows = min(max(near, 0), last), min(max(near + 1, 0), last), min(max(near + 2, 0), last)
        _sum(across[rows[0]], across[rows[1]], across[rows[2]], out[y])
        for k in range(near + 3, y + radius + 1, 2):
            _added(across[min(max(k, 0), last)], across[min(max(k + 1, 0), last)], out[y])
        _scaled(out[y], share)


@row
def _paired(x: Ints, y: Ints, out: Ints) -> None:
    for i in range(len(out)):
        out[i] = x[i] + y[i]


@row
def _raised(x: Ints, total: Ints) -> None:
    for i in range(len(total)):
        total[i] += x[i]


@row
def _moved_on(new: Ints, old: Ints, total: Ints, share: np.float32, out: Row) -> None:
    for i in range(len(out)):
        now = i4(i4(total[i] + new[i]) - old[i])
        total[i] = now
        out[i] = f4(now) * f4(1 / 16) * share


@row
def summed_across(x: Ints, doublings: int, room: Ints, out: Ints) -> None:
    """The sums of the 2 radius + 1 samples around each of a row, for a radius of 2^doublings.

    ``room`` holds a row more than doublings and 1, wider by twice the radius. Sums of two samples make those of four, and so on.
    """
    radius = 1 << doublings
    width = len(x)
    wide = width + 2 * radius
    edged(x, radius, room[0])
    for n in range(doublings + 1):
        side = 1 << n
        count = wide - 2 * side + 1
        _paired(room[n, :count], room[n, side : side + count], room[n + 1, :count])
    _paired(room[doublings + 1, :width], room[0, 2 * radius : 2 * radius + width], out)


@row
def begun_down(across: Ints, radius: int, total: Ints) -> None:
    """What :func:`averaged_down` begins with: the sum of the 2 radius + 1 rows of sums across around row -1."""
    last = len(across) - 1
    for i in range(len(total)):
        total[i] = i4(radius + 2) * across[0, i]
    for k in range(1, radius):
        _raised(across[min(k, last)], total)


@row
def averaged_down(across: Ints, radius: int, y: int, total: Ints, out: Row) -> None:
    """A sixteenth of the mean of the (2 radius + 1)^2 around each of row ``y``, of sums across; rows come one after the other.

    What a step down adds to the ``total`` of the row before and leaves behind is all that is summed: sums of integers are exact.
    """
    last = len(across) - 1
    share = f4(1.0) / f4((2 * radius + 1) ** 2)
    _moved_on(across[min(y + radius, last)], across[max(y - radius - 1, 0)], total, share, out)
