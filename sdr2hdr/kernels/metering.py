"""Holding the peak of finished planes and metering their light, in one pass."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.light import BAR, FINE_BINS, FrameLight
from sdr2hdr.color.yuv import HDR10, KB, KG, KR, YuvLayout, rgb_peak, sliver
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
def _tints(cb: _Plane, cr: _Plane, gains: Row, levels: Row, r: Row, g: Row, b: Row) -> None:
    """R'-Y', G'-Y', B'-Y' of a row of chroma; the last sample is repeated."""
    neutral, reach = levels[2], levels[3]
    count = len(cb)
    for i in range(count):
        u, v = (f4(cb[i]) - neutral) / reach, (f4(cr[i]) - neutral) / reach
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
def _most_whole(r: Row, g: Row, b: Row, out: Row) -> None:
    """The largest of three tints at every pixel of a row with as much chroma."""
    for i in range(len(out)):
        out[i] = max(r[i], g[i], b[i])


@row
def _held(most: Row, peak: np.float32, levels: Row, y: _Plane) -> None:
    """Lower Y' to the highest code with which no channel passes the peak (:func:`sdr2hdr.color.yuv.to_yuv`)."""
    black, steps, off = levels[0], levels[1], levels[4]
    for i in range(len(y)):
        limit = max((-most[i] + peak) * steps + off, black)
        y[i] = np.uint16(min(i4(y[i]), i4(limit)))


@row
def _brightest(y: _Plane, most: Row, levels: Row, out: Row) -> None:
    black, steps = levels[0], levels[1]
    for i in range(len(y)):
        out[i] = min(max((f4(y[i]) - black) / steps + most[i], f4(0.0)), f4(1.0))


@row
def _luma(y: _Plane, levels: Row, out: Row) -> None:
    black, steps = levels[0], levels[1]
    for i in range(len(y)):
        out[i] = (f4(y[i]) - black) / steps


@row
def _raised(luma: Row, tint: Row, across: np.int32, tops: Row) -> None:
    """Raise ``tops`` to each column's highest code of one channel."""
    if across:
        for i in range(len(luma) // 2):
            between = tint[i] * f4(0.5) + tint[i + 1] * f4(0.5)
            tops[2 * i] = max(tops[2 * i], luma[2 * i] + tint[i])
            tops[2 * i + 1] = max(tops[2 * i + 1], luma[2 * i + 1] + between)
    else:
        for i in range(len(luma)):
            tops[i] = max(tops[i], luma[i] + tint[i])


@row
def _raised_all(
    y: _Plane,
    r: Row,
    g: Row,
    b: Row,
    across: np.int32,
    levels: Row,
    luma: Row,
    channels: NDArray[np.float32],
) -> None:
    """The same for all channels, if they are asked for; ``luma`` is room for a row."""
    if len(channels):
        _luma(y, levels, luma)
        _raised(luma, r, across, channels[0])
        _raised(luma, g, across, channels[1])
        _raised(luma, b, across, channels[2])


@row
def _raised_rgb(plane: _Plane, top: np.float32, tops: Row) -> None:
    for i in range(len(plane)):
        tops[i] = max(tops[i], f4(plane[i]) / top)


@row
def _held_rgb(peak: np.int32, plane: _Plane) -> None:
    for i in range(len(plane)):
        plane[i] = np.uint16(min(i4(plane[i]), peak))


@row
def _brightest_rgb(r: _Plane, g: _Plane, b: _Plane, top: np.float32, out: Row) -> None:
    for i in range(len(out)):
        out[i] = f4(max(i4(r[i]), i4(g[i]), i4(b[i]))) / top


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


@row
def count(
    code: Row,
    fine: NDArray[np.int32],
    counts: NDArray[np.int32],
    lit_rows: NDArray[np.uint8],
    tops: Row,
    at: int,
) -> None:
    """Count the pixels of row ``at`` by the code of their brightest channel."""
    lit_rows[at] = _lit(code, tops)
    _fine(code, fine)
    for i in range(len(fine)):
        counts[np.uint32(fine[i])] += 1


@kernel
def _meter(
    y: _Plane,
    cb: _Plane,
    cr: _Plane,
    peak: np.float32,
    gains: Row,
    levels: Row,
    sub: NDArray[np.int32],
    counts: NDArray[np.int32],
    lit_rows: NDArray[np.uint8],
    tops: Row,
    channels: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """Pairs of rows ``first:last``: the peak held, their pixels counted.

    ``channels`` are the tops of columns in R', G' and B', ``3,W``, or ``0,W`` if nobody asks for them.
    """
    width, chroma_rows = y.shape[1], cb.shape[0]
    tints = np.empty((9, cb.shape[1] + 1), np.float32)
    code, most = np.empty(width, np.float32), np.empty(width, np.float32)
    fine = np.empty(width, np.int32)
    own, below = 0, 3
    start = 2 * first >> sub[1]
    _tints(cb[start], cr[start], gains, levels, tints[0], tints[1], tints[2])
    for pair in range(first, last):
        for at in (2 * pair, 2 * pair + 1):
            between = at & sub[1]
            if not between:  # the next row of chroma
                following = (at >> sub[1]) + 1
                if following < chroma_rows:
                    _tints(
                        cb[following],
                        cr[following],
                        gains,
                        levels,
                        tints[below],
                        tints[below + 1],
                        tints[below + 2],
                    )
                else:
                    for c in range(3):
                        copied(tints[own + c], tints[below + c])
                a = own
            else:
                for c in range(3):
                    _between(tints[own + c], tints[below + c], tints[6 + c])
                a = 6
            if sub[0]:
                _most(tints[a], tints[a + 1], tints[a + 2], most)
            else:
                _most_whole(tints[a], tints[a + 1], tints[a + 2], most)
            if peak < f4(1.0):
                _held(most, peak, levels, y[at])
            _brightest(y[at], most, levels, code)
            count(code, fine, counts, lit_rows, tops, at)
            _raised_all(y[at], tints[a], tints[a + 1], tints[a + 2], sub[0], levels, code, channels)
            if between or not sub[1]:
                own, below = below, own


@kernel
def _meter_rgb(
    r: _Plane,
    g: _Plane,
    b: _Plane,
    peak: np.int32,
    top: np.float32,
    counts: NDArray[np.int32],
    lit_rows: NDArray[np.uint8],
    tops: Row,
    channels: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """The same for planes of R', G' and B'."""
    width = r.shape[1]
    code, fine = np.empty(width, np.float32), np.empty(width, np.int32)
    for at in range(2 * first, 2 * last):
        for plane in (r, g, b):
            _held_rgb(peak, plane[at])
        _brightest_rgb(r[at], g[at], b[at], top, code)
        count(code, fine, counts, lit_rows, tops, at)
        if len(channels):
            _raised_rgb(r[at], top, channels[0])
            _raised_rgb(g[at], top, channels[1])
            _raised_rgb(b[at], top, channels[2])


def metered(
    planes: tuple[Tensor, Tensor, Tensor],
    peak_code: float,
    layout: YuvLayout = HDR10,
    *,
    channels: bool = False,
) -> FrameLight:
    """The light of planes on the CPU; they are lowered in place where a channel would pass ``peak_code`` (1: never).

    ``channels`` asks for the highest R', G' and B', too.
    """
    first, second, third = (p.numpy() for p in planes)
    height, width = first.shape
    lit_rows = np.zeros(height, np.uint8)
    unit, top = layout.unit, f4((1 << layout.depth) - 1)
    black = 16.0 * unit
    levels = np.array(
        [black, 219.0 * unit, 128.0 * unit, 224.0 * unit, black - sliver(layout)], dtype=np.float32
    )
    sub = np.array(layout.sub, dtype=np.int32)

    def band(a: int, b: int) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        counts, tops = np.zeros(FINE_BINS, np.int32), np.zeros(width, np.float32)
        apart = np.zeros((3 if channels else 0, width), np.float32)
        found = (counts, lit_rows, tops, apart, a, b)
        if layout.matrix == "rgb":
            _meter_rgb(first, second, third, i4(rgb_peak(peak_code, layout)), top, *found)
        else:
            _meter(first, second, third, f4(peak_code), _GAINS, levels, sub, *found)
        return counts, tops, apart

    bands = in_bands(height // 2, band)
    tops = np.maximum.reduce([tops for _, tops, _ in bands])
    apart = np.maximum.reduce([apart for _, _, apart in bands])
    return FrameLight(
        torch.from_numpy(tops).max(),
        torch.from_numpy(sum(counts for counts, _, _ in bands)),
        torch.from_numpy(lit_rows.astype(bool)),
        torch.from_numpy(tops > _BAR),
        torch.from_numpy(apart).amax(1).clamp_(max=1.0) if channels else None,
    )
