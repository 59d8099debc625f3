"""R'G'B' to planes of any layout that is written: through a table, or codes as a network gives them."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.luma import MATRICES
from sdr2hdr.color.yuv import C_STEPS, HDR10, KB, KR, YuvLayout, noise_keys
from sdr2hdr.kernels import rows
from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.reading import Reading, flat, read_row
from sdr2hdr.kernels.rows import Ints, Plane, Row, f4
from sdr2hdr.kernels.table import Table, looked_up, room_for_look_ups

Planes = tuple[Tensor, Tensor, Tensor]
_Out = NDArray[np.uint16]
_Form = NDArray[np.int32]
"""Log2 of the chroma subsampling across and down, and 1 for planes of R'G'B'."""


@row
def _chroma_rows(cb: Row, cr: Row, halves: Row, slot: int) -> None:
    """Cb and Cr of a row of pixels, filtered across, into two of the first six rows of ``halves`` ``7,W/2``."""
    rows.halved(cb, halves[6], halves[slot])
    rows.halved(cr, halves[6], halves[slot + 3])


@row
def _chroma_planes(
    halves: Row,
    slots: tuple[int, int, int],
    room: Row,
    scales: Row,
    keys: tuple[Ints, ...],
    strength: np.float32,
    levels: Row,
    at: int,
    work: Row,
    out_cb: _Out,
    out_cr: _Out,
) -> None:
    """One row of both chroma planes from three rows of ``halves``: above, own, below."""
    above, own, below = slots
    rows.chroma_of(halves[own], halves[below], halves[above], scales[0], work)
    rows.coded(work, room, keys[2][at], keys[3], strength, levels[1], out_cb[at])
    rows.chroma_of(halves[own + 3], halves[below + 3], halves[above + 3], scales[1], work)
    rows.coded(work, room, keys[4][at], keys[5], strength, levels[1], out_cr[at])


@row
def _whole_rows(
    work: Row,
    halves: Row,
    room: Row,
    chroma: Row,
    scales: Row,
    keys: tuple[Ints, ...],
    strength: np.float32,
    levels: Row,
    form: _Form,
    at: int,
    out_y: _Out,
    out_cb: _Out,
    out_cr: _Out,
) -> None:
    """A row of all planes of a picture whose chroma is not subsampled down, from rows 8 to 10 of ``work``."""
    y, u, v = work[8], work[9], work[10]
    rows.coded(y, y, keys[0][at], keys[1], strength, levels[0], out_y[at])
    if form[2]:
        rows.coded(u, u, keys[2][at], keys[3], strength, levels[1], out_cb[at])
        rows.coded(v, v, keys[4][at], keys[5], strength, levels[1], out_cr[at])
    elif form[0]:
        small = len(room)
        rows.every_other(y, room)
        _chroma_rows(u, v, halves, 0)
        rows.scaled(halves[0], f4(0.25), scales[0], chroma[:small])
        rows.coded(chroma[:small], room, keys[2][at], keys[3], strength, levels[1], out_cb[at])
        rows.scaled(halves[3], f4(0.25), scales[1], chroma[:small])
        rows.coded(chroma[:small], room, keys[4][at], keys[5], strength, levels[1], out_cr[at])
    else:
        rows.scaled(u, f4(1.0), scales[0], chroma)
        rows.coded(chroma, y, keys[2][at], keys[3], strength, levels[1], out_cb[at])
        rows.scaled(v, f4(1.0), scales[1], chroma)
        rows.coded(chroma, y, keys[4][at], keys[5], strength, levels[1], out_cr[at])


@row
def _level(work: Row, width: int) -> None:
    """Repeat the last column of a picture of an odd width in Y', Cb and Cr, rows 8 to 10 of ``work``."""
    for c in range(8, 11):
        work[c, width] = work[c, width - 1]


@row
def _rgb_of(gains: Row, y: Row, cb: Row, cr: Row) -> None:
    """R', G' and B' 0..1 in place of Y' 0..876, Cb and Cr in codes around 0."""
    for i in range(len(y)):
        luma, u, v = y[i] * gains[0], cb[i], cr[i]
        y[i] = min(max(luma + v * gains[1], f4(0.0)), f4(1.0))
        cb[i] = min(max(luma - (u * gains[2] + v * gains[3]), f4(0.0)), f4(1.0))
        cr[i] = min(max(luma + u * gains[4], f4(0.0)), f4(1.0))


@kernel
def _map(
    y: Plane,
    cb: Plane,
    cr: Plane,
    size: NDArray[np.int32],
    sub: NDArray[np.int32],
    gains: Row,
    table: Table,
    keys: tuple[Ints, ...],
    levels: Row,
    form: _Form,
    tints: Row,
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
    halves = np.empty((7, even // 2), np.float32)
    chroma = np.empty(even, np.float32)
    scales = np.ones(2, np.float32)
    look_ups = room_for_look_ups(width)
    r, g, b = work[0, :width], work[1, :width], work[2, :width]
    luma, u, v = work[8, :width], work[9, :width], work[10, :width]
    above, own, below = 0, 1, 2
    if first > 0 and form[1]:
        read_row(y, cb, cr, size, 2 * first - 1, sub, gains, work)
        looked_up(r, g, b, table, look_ups, luma, u, v)
        _level(work, width)
        _chroma_rows(work[9, :even], work[10, :even], halves, above)
    room = np.empty(even // 2, np.float32)
    for pair in range(first, last):
        for at in (2 * pair, 2 * pair + 1):
            if at < height:
                read_row(y, cb, cr, size, at, sub, gains, work)
                looked_up(r, g, b, table, look_ups, luma, u, v)
                if form[2]:
                    _rgb_of(tints, luma, u, v)
                _level(work, width)
            if not form[1]:
                _whole_rows(
                    work[:, :even], halves, room, chroma, scales, keys, f4(1.0), levels, form, at,
                    out_y, out_cb, out_cr,
                )  # fmt: skip
                continue
            rows.coded(
                work[8, :even], work[8, :even], keys[0][at], keys[1], f4(1.0), levels[0], out_y[at]
            )
            _chroma_rows(work[9, :even], work[10, :even], halves, own if at == 2 * pair else below)
            if at == 2 * pair:
                rows.every_other(work[8, :even], room)
        if form[1]:
            slots = (own if pair == 0 else above, own, below)
            _chroma_planes(
                halves, slots, room, scales, keys, f4(1.0), levels, pair, chroma[: even // 2],
                out_cb, out_cr,
            )  # fmt: skip
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


@row
def _clamped(source: Row, peak: np.float32, out: Row) -> None:
    for i in range(len(out)):
        out[i] = min(max(source[i], f4(0.0)), peak)


@kernel
def _pack(
    codes: NDArray[np.float32],
    weights: Row,
    scales: Row,
    peak: np.float32,
    keys: tuple[Ints, ...],
    strength: np.float32,
    levels: Row,
    form: _Form,
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
    halves = np.empty((7, even // 2), np.float32)
    chroma = np.empty(even, np.float32)
    room = np.empty(even // 2, np.float32)
    luma, u, v = work[8, :width], work[9, :width], work[10, :width]
    above, own, below = 0, 1, 2
    if first > 0 and form[1]:
        at = 2 * first - 1
        _weighed(codes[0, at], codes[1, at], codes[2, at], weights, peak, luma, u, v)
        if width < even:
            _level(work, width)
        _chroma_rows(work[9], work[10], halves, above)
    for pair in range(first, last):
        for at in (2 * pair, 2 * pair + 1):
            if at < height:
                if form[2]:
                    _clamped(codes[0, at], peak, luma)
                    _clamped(codes[1, at], peak, u)
                    _clamped(codes[2, at], peak, v)
                else:
                    _weighed(codes[0, at], codes[1, at], codes[2, at], weights, peak, luma, u, v)
                if width < even:
                    _level(work, width)
            if not form[1]:
                _whole_rows(
                    work, halves, room, chroma, scales, keys, strength, levels, form, at,
                    out_y, out_cb, out_cr,
                )  # fmt: skip
                continue
            rows.coded(work[8], work[8], keys[0][at], keys[1], strength, levels[0], out_y[at])
            _chroma_rows(work[9], work[10], halves, own if at == 2 * pair else below)
            if at == 2 * pair:
                rows.every_other(work[8], room)
        if form[1]:
            slots = (own if pair == 0 else above, own, below)
            _chroma_planes(
                halves, slots, room, scales, keys, strength, levels, pair, chroma[: even // 2],
                out_cb, out_cr,
            )  # fmt: skip
            above, below = below, above


def _keys(seed: int, luma: Tensor, layout: YuvLayout) -> tuple[Ints, ...]:
    """Of each plane, the keys of rows and of columns two by two, as :func:`sdr2hdr.color.yuv.to_yuv` has them."""
    height, width = luma.shape
    pairs = noise_keys(seed, height, width, layout, torch.device("cpu"))
    return tuple(key.numpy().view(np.uint32) for pair in pairs for key in pair)


def _form(layout: YuvLayout) -> _Form:
    return np.array([*layout.sub, layout.matrix == "rgb"], dtype=np.int32)


def _levels(layout: YuvLayout) -> Row:
    """What :func:`sdr2hdr.kernels.rows.coded` is told of Y' (or R', G', B') and of chroma, ``2,4``."""
    unit, top = layout.unit, float((1 << layout.depth) - 1)
    if layout.matrix == "rgb":
        return np.array([[top, 0.5, 0.0, top]] * 2, dtype=np.float32)
    fine = unit / HDR10.unit
    luma = [fine, 16.0 * unit + 0.5, 16.0 * unit, 235.0 * unit]
    chroma = [fine, 128.0 * unit + 0.5, 16.0 * unit, 240.0 * unit]
    return np.array([luma, chroma], dtype=np.float32)


def _new_planes(height: int, width: int, layout: YuvLayout) -> Planes:
    height, width = height + height % 2, width + width % 2
    small = layout.small(height, width)
    y, cb, cr = (torch.empty(size, dtype=torch.uint16) for size in ((height, width), small, small))
    return y, cb, cr


_TINTS = np.array(
    [
        1.0 / 876.0,
        2.0 * (1.0 - KR) / C_STEPS,
        2.0 * KB * (1.0 - KB) / (1.0 - KR - KB) / C_STEPS,
        2.0 * KR * (1.0 - KR) / (1.0 - KR - KB) / C_STEPS,
        2.0 * (1.0 - KB) / C_STEPS,
    ],
    dtype=np.float32,
)


def mapped(
    planes: tuple[Tensor, ...], how: Reading, table: Table, seed: int, layout: YuvLayout = HDR10
) -> Planes:
    """Planes on the CPU to those of a layout by a table.

    As :func:`sdr2hdr.color.yuv.to_yuv` leaves them for the mapped picture, but that the peak is not held
    (:func:`sdr2hdr.kernels.metering.metered` does that).
    """
    y, cb, cr = (flat(p) for p in planes[:3])
    height, width = planes[0].shape
    out = _new_planes(height, width, layout)
    size = np.array([height, width], dtype=np.int32)
    keys, to = _keys(seed, out[0], layout), [p.numpy() for p in out]
    told = (how.sub, how.gains, table, keys, _levels(layout), _form(layout), _TINTS)
    in_bands((height + 1) // 2, partial(_map, y, cb, cr, size, *told, *to))
    return out


def packed(
    codes: Tensor, *, seed: int | None, peak_code: float, layout: YuvLayout = HDR10
) -> Planes:
    """As :func:`sdr2hdr.color.yuv.to_yuv` of codes ``3,H,W`` on the CPU, but that the peak is not held (:func:`mapped`)."""
    height, width = codes.shape[-2:]
    out = _new_planes(height, width, layout)
    kr, kb = (KR, KB) if layout.matrix == "rgb" else MATRICES[layout.matrix]
    weights = np.array([kr, 1.0 - kr - kb, kb], dtype=np.float32)
    scales = np.array(
        [C_STEPS / (2.0 * (1.0 - kb)), C_STEPS / (2.0 * (1.0 - kr))], dtype=np.float32
    )
    keys, to = _keys(seed or 0, out[0], layout), [p.numpy() for p in out]
    source, strength, peak = codes.contiguous().numpy(), f4(seed is not None), f4(peak_code)
    told = (weights, scales, peak, keys, strength, _levels(layout), _form(layout))
    in_bands((height + 1) // 2, partial(_pack, source, *told, *to))
    return out
