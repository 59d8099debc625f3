"""Planes to R'G'B', a row at a time or whole pictures."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.yuv import MATRICES, SITINGS, YuvLayout
from sdr2hdr.kernels import rows
from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import Plane, Row, f4


@dataclass(frozen=True)
class Reading:
    """How planes of a layout are read, as numbers for kernels. ``shape``: log2 of the subsampling, and whether chroma sits on
    the first luma sample, across and down each. ``gains``: black, span, neutral, and the gains of R'-Y', of G'-Y' (from Cb and
    Cr), of B'-Y' by code."""

    shape: NDArray[np.int32]
    gains: Row


def can_read(layout: YuvLayout) -> bool:
    """Whether kernels read this layout; what is rare is left to :func:`sdr2hdr.color.yuv.from_yuv`."""
    return not layout.grey and layout.matrix != "rgb" and max(layout.sub) <= 1


def reading(layout: YuvLayout, finer: int = 1) -> Reading:
    """The numbers of a layout (H.273 8.3, as in :func:`sdr2hdr.color.yuv.from_yuv`); samples are codes times ``finer``."""
    top, unit = finer * float((1 << layout.depth) - 1), finer * float(1 << (layout.depth - 8))
    black, span = (0.0, top) if layout.full_range else (16.0 * unit, 219.0 * unit)
    reach = top if layout.full_range else 224.0 * unit
    kr, kb = MATRICES[layout.matrix]
    kg = 1.0 - kr - kb
    gains = [2.0 * (1.0 - kr), -2.0 * kb * (1.0 - kb) / kg, -2.0 * kr * (1.0 - kr) / kg, 2.0 * (1.0 - kb)]
    shape = [*layout.sub, *SITINGS[layout.siting]]
    return Reading(
        np.array(shape, dtype=np.int32),
        np.array([black, span, 128.0 * unit, *(g / reach for g in gains)], dtype=np.float32),
    )


def flat(plane: Tensor) -> NDArray[np.generic]:
    """A plane ``H,W`` on the CPU as an array with rows that follow each other, their ends unused: ``H,stride``."""
    height, width = plane.shape
    stride = plane.stride(0)
    room = plane.untyped_storage().nbytes() // plane.element_size() - plane.storage_offset()
    if plane.stride(1) != 1 or stride < width or height * stride > room:
        return plane.contiguous().numpy()
    whole: NDArray[np.generic] = plane.as_strided((height, stride), (stride, 1)).numpy()
    return whole


@row
def read_row(
    y: Plane, cb: Plane, cr: Plane, size: NDArray[np.int32], at: int, shape: NDArray[np.int32], gains: Row, work: Row
) -> None:
    """Row ``at`` as R', G', B' 0..1 in the first three rows of ``work``, ``8,width + 4``; ``size`` is height and width."""
    height, width = size[0], size[1]
    across, down = shape[0], shape[1]
    small = (width + across) >> across
    k = at >> down
    other, share = k, f4(0.0)
    if down == 1:
        last = ((height + 1) >> 1) - 1
        if shape[3] == 1:
            share = f4(0.5) * f4(at & 1)
            other = min(k + 1, last)
        else:
            share = f4(0.25)
            other = min(k + 1, last) if at & 1 else max(k - 1, 0)
    rows.luma(y[at, :width], gains[0], gains[1], work[3, :width])
    rows.tall(cb[k, :small], cb[other, :small], share, work[4, : small + 2])
    rows.tall(cr[k, :small], cr[other, :small], share, work[5, : small + 2])
    even = width + (width & 1)
    if across == 1:
        lead = f4(0.0) if shape[2] == 1 else f4(-0.25)
        rows.wide(work[4, : small + 2], lead, work[6, :even])
        rows.wide(work[5, : small + 2], lead, work[7, :even])
    else:
        rows.same(work[4, : small + 2], work[6, :width])
        rows.same(work[5, : small + 2], work[7, :width])
    luma, u, v = work[3, :width], work[6, :width], work[7, :width]
    rows.one_tint(luma, v, gains[2], gains[3], work[0, :width])
    rows.two_tints(luma, u, v, gains[2], gains[4], gains[5], work[1, :width])
    rows.one_tint(luma, u, gains[2], gains[6], work[2, :width])


@kernel
def _read(
    y: Plane,
    cb: Plane,
    cr: Plane,
    size: NDArray[np.int32],
    shape: NDArray[np.int32],
    gains: Row,
    out: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    width = size[1]
    work = np.empty((8, width + 4), np.float32)
    for at in range(first, last):
        read_row(y, cb, cr, size, at, shape, gains, work)
        for c in range(3):
            out[c, at] = work[c, :width]


def read(planes: tuple[Tensor, ...], layout: YuvLayout) -> Tensor:
    """As :func:`sdr2hdr.color.yuv.from_yuv`: R'G'B' ``3,H,W`` float32 0..1 of planes on the CPU that :func:`can_read` allows."""
    y, cb, cr = (flat(p) for p in planes[:3])
    height, width = planes[0].shape
    how = reading(layout)
    out = torch.empty(3, height, width)
    size = np.array([height, width], dtype=np.int32)
    in_bands(height, lambda a, b: _read(y, cb, cr, size, how.shape, how.gains, out.numpy(), a, b))
    return out
