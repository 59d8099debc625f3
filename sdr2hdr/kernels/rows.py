"""What kernels do to single rows of pixels: float32 in and out, unless a name says otherwise.

Only float32 numbers and 32-bit integers take part: a single float64 would halve the width of the vector code. Every sum has its
own order, that of :mod:`sdr2hdr.color.yuv`, so that results are the same to the bit wherever the formulas there are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdr2hdr.kernels.compiled import row

Row = NDArray[np.float32]
Ints = NDArray[np.uint32]
Plane = NDArray[Any]
"""Integer samples of 8 or 16 bits."""

f4, i4, u4 = np.float32, np.int32, np.uint32

HALF, ONE, TWO = f4(0.5), f4(1.0), f4(2.0)


@row
def copied(source: Plane | Row, out: Plane | Row) -> None:
    """A slice assignment would compile checks of shapes, and the words for what they find, which takes longer than all else."""
    for i in range(len(out)):
        out[i] = source[i]


@row
def narrow(bits: Ints, out: NDArray[np.uint16]) -> None:
    """Numbers of float32, as their bits, rounded to the nearest of bfloat16, of two as near to the even one."""
    for i in range(len(out)):
        half = u4(0x7FFF) + ((bits[i] >> u4(16)) & u4(1))
        out[i] = np.uint16(u4(bits[i] + half) >> u4(16))


@row
def tall(near: Row, far: Row, share: np.float32, out: Row) -> None:
    """Samples between two rows of a plane, ``share`` of the ``far`` one; ``out`` repeats its ends once on each side."""
    count = len(near)
    for i in range(count):
        a = f4(near[i])
        out[i + 1] = a * (ONE - share) + f4(far[i]) * share
    out[0] = out[1]
    out[count + 1] = out[count]


@row
def wide(c: Row, lead: np.float32, out: Row) -> None:
    """Twice as many samples, the first ``lead`` (0, -1/4 or -1/2) samples right of the first of ``c[1:-1]``."""
    near, far = ONE - abs(lead), abs(lead)
    after = lead + HALF
    for i in range(len(out) // 2):
        out[2 * i] = c[i + 1] * near + c[i] * far
        out[2 * i + 1] = c[i + 1] * (ONE - after) + c[i + 2] * after


@row
def same(c: Row, out: Row) -> None:
    """As many samples: ``c`` without the ends that :func:`tall` repeats."""
    for i in range(len(out)):
        out[i] = c[i + 1]


@row
def rgb(y: Plane, cb: Row, cr: Row, gains: Row, r: Row, g: Row, b: Row) -> None:
    """R', G' and B' 0..1 of codes of Y' and its colour differences; ``gains`` are :attr:`Reading.gains`."""
    black, span, neutral = gains[0], gains[1], gains[2]
    of_r, g_of_cb, g_of_cr, of_b = gains[3], gains[4], gains[5], gains[6]
    for i in range(len(y)):
        luma, u, v = (f4(y[i]) - black) / span, cb[i] - neutral, cr[i] - neutral
        r[i] = min(max(luma + v * of_r, f4(0.0)), ONE)
        g[i] = min(max(luma + (u * g_of_cb + v * g_of_cr), f4(0.0)), ONE)
        b[i] = min(max(luma + u * of_b, f4(0.0)), ONE)


@row
def halved(c: Row, odd: Row, out: Row) -> None:
    """Every other sample of ``c``, filtered with [1 2 1], four times as large; the edge repeats. ``odd`` is room for the others.

    Pairs of samples are loaded together; a sample of the pair before would be fetched one by one.
    """
    for i in range(len(out)):
        odd[i] = c[2 * i + 1]
        out[i] = c[2 * i] * TWO + c[2 * i + 1]
    for i in range(1, len(out)):
        out[i] += odd[i - 1]
    out[0] += c[0]


@row
def mixed(down: np.uint32, across: np.uint32) -> np.uint32:
    """The sums of two bytes each, in the lower and the upper 16 bits, of a hash of two keys."""
    x = u4(down + across)
    x = u4(u4(x ^ (x >> u4(15))) * u4(0x2C1B3C6D))
    x = u4(u4(x ^ (x >> u4(12))) * u4(0x297A2D39))
    return u4((x & u4(0xFF00FF)) + ((x >> u4(8)) & u4(0xFF00FF)))


@row
def every_other(source: Row, out: Row) -> None:
    """The samples of a row that chroma sits on."""
    for i in range(len(out)):
        out[i] = source[2 * i]


@row
def chroma_of(own: Row, below: Row, above: Row, scale: np.float32, out: Row) -> None:
    """A row of chroma from three of :func:`halved`, in 10-bit codes around 0."""
    for i in range(len(out)):
        out[i] = ((own[i] * TWO + below[i]) + above[i]) * f4(1.0 / 16.0) * scale


@row
def scaled(c: Row, share: np.float32, scale: np.float32, out: Row) -> None:
    """A row of chroma that is not filtered down, in 10-bit codes around 0; ``share`` undoes what :func:`halved` multiplied."""
    for i in range(len(out)):
        out[i] = c[i] * share * scale


@row
def coded(
    values: Row,
    room: Row,
    down: np.uint32,
    across: Ints,
    strength: np.float32,
    levels: Row,
    out: NDArray[np.uint16],
) -> None:
    """Whole codes of a row of a plane, with noise ``strength`` (1 or 0) times as strong, no more of it than ``room``.

    ``levels``: by how much values and ``room`` are to be multiplied, what stands for 0 and a half, the lowest and the highest
    code. ``values`` and ``room`` may be the same row.
    """
    scale, zero, low, high = levels[0], levels[1], levels[2], levels[3]
    count = len(out)
    for i in range(count // 2):
        noise = mixed(down, across[i])
        one = (
            (f4(i4(noise & u4(0xFFFF))) - f4(255.0))
            * min(max(room[2 * i] * scale, f4(0.0)), ONE)
            * strength
        )
        two = (
            (f4(i4(noise >> u4(16))) - f4(255.0))
            * min(max(room[2 * i + 1] * scale, f4(0.0)), ONE)
            * strength
        )
        a = values[2 * i] * scale + one * f4(2.0**-8) + zero
        b = values[2 * i + 1] * scale + two * f4(2.0**-8) + zero
        out[2 * i] = np.uint16(i4(min(max(a, low), high)))
        out[2 * i + 1] = np.uint16(i4(min(max(b, low), high)))
    if count % 2:
        noise = mixed(down, across[count // 2])
        last = (
            (f4(i4(noise & u4(0xFFFF))) - f4(255.0))
            * min(max(room[count - 1] * scale, f4(0.0)), ONE)
            * strength
        )
        a = values[count - 1] * scale + last * f4(2.0**-8) + zero
        out[count - 1] = np.uint16(i4(min(max(a, low), high)))
