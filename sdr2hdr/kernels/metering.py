"""Holding the peak of finished planes and metering their light, in one pass."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.light import BAR, FINE_BINS, FrameLight
from sdr2hdr.color.yuv import KB, KG, KR
from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import Row, copied, f4, i4

_Plane = NDArray[np.uint16]

_BAR, _BINS, _TOP = f4(BAR), f4(FINE_BINS), i4(FINE_BINS - 1)
_GAINS = np.array(
    [2.0 * (1.0 - KR), -2.0 * KB * (1.0 - KB) / KG, 2.0 * KR * (1.0 - KR) / KG, 2.0 * (1.0 - KB)],
    dtype=np.float32,
)


@row
def _tints(cb: _Plane, cr: _Plane, gains: Row, r: Row, g: Row, b: Row) -> None:
    """R'-Y', G'-Y', B'-Y' of a row of chroma; the last sample is repeated."""
    count = len(cb)
    for i in range(count):
        u, v = (f4(cb[i]) - f4(512.0)) / f4(896.0), (f4(cr[i]) - f4(512.0)) / f4(896.0)
        r[i] = v * gains[0]
        g[i] = u * gains[1] - v * gains[2]
        b[i] = u * gains[3]
    r[count], g[count], b[count] = r[count - 1], g[count - 1], b[count - 1]


@row
def _between(own: Row, below: Row, out: Row) -> None:
    for i in range(len(out)):
        out[i] = own[i] * f4(0.5) + below[i] * f4(0.5)


@row
def _most(r: Row, g: Row, b: Row, out: Row) -> None:
    """The largest of three tints at every pixel of a row, chroma on the even ones."""
    for i in range(len(out) // 2):
        out[2 * i] = max(r[i], g[i], b[i])
        red = r[i] * f4(0.5) + r[i + 1] * f4(0.5)
        green = g[i] * f4(0.5) + g[i + 1] * f4(0.5)
        blue = b[i] * f4(0.5) + b[i + 1] * f4(0.5)
        out[2 * i + 1] = max(red, green, blue)


@row
def _held(most: Row, peak: np.float32, y: _Plane) -> None:
    """Lower Y' to the highest code with which no channel passes the peak (:func:`sdr2hdr.color.yuv.to_yuv`)."""
    for i in range(len(y)):
        limit = max((-most[i] + peak) * f4(876.0) + f4(64.0 - 5e-4), f4(64.0))
        y[i] = np.uint16(min(i4(y[i]), i4(limit)))


@row
def _brightest(y: _Plane, most: Row, out: Row) -> None:
    for i in range(len(y)):
        out[i] = min(max((f4(y[i]) - f4(64.0)) / f4(876.0) + most[i], f4(0.0)), f4(1.0))


@row
def _lit(code: Row, tops: Row) -> bool:
    """Raise ``tops`` to each column's brightest code; returns whether any pixel of the row is lit."""
    lit = i4(0)
    for i in range(len(code)):
        tops[i] = max(tops[i], code[i])
    for i in range(len(code)):
        lit |= i4(code[i] > _BAR)
    return bool(lit)


@row
def _fine(code: Row, out: NDArray[np.int32]) -> None:
    for i in range(len(code)):
        out[i] = min(i4(code[i] * _BINS), _TOP)


@kernel
def _meter(
    y: _Plane,
    cb: _Plane,
    cr: _Plane,
    peak: np.float32,
    gains: Row,
    counts: NDArray[np.int32],
    lit_rows: NDArray[np.uint8],
    tops: Row,
    first: int,
    last: int,
) -> None:
    """Pairs of rows ``first:last``: the peak held, their pixels counted."""
    width, pairs = y.shape[1], cb.shape[0]
    small = width // 2
    tints = np.empty((9, small + 1), np.float32)
    code, most = np.empty(width, np.float32), np.empty(width, np.float32)
    fine = np.empty(width, np.int32)
    own, below = 0, 3
    _tints(cb[first], cr[first], gains, tints[0], tints[1], tints[2])
    for pair in range(first, last):
        if pair + 1 < pairs:
            _tints(
                cb[pair + 1], cr[pair + 1], gains, tints[below], tints[below + 1], tints[below + 2]
            )
        else:
            for c in range(3):
                copied(tints[own + c], tints[below + c])
        for at in (2 * pair, 2 * pair + 1):
            if at == 2 * pair:
                _most(tints[own], tints[own + 1], tints[own + 2], most)
            else:
                for c in range(3):
                    _between(tints[own + c], tints[below + c], tints[6 + c])
                _most(tints[6], tints[7], tints[8], most)
            if peak < f4(1.0):
                _held(most, peak, y[at])
            _brightest(y[at], most, code)
            lit_rows[at] = _lit(code, tops)
            _fine(code, fine)
            for i in range(width):
                counts[np.uint32(fine[i])] += 1
        own, below = below, own


def metered(planes: tuple[Tensor, Tensor, Tensor], peak_code: float) -> FrameLight:
    """The light of planes of HDR10 on the CPU; Y' is lowered in place where a channel would pass ``peak_code`` (1: never)."""
    y, cb, cr = (p.numpy() for p in planes)
    height, width = y.shape
    lit_rows = np.zeros(height, np.uint8)
    peak = f4(peak_code)

    def band(a: int, b: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        counts, tops = np.zeros(FINE_BINS, np.int32), np.zeros(width, np.float32)
        _meter(y, cb, cr, peak, _GAINS, counts, lit_rows, tops, a, b)
        return counts, tops

    bands = in_bands(height // 2, band)
    tops = np.maximum.reduce([tops for _, tops in bands])
    return FrameLight(
        torch.from_numpy(tops).max(),
        torch.from_numpy(sum(counts for counts, _ in bands)),
        torch.from_numpy(lit_rows.astype(bool)),
        torch.from_numpy(tops > _BAR),
    )
