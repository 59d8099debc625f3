"""Means over squares of samples of maps ``H,W``, a map's border repeated outwards."""

import numpy as np
from numpy.typing import NDArray

from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import Row, f4

Map = NDArray[np.float32]


@row
def edged(x: Row, radius: int, out: Row) -> None:
    """A row with its ends repeated ``radius`` times."""
    count = len(x)
    for i in range(radius):
        out[i] = x[0]
        out[count + radius + i] = x[count - 1]
    for i in range(count):
        out[i + radius] = x[i]


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
