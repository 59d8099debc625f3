"""Pictures made small straight from their planes, by area averaging: what a survey looks at."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.reading import Reading, flat, read_row
from sdr2hdr.kernels.rows import Plane, Row, copied, f4


@row
def _add(own: Row, total: Row) -> None:
    for i in range(len(own)):
        total[i] = total[i] + own[i]


@kernel
def _thumbnail(
    y: Plane,
    cb: Plane,
    cr: Plane,
    size: NDArray[np.int32],
    sub: NDArray[np.int32],
    gains: Row,
    out: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """Rows ``first:last`` of a thumbnail ``3,S,S``; a cell has the rows and columns that it covers in part, too."""
    height, width = size[0], size[1]
    count = out.shape[1]
    work = np.empty((8, width + 4), np.float32)
    total = np.empty((3, width), np.float32)
    for cell in range(first, last):
        top, bottom = cell * height // count, ((cell + 1) * height + count - 1) // count
        for at in range(top, bottom):
            read_row(y, cb, cr, size, at, sub, gains, work)
            for c in range(3):
                if at == top:
                    copied(work[c, :width], total[c])
                else:
                    _add(work[c, :width], total[c])
        for column in range(count):
            left, right = column * width // count, ((column + 1) * width + count - 1) // count
            for c in range(3):
                mean = f4(0.0)
                for i in range(left, right):
                    mean += total[c, i]
                out[c, cell, column] = mean / f4((bottom - top) * (right - left))


def thumbnail(planes: tuple[Tensor, ...], how: Reading, size: int) -> Tensor:
    """The R'G'B' ``3,size,size`` of a picture by area averaging, of planes on the CPU."""
    y, cb, cr = (flat(p) for p in planes[:3])
    out = torch.empty(3, size, size)
    shape = np.array(planes[0].shape, dtype=np.int32)
    in_bands(size, partial(_thumbnail, y, cb, cr, shape, how.sub, how.gains, out.numpy()))
    return out


@kernel
def _shrink(plane: Plane, width: int, down: int, across: int, out: NDArray[np.float32]) -> None:
    """Means over the cells of ``out`` of every ``down``-th row's every ``across``-th sample."""
    rows, columns = (len(plane) + down - 1) // down, (width + across - 1) // across
    cells_down, cells_across = out.shape
    for i in range(cells_down):
        top, bottom = i * rows // cells_down, ((i + 1) * rows + cells_down - 1) // cells_down
        for j in range(cells_across):
            left, right = (
                j * columns // cells_across,
                ((j + 1) * columns + cells_across - 1) // cells_across,
            )
            total = 0
            for r in range(top, bottom):
                for c in range(left, right):
                    total += plane[r * down, c * across]
            out[i, j] = f4(total) / f4(bottom - top) / f4(right - left)


def shrunk(plane: Tensor, size: tuple[int, int], samples: int) -> Tensor:
    """The mean of up to ``samples`` squared samples of a plane in each cell of a picture of that size (height, width)."""
    (height, width), (rows, columns) = plane.shape, size
    out = torch.empty(size)
    _shrink(
        flat(plane),
        width,
        -(-height // (rows * samples)),
        -(-width // (columns * samples)),
        out.numpy(),
    )
    return out
