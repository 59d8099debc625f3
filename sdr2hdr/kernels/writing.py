"""R'G'B' to 10-bit planes: through a table, or codes as a network gives them."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.luma import MATRICES
from sdr2hdr.color.yuv import C_STEPS, noise_key
from sdr2hdr.kernels import rows
from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.reading import Reading, flat, read_row
from sdr2hdr.kernels.rows import Ints, Plane, Row, f4
from sdr2hdr.kernels.table import looked_up

Planes = tuple[Tensor, Tensor, Tensor]
_Out = NDArray[np.uint16]


@row
def _chroma_rows(cb: Row, cr: Row, halves: Row, slot: int) -> None:
    """Cb and Cr of a row of pixels, filtered across, into two rows of ``halves`` ``6,W/2``."""
    rows.halved(cb, halves[slot])
    rows.halved(cr, halves[slot + 3])


@row
def _chroma_planes(
    halves: Row,
    slots: tuple[int, int, int],
    room: Row,
    scales: Row,
    keys: tuple[Ints, ...],
    strength: np.float32,
    at: int,
    work: Row,
    out_cb: _Out,
    out_cr: _Out,
) -> None:
    """One row of both chroma planes from three rows of ``halves``: above, own, below."""
    above, own, below = slots
    rows.chroma_of(halves[own], halves[below], halves[above], scales[0], work)
    rows.chroma_out(work, room, keys[2][at], keys[3], strength, out_cb[at])
    rows.chroma_of(halves[own + 3], halves[below + 3], halves[above + 3], scales[1], work)
    rows.chroma_out(work, room, keys[4][at], keys[5], strength, out_cr[at])


@row
def _level(work: Row, width: int) -> None:
    """Repeat the last column of a picture of an odd width in Y', Cb and Cr, rows 8 to 10 of ``work``."""
    for c in range(8, 11):
        work[c, width] = work[c, width - 1]


@kernel
def _map(
    y: Plane,
    cb: Plane,
    cr: Plane,
    size: NDArray[np.int32],
    sub: NDArray[np.int32],
    gains: Row,
    table: Ints,
    keys: tuple[Ints, ...],
    out_y: _Out,
    out_cb: _Out,
    out_cr: _Out,
    first: int,
    last: int,
) -> None:
    """Pairs of rows ``first:last`` of planes, mapped by a table."""
    height, width = size[0], size[1]
    even = width + (width & 1)
    work = np.empty((11, width + 4), np.float32)
    halves = np.empty((6, even // 2), np.float32)
    chroma = np.empty(even // 2, np.float32)
    scales = np.ones(2, np.float32)
    r, g, b = work[0, :width], work[1, :width], work[2, :width]
    luma, u, v = work[8, :width], work[9, :width], work[10, :width]
    above, own, below = 0, 1, 2
    if first > 0:
        read_row(y, cb, cr, size, 2 * first - 1, sub, gains, work)
        looked_up(r, g, b, table, luma, u, v)
        _level(work, width)
        _chroma_rows(work[9, :even], work[10, :even], halves, above)
    room = np.empty(even, np.float32)
    for pair in range(first, last):
        for at in (2 * pair, 2 * pair + 1):
            if at < height:
                read_row(y, cb, cr, size, at, sub, gains, work)
                looked_up(r, g, b, table, luma, u, v)
                _level(work, width)
            rows.luma_out(work[8, :even], keys[0][at], keys[1], f4(1.0), out_y[at])
            _chroma_rows(work[9, :even], work[10, :even], halves, own if at == 2 * pair else below)
            if at == 2 * pair:
                rows.copied(work[8, :even], room)
        slots = (own if pair == 0 else above, own, below)
        _chroma_planes(halves, slots, room, scales, keys, f4(1.0), pair, chroma, out_cb, out_cr)
        above, below = below, above


@row
def _weighed(
    r: Row, g: Row, b: Row, weights: Row, peak: np.float32, y: Row, cb: Row, cr: Row
) -> None:
    """Y' 0..876, B' - Y' and R' - Y' of codes, clamped to 0..peak."""
    for i in range(len(y)):
        red, blue = min(max(r[i], f4(0.0)), peak), min(max(b[i], f4(0.0)), peak)
        luma = (red * weights[0] + min(max(g[i], f4(0.0)), peak) * weights[1]) + blue * weights[2]
        cb[i] = blue - luma
        cr[i] = red - luma
        y[i] = luma * f4(876.0)


@kernel
def _pack(
    codes: NDArray[np.float32],
    weights: Row,
    scales: Row,
    peak: np.float32,
    keys: tuple[Ints, ...],
    strength: np.float32,
    out_y: _Out,
    out_cb: _Out,
    out_cr: _Out,
    first: int,
    last: int,
) -> None:
    """Pairs of rows ``first:last`` of codes ``3,H,W``."""
    height, width = codes.shape[1], codes.shape[2]
    even = width + (width & 1)
    work = np.empty((11, even), np.float32)
    halves = np.empty((6, even // 2), np.float32)
    chroma = np.empty(even // 2, np.float32)
    room = np.empty(even, np.float32)
    luma, u, v = work[8, :width], work[9, :width], work[10, :width]
    above, own, below = 0, 1, 2
    if first > 0:
        at = 2 * first - 1
        _weighed(codes[0, at], codes[1, at], codes[2, at], weights, peak, luma, u, v)
        if width < even:
            _level(work, width)
        _chroma_rows(work[9], work[10], halves, above)
    for pair in range(first, last):
        for at in (2 * pair, 2 * pair + 1):
            if at < height:
                _weighed(codes[0, at], codes[1, at], codes[2, at], weights, peak, luma, u, v)
                if width < even:
                    _level(work, width)
            rows.luma_out(work[8], keys[0][at], keys[1], strength, out_y[at])
            _chroma_rows(work[9], work[10], halves, own if at == 2 * pair else below)
            if at == 2 * pair:
                rows.copied(work[8], room)
        slots = (own if pair == 0 else above, own, below)
        _chroma_planes(halves, slots, room, scales, keys, strength, pair, chroma, out_cb, out_cr)
        above, below = below, above


def _keys(seed: int, height: int, width: int) -> tuple[Ints, ...]:
    """Of Y', Cb and Cr, the keys of rows and of columns two by two, as :func:`sdr2hdr.color.yuv.to_yuv` has them."""
    cpu = torch.device("cpu")
    out = []
    for plane, (h, w) in enumerate(
        ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    ):
        for axis, count in ((0, h), (1, (w + 1) // 2)):
            out.append(noise_key(3 * seed + plane, axis, count, cpu).numpy().view(np.uint32))
    return tuple(out)


def _new_planes(height: int, width: int) -> Planes:
    y, cb, cr = (
        torch.empty(h, w, dtype=torch.uint16)
        for h, w in ((height, width), *[(height // 2, width // 2)] * 2)
    )
    return y, cb, cr


def mapped(planes: tuple[Tensor, ...], how: Reading, table: Ints, seed: int) -> Planes:
    """Planes on the CPU to those of HDR10 by a table.

    As :func:`sdr2hdr.color.yuv.to_yuv` leaves them for the mapped picture, but that the peak is not held
    (:func:`sdr2hdr.kernels.metering.metered` does that).
    """
    y, cb, cr = (flat(p) for p in planes[:3])
    height, width = planes[0].shape
    out = _new_planes(height + height % 2, width + width % 2)
    size = np.array([height, width], dtype=np.int32)
    keys, to = _keys(seed, *out[0].shape), [p.numpy() for p in out]
    in_bands(
        (height + 1) // 2, partial(_map, y, cb, cr, size, how.sub, how.gains, table, keys, *to)
    )
    return out


def packed(
    codes: Tensor, *, seed: int | None, peak_code: float, matrix: str = "bt2020nc"
) -> Planes:
    """As :func:`sdr2hdr.color.yuv.to_yuv` of codes ``3,H,W`` on the CPU, but that the peak is not held (:func:`mapped`)."""
    height, width = codes.shape[-2:]
    out = _new_planes(height + height % 2, width + width % 2)
    kr, kb = MATRICES[matrix]
    weights = np.array([kr, 1.0 - kr - kb, kb], dtype=np.float32)
    scales = np.array(
        [C_STEPS / (2.0 * (1.0 - kb)), C_STEPS / (2.0 * (1.0 - kr))], dtype=np.float32
    )
    keys, to = _keys(seed or 0, *out[0].shape), [p.numpy() for p in out]
    source, strength, peak = codes.contiguous().numpy(), f4(seed is not None), f4(peak_code)
    in_bands((height + 1) // 2, partial(_pack, source, weights, scales, peak, keys, strength, *to))
    return out
