"""Light in clipped areas: :func:`sdr2hdr.color.clipped.lit`, compiled."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color import clipped
from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.boxes import averaged
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import ONE, Row, copied, f4, i4

_Picture = NDArray[np.float32]
_Ramps = NDArray[np.float32]
"""Where ramps begin, and one over how wide they are, ``4,2``."""

_STRIP = 96  # rows that are worked on at once: what is held of them fits in a cache
_REACHES = np.array(list(clipped.WEIGHTS), np.int32)
_WEIGHTS = np.array([w for each in clipped.WEIGHTS.values() for w in each], np.float32)
_NUMBERS = np.array(
    [clipped.KR, clipped.KG, clipped.KB, clipped.OFFSET - _WEIGHTS.sum(), *clipped.RANGE],
    np.float32,
)
_RAMPS = np.array(
    [
        (low, 1 / (high - low))
        for low, high in (
            clipped.CLIPPED,
            clipped.PALE,
            clipped.BRIGHT,
            clipped.WHITE,
        )
    ],
    np.float32,
)


@row
def _ramp(x: np.float32, ramp: Row) -> np.float32:
    return min(max((x - ramp[0]) * ramp[1], f4(0.0)), ONE)


@row
def _clipped(r: Row, g: Row, b: Row, ramps: _Ramps) -> np.int32:
    """How many pixels of a row the filter changes."""
    count = i4(0)
    for i in range(len(r)):
        bright = max(r[i], g[i], b[i]) > ramps[0, 0]
        count = i4(count + i4(bright and min(r[i], g[i], b[i]) > ramps[1, 0]))
    return count


@row
def _points(
    r: Row, g: Row, b: Row, weights: Row, numbers: Row, ramps: _Ramps, near: Row, mid: Row, far: Row
) -> None:
    """The weighted maps of a row by their reaches."""
    for i in range(len(r)):
        luma = (r[i] * numbers[0] + g[i] * numbers[1]) + b[i] * numbers[2]
        most, least = max(r[i], g[i], b[i]), min(r[i], g[i], b[i])
        squared = luma * luma
        near[i] = squared * squared * squared * weights[0] + least * weights[1]
        mid[i] = (
            least * weights[2]
            + _ramp(most, ramps[2]) * weights[3]
            + squared * np.sqrt(luma) * weights[4]
        )
        far[i] = (
            _ramp(least, ramps[3]) * weights[5]
            + _ramp(most, ramps[0]) * weights[6]
            + least * least * np.sqrt(least) * weights[7]
        )


@row
def _multiplied(
    r: Row, g: Row, b: Row, near: Row, mid: Row, far: Row, numbers: Row, ramps: _Ramps,
    out_r: Row, out_g: Row, out_b: Row,
) -> None:  # fmt: skip
    for i in range(len(r)):
        added = min(max((near[i] + mid[i]) + far[i] + numbers[3], numbers[4]), numbers[5])
        share = _ramp(max(r[i], g[i], b[i]), ramps[0]) * _ramp(min(r[i], g[i], b[i]), ramps[1])
        factor = ONE + share * added
        out_r[i], out_g[i], out_b[i] = r[i] * factor, g[i] * factor, b[i] * factor


@kernel
def _count(sdr: _Picture, ramps: _Ramps, out: NDArray[np.int32], first: int, last: int) -> None:
    for y in range(first, last):
        out[y] = _clipped(sdr[0, y], sdr[1, y], sdr[2, y], ramps)


@kernel
def _light(
    sdr: _Picture,
    counts: NDArray[np.int32],
    reaches: NDArray[np.int32],
    weights: Row,
    numbers: Row,
    ramps: _Ramps,
    out: _Picture,
    first: int,
    last: int,
) -> None:
    """Rows ``first:last`` of the picture, a strip at a time."""
    height, width = sdr.shape[1], sdr.shape[2]
    halo = 2 * reaches[-1]
    maps = np.empty((3, _STRIP + 2 * halo, width), np.float32)
    across, around = np.empty_like(maps[0]), np.empty_like(maps[0])
    room = np.empty(width + halo, np.float32)
    for begin in range(first, last, _STRIP):
        end = min(begin + _STRIP, last)
        if counts[begin:end].max() == 0:
            for c in range(3):
                for y in range(begin, end):
                    copied(sdr[c, y], out[c, y])
            continue
        top, bottom = max(begin - halo, 0), min(end + halo, height)
        count = bottom - top
        for y in range(top, bottom):
            at = y - top
            _points(
                sdr[0, y], sdr[1, y], sdr[2, y], weights, numbers, ramps,
                maps[0, at], maps[1, at], maps[2, at],
            )  # fmt: skip
        for k in range(3):
            reach = reaches[k]
            averaged(maps[k, :count], reach, across[:count], around[:count], room)
            averaged(around[:count], reach, across[:count], maps[k, :count], room)
        for y in range(begin, end):
            at = y - top
            _multiplied(
                sdr[0, y], sdr[1, y], sdr[2, y], maps[0, at], maps[1, at], maps[2, at],
                numbers, ramps, out[0, y], out[1, y], out[2, y],
            )  # fmt: skip


def lit(sdr: Tensor) -> Tensor:
    """As :func:`sdr2hdr.color.clipped.lit` of R'G'B' ``3,H,W`` on the CPU, which is given back where nothing is clipped."""
    picture, height = sdr.contiguous().numpy(), sdr.shape[1]
    counts = np.empty(height, np.int32)
    in_bands(height, partial(_count, picture, _RAMPS, counts))
    if not counts.any():
        return sdr
    out = torch.empty(sdr.shape)
    told = (_REACHES, _WEIGHTS, _NUMBERS, _RAMPS)
    in_bands(height, partial(_light, picture, counts, *told, out.numpy()))
    return out
