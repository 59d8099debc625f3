"""Planes to R'G'B', a row at a time or whole pictures."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.luma import MATRICES
from sdr2hdr.color.turn import UPRIGHT, Turn
from sdr2hdr.color.yuv import SITINGS, YuvLayout
from sdr2hdr.kernels import rows
from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import Plane, Row, f4


@dataclass(frozen=True)
class Reading:
    """How planes are read, as numbers for kernels.

    ``sub``: log2 of the subsampling across and down. ``gains``: black, span and neutral in codes; by code, the gains of R'-Y', of
    G'-Y' (from Cb and from Cr) and of B'-Y'; how far the first pixel lies right of and below the first chroma sample, in
    chroma samples (0, -1/4 or -1/2).
    """

    sub: NDArray[np.int32]
    gains: Row


def can_read(layout: YuvLayout, turn: Turn = UPRIGHT, size: tuple[int, int] = (2, 2)) -> bool:
    """Whether kernels read planes of this layout and size (height, width) that are then turned by :func:`turned`.

    What is rare is left to :func:`sdr2hdr.color.yuv.from_yuv`.
    """
    if layout.grey or layout.matrix == "rgb" or max(layout.sub) > 1:
        return False
    # the chroma in the middle between pixels that a flip of an odd size would put before the first pixel
    flips = ((turn.flip_columns, 0), (turn.flip_rows, 1))
    return not any(
        flip and _lies(layout, turn, axis) and size[1 - axis] % 2 for flip, axis in flips
    )


def _lies(layout: YuvLayout, turn: Turn, axis: int) -> bool:
    """Whether chroma is subsampled and lies between pixels along an axis (0: across) of the transposed picture."""
    axis = 1 - axis if turn.transpose else axis
    return layout.sub[axis] == 1 and not SITINGS[layout.siting][axis]


def turned(planes: tuple[Tensor, ...], turn: Turn) -> tuple[Tensor, ...]:
    """Planes put upright, each for itself; :func:`reading` knows where their chroma then sits."""
    return planes if turn == UPRIGHT else tuple(turn(p) for p in planes)


def reading(
    layout: YuvLayout, turn: Turn = UPRIGHT, size: tuple[int, int] = (2, 2), finer: int = 1
) -> Reading:
    """The numbers of a layout (H.273 8.3, as in :func:`sdr2hdr.color.yuv.from_yuv`) whose planes were :func:`turned`.

    ``size`` is that of the upright picture, of which a flip needs to know whether it is odd. Samples are codes times ``finer``.
    """
    top, unit = finer * float((1 << layout.depth) - 1), finer * float(1 << (layout.depth - 8))
    black, span = (0.0, top) if layout.full_range else (16.0 * unit, 219.0 * unit)
    reach = top if layout.full_range else 224.0 * unit
    kr, kb = MATRICES[layout.matrix]
    kg = 1.0 - kr - kb
    gains = [
        2.0 * (1.0 - kr),
        -2.0 * kb * (1.0 - kb) / kg,
        -2.0 * kr * (1.0 - kr) / kg,
        2.0 * (1.0 - kb),
    ]
    leads = [0.0 if on_first else -0.25 for on_first in SITINGS[layout.siting]]
    sub = list(layout.sub)
    if turn.transpose:
        leads.reverse()
        sub.reverse()
    for axis, flip in enumerate((turn.flip_columns, turn.flip_rows)):
        if flip and sub[axis] and size[1 - axis] % 2 == 0:
            leads[axis] = -0.5 - leads[axis]
    numbers = [black, span, 128.0 * unit, *(g / reach for g in gains), *leads]
    return Reading(np.array(sub, dtype=np.int32), np.array(numbers, dtype=np.float32))


AS_IT_IS = Reading(np.array([-1, -1], dtype=np.int32), np.zeros(9, np.float32))
"""Of planes that are R', G' and B' 0..1 already, float32."""


def flat(plane: Tensor) -> Plane:
    """A plane ``H,W`` on the CPU as an array with rows that follow each other, their ends unused: ``H,stride``."""
    height, width = plane.shape
    stride = plane.stride(0)
    room = plane.untyped_storage().nbytes() // plane.element_size() - plane.storage_offset()
    inside = plane.stride(1) == 1 and stride >= width and height * stride <= room
    whole: Plane = (
        plane.as_strided((height, stride), (stride, 1)) if inside else plane.contiguous()
    ).numpy()
    return whole


@row
def read_row(
    y: Plane,
    cb: Plane,
    cr: Plane,
    size: NDArray[np.int32],
    at: int,
    sub: NDArray[np.int32],
    gains: Row,
    work: Row,
) -> None:
    """Row ``at`` as R', G', B' 0..1 in the first three rows of ``work``, ``7,width + 4``; ``size`` is height and width."""
    height, width = size[0], size[1]
    across, down = sub[0], sub[1]
    if across < 0:
        rows.copied(y[at, :width], work[0, :width])
        rows.copied(cb[at, :width], work[1, :width])
        rows.copied(cr[at, :width], work[2, :width])
        return
    small = (width + across) >> across
    k = at >> down
    other, share = k, f4(0.0)
    if down == 1:
        place = gains[8] + f4(0.5) * f4(at & 1)
        other = max(k - 1, 0) if place < f4(0.0) else min(k + 1, ((height + 1) >> 1) - 1)
        share = abs(place)
    rows.tall(cb[k, :small], cb[other, :small], share, work[3, : small + 2])
    rows.tall(cr[k, :small], cr[other, :small], share, work[4, : small + 2])
    even = width + (width & 1)
    if across == 1:
        rows.wide(work[3, : small + 2], gains[7], work[5, :even])
        rows.wide(work[4, : small + 2], gains[7], work[6, :even])
    else:
        rows.same(work[3, : small + 2], work[5, :width])
        rows.same(work[4, : small + 2], work[6, :width])
    r, g, b = work[0, :width], work[1, :width], work[2, :width]
    rows.rgb(y[at, :width], work[5, :width], work[6, :width], gains, r, g, b)


@kernel
def _read(
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
    width = size[1]
    work = np.empty((7, width + 4), np.float32)
    for at in range(first, last):
        read_row(y, cb, cr, size, at, sub, gains, work)
        for c in range(3):
            rows.copied(work[c, :width], out[c, at])


def read(planes: tuple[Tensor, ...], how: Reading) -> Tensor:
    """As :func:`sdr2hdr.color.yuv.from_yuv`: R'G'B' ``3,H,W`` float32 0..1 of planes on the CPU."""
    y, cb, cr = (flat(p) for p in planes[:3])
    height, width = planes[0].shape
    out = torch.empty(3, height, width)
    size = np.array([height, width], dtype=np.int32)
    in_bands(height, partial(_read, y, cb, cr, size, how.sub, how.gains, out.numpy()))
    return out
