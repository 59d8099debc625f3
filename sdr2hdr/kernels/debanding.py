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
from sdr2hdr.kernels.boxes import Ints, Map, averaged_down, summed_across
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.reading import flat
from sdr2hdr.kernels.rows import Plane, Row, copied, f4, i4


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
    high: Row,
    depth: Row,
    sums: Ints,
    changes: Ints,
) -> None:
    """The highest and minus the lowest sample of blocks of four columns, the sum of all, and the changes from their pixels."""
    for b in range(len(sums)):
        i = 4 * b
        high[b] = f4(max(top[i], top[i + 1], top[i + 2], top[i + 3]))
        depth[b] = -f4(min(bottom[i], bottom[i + 1], bottom[i + 2], bottom[i + 3]))
        sums[b] = i4(total[i] + total[i + 1]) + i4(total[i + 2] + total[i + 3])
        changes[b] = i4(change[i] + change[i + 1]) + i4(change[i + 2] + change[i + 3])


@kernel
def _blocks(
    plane: Plane,
    width: int,
    high: Map,
    depth: Map,
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
def _largest(x: Row, y: Row, z: Row, out: Row) -> None:
    for i in range(len(out)):
        out[i] = max(x[i], y[i], z[i])


@row
def _largest_across(x: Row, step: int, out: Row) -> None:
    count = len(x)
    last, inner = count - 1, max(count - 2 * step, 0)
    for i in range(min(step, count)):
        out[i] = max(x[0], x[i], x[min(i + step, last)])
    _largest(x[:inner], x[step : step + inner], x[2 * step :], out[step : step + inner])
    for i in range(max(count - step, min(step, count)), count):
        out[i] = max(x[max(i - step, 0)], x[i], x[last])


@row
def _most(x: Map, step: int, across: Map) -> None:
    """In place: the largest within a radius becomes the largest within ``step`` more; a border is repeated outwards.

    ``step`` is at most twice the radius and 1, so that no sample is left out."""
    height = len(x)
    for y in range(height):
        _largest_across(x[y], step, across[y])
    for y in range(height):
        above, below = max(y - step, 0), min(y + step, height - 1)
        _largest(across[above], across[y], across[below], x[y])


@row
def _weigh(
    high: Row, depth: Row, sums: Ints, busy: Row, limits: Row, average: Row, share: Row, value: Row
) -> None:
    """Take in surroundings: their highest, minus their lowest, how busy they are, and their mean.

    ``limits`` are the last distance that is flat, what it fades over, and the last busyness that is flat with its fade."""
    for i in range(len(share)):
        mean = f4(sums[i]) * f4(1 / 16)
        far = max(high[i] - mean, mean + depth[i])
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
    high: Map, depth: Map, sums: Ints, changes: Ints, limits: Row, doublings: int, share: Map, flat_rows: NDArray[np.bool_],
    value: Map,
) -> None:  # fmt: skip
    """Of blocks, the ``share`` of what is flat within a radius of 1, in which rows there is any, and the mean that counts.

    Surroundings of 1, 2, 4 ... blocks on each side are taken in, so many sizes, of ``high`` and ``depth`` in place.
    """
    height, width = sums.shape
    wide = width + (2 << (doublings - 1))
    counts = np.empty((doublings + 1, wide), np.int32)
    mean_sums, busy_sums = (
        np.empty((doublings, height, width), np.int32),
        np.empty((doublings, height, width), np.int32),
    )
    summed_across(sums, doublings, counts, mean_sums)
    summed_across(changes, doublings, counts, busy_sums)
    across, average, busy = (
        np.empty((height, width), np.float32),
        np.empty((height, width), np.float32),
        np.empty((height, width), np.float32),
    )
    now = np.empty((height, width), np.float32)
    for y in range(height):
        for i in range(width):
            now[y, i], value[y, i] = f4(1.0), f4(sums[y, i]) * f4(1 / 16)
    reached = 0
    for n in range(doublings):
        radius = 1 << n
        _most(high, radius - reached, across)
        _most(depth, radius - reached, across)
        reached = radius
        averaged_down(busy_sums[n], radius, counts[0, :width], busy)
        averaged_down(mean_sums[n], radius, counts[0, :width], average)
        some = False
        for y in range(height):
            _weigh(high[y], depth[y], sums[y], busy[y], limits, average[y], now[y], value[y])
            flat_ = _is_flat(now[y])
            some |= flat_
            if n == 0:
                flat_rows[y] = flat_
                copied(now[y], share[y])
        if not some:
            break


@row
def _between(upper: Row, lower: Row, part: np.float32, out: Row) -> None:
    for i in range(len(out)):
        out[i] = upper[i] + (lower[i] - upper[i]) * part


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
    x: Plane, share: Row, value: Row, finer: np.float32, black: np.float32, out: NDArray[np.uint16]
) -> None:
    most = f4(MOST)
    for i in range(len(out)):
        sample = f4(x[i])
        by = min(max(share[i] * (value[i] - sample), -most), most)
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
    width = out.shape[1]
    room, wide_share, wide_value = (
        np.empty(across, np.float32),
        np.empty(4 * across, f4),
        np.empty(4 * across, f4),
    )
    for y in range(first, last):
        at = (f4(y) + f4(0.5)) * f4(0.25) - f4(0.5)
        upper = int(np.floor(at))
        part = at - f4(upper)
        a, b = min(max(upper, 0), blocks - 1), min(max(upper + 1, 0), blocks - 1)
        if not (flat_rows[a] or flat_rows[b]):
            _kept(plane[y], finer, out[y])
            continue
        _between(share[a], share[b], part, room)
        _wider(room, wide_share)
        _between(value[a], value[b], part, room)
        _wider(room, wide_value)
        _move(plane[y], wide_share[:width], wide_value[:width], finer, black, out[y])


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
    high, depth, share, value = (np.empty(size, np.float32) for _ in range(4))
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
