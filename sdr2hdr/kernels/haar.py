"""What the small repairing network sees of three frames, in bfloat16, as :mod:`sdr2hdr.models.parts.fast_trunk` defines it."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import Row, f4, narrow

_Picture = NDArray[np.float32]

BANDS = 36


@row
def _transformed(
    upper: Row, lower: Row, gain: np.float32, low: Row, over: Row, down: Row, both: Row
) -> None:
    """The four Haar bands of two rows of a channel, ``gain`` times as large."""
    for i in range(len(low)):
        a, b, c, d = upper[2 * i], upper[2 * i + 1], lower[2 * i], lower[2 * i + 1]
        top, bottom, left, right = a + b, c + d, a - b, c - d
        low[i], over[i] = (top + bottom) * gain, (left + right) * gain
        down[i], both[i] = (top - bottom) * gain, (left - right) * gain


@row
def _less(x: Row, y: Row, out: Row) -> None:
    for i in range(len(out)):
        out[i] = x[i] - y[i]


@row
def _low(upper: Row, lower: Row, gain: np.float32, out: Row) -> None:
    """The low band of two rows, between four zeros on each side."""
    count = len(out) - 8
    for i in range(4):
        out[i] = f4(0.0)
        out[count + 4 + i] = f4(0.0)
    for i in range(count):
        out[i + 4] = ((upper[2 * i] + upper[2 * i + 1]) + (lower[2 * i] + lower[2 * i + 1])) * gain


@row
def _across(x: Row, pairs: Row, fours: Row, out: Row) -> None:
    """Sums of nine neighbours, in the order of :func:`sdr2hdr.color.boxes.box_sums`."""
    for i in range(len(pairs)):
        pairs[i] = x[i] + x[i + 1]
    for i in range(len(fours)):
        fours[i] = pairs[i] + pairs[i + 2]
    for i in range(len(out)):
        out[i] = (fours[i] + fours[i + 4]) + x[i + 8]


@row
def _local(
    a: Row, b: Row, c: Row, d: Row, e: Row, f: Row, g: Row, h: Row, last: Row,
    counts: Row, rows: np.float32, out: Row,
) -> None:  # fmt: skip
    """A row of the low band less its mean over nine rows of sums, of which ``rows`` are in the picture."""
    for i in range(len(out)):
        total = ((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i])) + last[i]
        out[i] = out[i] - total / (counts[i] * rows)


@kernel
def _bands(
    before: _Picture,
    middle: _Picture,
    after: _Picture,
    gain: np.float32,
    out: NDArray[np.uint16],
    first: int,
    last: int,
) -> None:
    """Rows ``first:last`` of the bands ``H/2,W/2,36``."""
    height, width = out.shape[0], out.shape[1]
    room, pairs = np.empty(width + 8, np.float32), np.empty(width + 7, np.float32)
    fours, counts = np.empty(width + 5, np.float32), np.empty(width, np.float32)
    sums = np.zeros((10, 3, width), np.float32)  # row n lies in slot n % 9, and the last has none
    work, other = np.empty((BANDS, width), np.float32), np.empty((4, width), np.float32)
    bits = work.view(np.uint32)
    for i in range(width):
        counts[i] = f4(min(i + 5, width) - max(i - 4, 0))
    at = np.empty(9, np.int32)
    ready = max(first - 4, 0)  # the next row to add up
    for y in range(first, last):
        while ready < min(y + 5, height):
            for c in range(3):
                _low(middle[c, 2 * ready], middle[c, 2 * ready + 1], gain, room)
                _across(room, pairs, fours, sums[ready % 9, c])
            ready += 1
        for k in range(9):
            row = y - 4 + k
            at[k] = row % 9 if 0 <= row < height else 9
        rows = f4(min(y + 5, height) - max(y - 4, 0))
        for c in range(3):
            _transformed(
                middle[c, 2 * y], middle[c, 2 * y + 1], gain,
                work[c], work[3 + c], work[6 + c], work[9 + c],
            )  # fmt: skip
            for k in range(1, 3):
                frame = before if k == 1 else after
                _transformed(
                    frame[c, 2 * y], frame[c, 2 * y + 1], gain,
                    other[0], other[1], other[2], other[3],
                )  # fmt: skip
                for band in range(4):
                    n = 3 * band + c
                    _less(other[band], work[n], work[12 * k + n])
            _local(
                sums[at[0], c], sums[at[1], c], sums[at[2], c], sums[at[3], c], sums[at[4], c],
                sums[at[5], c], sums[at[6], c], sums[at[7], c], sums[at[8], c], counts, rows, work[c],
            )  # fmt: skip
        for n in range(BANDS):
            narrow(bits[n], out[y, :, n])


def bands(before: Tensor, middle: Tensor, after: Tensor, detail: float) -> Tensor:
    """The bands ``1,36,H/2,W/2``, bfloat16 and channels last, of frames ``3,H,W`` float32 of even sides on the CPU."""
    _, height, width = middle.shape
    out = torch.empty(1, height // 2, width // 2, BANDS, dtype=torch.bfloat16)
    frames = (x.contiguous().numpy() for x in (before, middle, after))
    raw = out.view(torch.int16).numpy().view(np.uint16)[0]
    in_bands(height // 2, partial(_bands, *frames, f4(0.5 * detail), raw))
    return out.permute(0, 3, 1, 2)
