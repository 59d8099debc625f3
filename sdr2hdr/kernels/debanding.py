"""Gradients without steps, on planes: :func:`sdr2hdr.color.deband.debanded`, compiled.

Blocks of 4x4 pixels are judged at a sixteenth of the picture's size, where even wide surroundings cost next to nothing; every
sample is read twice, once for its block and once to be moved.
"""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.deband import BLOCK, FADE, MOST, RADII, STRENGTHS, Limits
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.boxes import Ints, Map, averaged_down, begun_down, summed_across
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.reading import flat
from sdr2hdr.kernels.rows import Plane, Row, copied, f4, i4

Codes = NDArray[np.uint16]
_TOP = i4(0xFFFF)


@row
def _steps(one: np.int32, two: np.int32) -> np.int32:
    """The distance of two samples. Sums are cast, too: 64 bits, which they else become, would halve the vector code's width."""
    return i4(max(one, two) - min(one, two))


@row
def _columns(
    a: Plane,
    b: Plane,
    c: Plane,
    d: Plane,
    below: Plane,
    top: Ints,
    bottom: Ints,
    total: Ints,
    change: Ints,
) -> None:
    """Of four rows, column by column: the highest, the lowest, the sum, and the changes right and down from them.

    ``below`` is the row after them."""
    last = len(top) - 1
    for i in range(len(top)):
        p, q, r, s = i4(a[i]), i4(b[i]), i4(c[i]), i4(d[i])
        top[i], bottom[i] = max(p, q, r, s), min(p, q, r, s)
        total[i] = i4(p + q) + i4(r + s)
        change[i] = i4(_steps(p, q) + _steps(q, r)) + i4(_steps(r, s) + _steps(s, i4(below[i])))
    for i in range(last):
        upper = i4(_steps(i4(a[i + 1]), i4(a[i])) + _steps(i4(b[i + 1]), i4(b[i])))
        lower = i4(_steps(i4(c[i + 1]), i4(c[i])) + _steps(i4(d[i + 1]), i4(d[i])))
        change[i] = change[i] + i4(upper + lower)


@row
def _judge(
    top: Ints,
    bottom: Ints,
    total: Ints,
    change: Ints,
    high: Codes,
    depth: Codes,
    sums: Ints,
    changes: Ints,
) -> None:
    """Of blocks of four columns the highest sample, how far the lowest lies below :data:`_TOP`, the sum, and the changes."""
    for b in range(len(sums)):
        i = 4 * b
        high[b] = np.uint16(max(top[i], top[i + 1], top[i + 2], top[i + 3]))
        lowest = min(bottom[i], bottom[i + 1], bottom[i + 2], bottom[i + 3])
        depth[b] = np.uint16(i4(_TOP - lowest))
        sums[b] = i4(total[i] + total[i + 1]) + i4(total[i + 2] + total[i + 3])
        changes[b] = i4(change[i] + change[i + 1]) + i4(change[i + 2] + change[i + 3])


@kernel
def _blocks(
    plane: Plane,
    width: int,
    high: Codes,
    depth: Codes,
    sums: Ints,
    changes: Ints,
    first: int,
    last: int,
) -> None:
    """Rows ``first:last`` of blocks of the first ``width`` columns; the last column and row are repeated outwards."""
    end, across = plane.shape[0] - 1, 4 * sums.shape[1]
    room = np.empty((4, across), np.int32)
    for b in range(first, last):
        y = 4 * b
        r1, r2, r3, r4 = min(y + 1, end), min(y + 2, end), min(y + 3, end), min(y + 4, end)
        _columns(
            plane[y], plane[r1], plane[r2], plane[r3], plane[r4],
            room[0, :width], room[1, :width], room[2, :width], room[3, :width],
        )  # fmt: skip
        for i in range(width, across):
            room[0, i], room[1, i] = room[0, width - 1], room[1, width - 1]
            room[2, i], room[3, i] = room[2, width - 1], room[3, width - 1]
            # the repeated columns do not change to the right, as the last one does not
        _judge(room[0], room[1], room[2], room[3], high[b], depth[b], sums[b], changes[b])


@row
def _largest(x: Codes, y: Codes, z: Codes, out: Codes) -> None:
    for i in range(len(out)):
        out[i] = max(x[i], y[i], z[i])


@row
def _largest_across(x: Codes, step: int, out: Codes) -> None:
    count = len(x)
    last, inner = count - 1, max(count - 2 * step, 0)
    for i in range(min(step, count)):
        out[i] = max(x[0], x[i], x[min(i + step, last)])
    _largest(x[:inner], x[step : step + inner], x[2 * step :], out[step : step + inner])
    for i in range(max(count - step, min(step, count)), count):
        out[i] = max(x[max(i - step, 0)], x[i], x[last])


@row
def _weigh(
    high: Codes,
    depth: Codes,
    sums: Ints,
    busy: Row,
    limits: Row,
    average: Row,
    share: Row,
    value: Row,
) -> None:
    """Take in surroundings: their highest, their lowest (as :func:`_judge` has it), how busy they are, and their mean.

    ``limits`` are the last distance that is flat, what it fades over, and the last busyness that is flat with its fade."""
    for i in range(len(share)):
        mean = f4(sums[i]) * f4(1 / 16)
        far = max(f4(high[i]) - mean, mean - f4(i4(_TOP - i4(depth[i]))))
        flat_ = min(max((limits[0] + limits[1] - far) / limits[1], f4(0.0)), f4(1.0))
        quiet = min(max((limits[2] + limits[3] - busy[i]) / limits[3], f4(0.0)), f4(1.0))
        share[i] *= flat_ * quiet
        value[i] += (average[i] - value[i]) * share[i]


@row
def _is_flat(share: Row) -> bool:
    flat_ = False
    for i in range(len(share)):
        flat_ |= share[i] > f4(0.0)
    return flat_


@kernel
def _settle(
    high: Codes, depth: Codes, sums: Ints, changes: Ints, limits: Row, doublings: int, share: Map, flat_rows: NDArray[np.bool_],
    value: Map,
) -> None:  # fmt: skip
    """Of blocks, the ``share`` of what is flat within a radius of 1, in which rows there is any, and the mean that counts.

    Surroundings of 1, 2, 4 ... blocks on each side are taken in, so many sizes, of ``high`` and ``depth`` in place.
    """
    height, width = sums.shape
    room = np.empty((doublings + 1, width + (2 << (doublings - 1))), np.int32)
    mean_sums, busy_sums = np.empty((height, width), np.int32), np.empty((height, width), np.int32)
    wide_high, wide_depth = (
        np.empty((height, width), np.uint16),
        np.empty((height, width), np.uint16),
    )
    totals, means = np.empty((2, width), np.int32), np.empty((2, width), np.float32)
    now = np.empty((height, width), np.float32)
    for y in range(height):
        flat_rows[y] = True
        for i in range(width):
            now[y, i], value[y, i] = f4(1.0), f4(sums[y, i]) * f4(1 / 16)
    reached = 0
    for n in range(doublings):
        radius = 1 << n
        # at most twice the radius before and 1, so that no sample is left out
        step = radius - reached
        reached = radius
        for y in range(height):
            _largest_across(high[y], step, wide_high[y])
            _largest_across(depth[y], step, wide_depth[y])
            summed_across(sums[y], n, room, mean_sums[y])
            summed_across(changes[y], n, room, busy_sums[y])
        begun_down(mean_sums, radius, totals[0])
        begun_down(busy_sums, radius, totals[1])
        some = False
        for y in range(height):
            above, below = max(y - step, 0), min(y + step, height - 1)
            _largest(wide_high[above], wide_high[y], wide_high[below], high[y])
            _largest(wide_depth[above], wide_depth[y], wide_depth[below], depth[y])
            averaged_down(mean_sums, radius, y, totals[0], means[0])
            averaged_down(busy_sums, radius, y, totals[1], means[1])
            if n > 0 and not flat_rows[y]:
                continue
            _weigh(high[y], depth[y], sums[y], means[1], limits, means[0], now[y], value[y])
            if n == 0:
                flat_rows[y] = _is_flat(now[y])
                copied(now[y], share[y])
            some |= flat_rows[y]
        if not some:
            break


@row
def _wider(x: Row, out: Row) -> None:
    """Four times as many, linearly between the blocks' middles."""
    last = len(x) - 1
    for b in range(len(x)):
        before, at, after = x[max(b - 1, 0)], x[b], x[min(b + 1, last)]
        out[4 * b] = before * f4(0.375) + at * f4(0.625)
        out[4 * b + 1] = before * f4(0.125) + at * f4(0.875)
        out[4 * b + 2] = at * f4(0.875) + after * f4(0.125)
        out[4 * b + 3] = at * f4(0.625) + after * f4(0.375)


@row
def _move(
    x: Plane, shares: tuple[Row, Row], values: tuple[Row, Row], part: np.float32, finer: np.float32, black: np.float32,
    out: NDArray[np.uint16],
) -> None:  # fmt: skip
    """A row ``part`` of the way from one row of blocks to the next."""
    most = f4(MOST)
    share_above, share_below = shares
    value_above, value_below = values
    for i in range(len(out)):
        sample = f4(x[i])
        share = share_above[i] + (share_below[i] - share_above[i]) * part
        value = value_above[i] + (value_below[i] - value_above[i]) * part
        by = min(max(share * (value - sample), -most), most)
        moved = sample + (by if sample > black else f4(0.0))
        out[i] = np.uint16(i4(moved * finer + f4(0.5)))


@row
def _kept(x: Plane, finer: np.float32, out: NDArray[np.uint16]) -> None:
    for i in range(len(out)):
        out[i] = np.uint16(i4(f4(x[i]) * finer))


@kernel
def _apply(
    plane: Plane, share: Map, flat_rows: NDArray[np.bool_], value: Map, finer: np.float32, black: np.float32,
    out: NDArray[np.uint16], first: int, last: int,
) -> None:  # fmt: skip
    """Rows ``first:last`` of the plane, moved towards the blocks' values by the blocks' shares, in ``finer`` steps.

    ``flat_rows``: which rows of blocks have shares at all.
    """
    blocks, across = share.shape
    # shares and values of row n of blocks in slot n % 2
    wide = np.empty((2, 2, 4 * across), np.float32)
    ready = -1
    for y in range(first, last):
        at = (f4(y) + f4(0.5)) * f4(0.25) - f4(0.5)
        upper = int(np.floor(at))
        a, b = min(max(upper, 0), blocks - 1), min(max(upper + 1, 0), blocks - 1)
        if not (flat_rows[a] or flat_rows[b]):
            _kept(plane[y], finer, out[y])
            continue
        for n in range(max(ready + 1, a), b + 1):
            _wider(share[n], wide[n % 2, 0])
            _wider(value[n], wide[n % 2, 1])
        ready = b
        shares, values = (wide[a % 2, 0], wide[b % 2, 0]), (wide[a % 2, 1], wide[b % 2, 1])
        _move(plane[y], shares, values, at - f4(upper), finer, black, out[y])


def debanded(
    planes: tuple[Tensor, ...], layout: YuvLayout, strength: str, finer: int = 1
) -> tuple[Tensor, ...]:
    """Planes of codes as uint16 planes of codes times ``finer``, gradients smoothed.

    ``strength`` is a key of :data:`sdr2hdr.color.deband.STRENGTHS`."""
    black = 0.0 if layout.full_range else 16.0 * (1 << (layout.depth - 8))
    return tuple(
        _smoothed(p, STRENGTHS[strength], finer, black if i == 0 else -1.0)
        for i, p in enumerate(planes[:3])
    )


def _smoothed(plane: Tensor, limits: Limits, finer: int, black: float) -> Tensor:
    samples = flat(plane)
    size = -(-plane.shape[0] // BLOCK), -(-plane.shape[1] // BLOCK)
    high, depth = (np.empty(size, np.uint16) for _ in range(2))
    share, value = (np.empty(size, np.float32) for _ in range(2))
    sums, changes = (np.empty(size, np.int32) for _ in range(2))
    in_bands(size[0], partial(_blocks, samples, plane.shape[1], high, depth, sums, changes))
    begin, end = limits.busy
    numbers = np.array([limits.far, FADE, begin, end - begin], np.float32)
    flat_rows = np.empty(size[0], np.bool_)
    _settle(high, depth, sums, changes, numbers, len(RADII), share, flat_rows, value)
    out = torch.empty(plane.shape, dtype=torch.uint16)
    work = partial(_apply, samples, share, flat_rows, value, f4(finer), f4(black), out.numpy())
    in_bands(plane.shape[0], work)
    return out
