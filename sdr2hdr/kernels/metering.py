"""Holding the peak of finished planes and metering their light, in one pass."""

from collections.abc import Sequence

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
def _most(r: Row, g: Row, b: Row, even: Row, odd: Row) -> None:
    """The largest of three tints at the pixels of a row, chroma on the even ones."""
    for i in range(len(even)):
        even[i] = max(r[i], g[i], b[i])
    for i in range(len(odd)):
        red = r[i] * f4(0.5) + r[i + 1] * f4(0.5)
        green = g[i] * f4(0.5) + g[i + 1] * f4(0.5)
        blue = b[i] * f4(0.5) + b[i + 1] * f4(0.5)
        odd[i] = max(red, green, blue)


@row
def _most_whole(r: Row, g: Row, b: Row, even: Row, odd: Row) -> None:
    """The largest of three tints at the pixels of a row with as much chroma."""
    for i in range(len(even)):
        even[i] = max(r[2 * i], g[2 * i], b[2 * i])
        odd[i] = max(r[2 * i + 1], g[2 * i + 1], b[2 * i + 1])


@row
def _held(even: Row, odd: Row, peak: np.float32, levels: Row, y: _Plane) -> None:
    """Lower Y' to the highest code with which no channel passes the peak (:func:`sdr2hdr.color.yuv.to_yuv`)."""
    black, steps, off = levels[0], levels[1], levels[4]
    for i in range(len(even)):
        one = max((-even[i] + peak) * steps + off, black)
        two = max((-odd[i] + peak) * steps + off, black)
        y[2 * i] = np.uint16(min(i4(y[2 * i]), i4(one)))
        y[2 * i + 1] = np.uint16(min(i4(y[2 * i + 1]), i4(two)))


@row
def _brightest(y: _Plane, even: Row, odd: Row, levels: Row, one: Row, two: Row) -> None:
    """The brightest channel's codes at the even and at the odd pixels of a row, of the largest tints there."""
    black, steps = levels[0], levels[1]
    for i in range(len(one)):
        one[i] = min(max((f4(y[2 * i]) - black) / steps + even[i], f4(0.0)), f4(1.0))
        two[i] = min(max((f4(y[2 * i + 1]) - black) / steps + odd[i], f4(0.0)), f4(1.0))


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
def _is_lit(code: Row) -> bool:
    i = 0
    while i < len(code) and code[i] <= _BAR:
        i += 1
    return i < len(code)


@row
def _fine(code: Row, tops: Row, out: NDArray[np.int32]) -> None:
    """The steps that codes lie in; raises ``tops`` to each column's brightest code."""
    for i in range(len(code)):
        tops[i] = max(tops[i], code[i])
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
    """Count the pixels of row ``at`` by the code of their brightest channel; in which order they come does not matter.

    ``counts`` ``2,FINE_BINS`` belong to the row's halves: where many pixels are alike, an addition would wait for the one before.
    """
    lit_rows[at] = _is_lit(code)
    _fine(code, tops, fine)
    half = len(fine) // 2
    for i in range(half):
        counts[0, np.uint32(fine[i])] += 1
        counts[1, np.uint32(fine[half + i])] += 1
    if len(fine) % 2:
        counts[1, np.uint32(fine[2 * half])] += 1


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

    ``tops`` are of the even columns, then of the odd ones. ``channels`` are the tops of columns in R', G' and B', ``3,W``, or
    ``0,W`` if nobody asks for them.
    """
    width, chroma_rows = y.shape[1], cb.shape[0]
    half = width // 2
    tints = np.empty((9, cb.shape[1] + 1), np.float32)
    code, most = np.empty(width, np.float32), np.empty(width, np.float32)
    fine = np.empty(width, np.int32)
    even, odd = most[:half], most[half:]
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
                _most(tints[a], tints[a + 1], tints[a + 2], even, odd)
            else:
                _most_whole(tints[a], tints[a + 1], tints[a + 2], even, odd)
            if peak < f4(1.0):
                _held(even, odd, peak, levels, y[at])
            _brightest(y[at], even, odd, levels, code[:half], code[half:])
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


def counted(bands: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """The counts of all bands and halves of rows together."""
    total: NDArray[np.int32] = np.add.reduce([half for band in bands for half in band])
    return total


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
        counts, tops = np.zeros((2, FINE_BINS), np.int32), np.zeros(width, np.float32)
        apart = np.zeros((3 if channels else 0, width), np.float32)
        found = (counts, lit_rows, tops, apart, a, b)
        if layout.matrix == "rgb":
            _meter_rgb(first, second, third, i4(rgb_peak(peak_code, layout)), top, *found)
        else:
            _meter(first, second, third, f4(peak_code), _GAINS, levels, sub, *found)
            tops = tops.reshape(2, -1).T.reshape(-1)
        return counts, tops, apart

    bands = in_bands(height // 2, band)
    tops = np.maximum.reduce([tops for _, tops, _ in bands])
    apart = np.maximum.reduce([apart for _, _, apart in bands])
    return FrameLight(
        torch.from_numpy(tops).max(),
        torch.from_numpy(counted([counts for counts, _, _ in bands])),
        torch.from_numpy(lit_rows.astype(bool)),
        torch.from_numpy(tops > _BAR),
        torch.from_numpy(apart).amax(1).clamp_(max=1.0) if channels else None,
    )
