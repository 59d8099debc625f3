"""What a repairing network changes in a frame: its output scaled, bounded and held back, as
:mod:`sdr2hdr.models.base.corrections` defines it."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import ONE, Row, f4, tall

_Picture = NDArray[np.float32]
_Map = NDArray[np.float32]

REACH, AREA, AREAS = 4, 8, 9
"""The sides of a cell of colour and of an area in pixels, and over how many areas a correction's strength is measured."""


@dataclass(frozen=True)
class Limits:
    """An output of 1 changes a code by ``scale``. Neither the output nor all networks together change one by more than
    ``bound``. A change of ``faint`` all around is halved."""

    scale: float
    bound: float
    faint: float


@row
def _tints(r: Row, g: Row, b: Row, out: Row) -> None:
    """The largest colour of a row's pixels, in cells of four, and of what ``out`` holds."""
    for i in range(len(out)):
        most = out[i]
        for k in range(4 * i, 4 * i + 4):
            most = max(most, max(r[k], g[k], b[k]) - min(r[k], g[k], b[k]))
        out[i] = most


@kernel
def _colours(frame: _Picture, out: _Map, first: int, last: int) -> None:
    for cell in range(first, last):
        for i in range(out.shape[1]):
            out[cell, i] = f4(0.0)
        for y in range(4 * cell, 4 * cell + 4):
            _tints(frame[0, y], frame[1, y], frame[2, y], out[cell])


@row
def _enlarged(x: Row, side: int, out: Row) -> None:
    """``side`` times as many samples, straight between those of ``x[1:-1]``, which lie in the middle of ``side`` samples."""
    step = ONE / f4(side)
    for i in range(len(x) - 2):
        for k in range(side):
            away = (f4(k) + f4(0.5)) * step - f4(0.5)
            other = x[i] if away < f4(0.0) else x[i + 2]
            out[side * i + k] = x[i + 1] * (ONE - abs(away)) + other * abs(away)


@row
def _row_between(cells: _Map, y: int, side: int, room: Row, out: Row) -> None:
    """Row ``y`` of a map that is enlarged ``side`` times, straight between its samples."""
    at = y // side
    away = (f4(y % side) + f4(0.5)) / f4(side) - f4(0.5)
    other = max(at - 1, 0) if away < f4(0.0) else min(at + 1, len(cells) - 1)
    tall(cells[at], cells[other], abs(away), room)
    _enlarged(room, side, out)


@row
def _limited(
    a: Row, b: Row, c: Row, r: Row, g: Row, b_: Row, colour: Row, numbers: Row,
    out_a: Row, out_b: Row, out_c: Row,
) -> None:  # fmt: skip
    """The corrections of a row of a frame ``r, g, b_`` by the outputs ``a, b, c``."""
    scale, bound = numbers[0], numbers[1]
    for i in range(len(colour)):
        share = min(f4(8.0) * colour[i], ONE)
        light = min(max(f4(10.0) * max(r[i], g[i], b_[i]), f4(0.0)), ONE)
        mean = ((a[i] + b[i]) + c[i]) / f4(3.0)
        out_a[i] = min(max(scale * ((mean + share * (a[i] - mean)) * light), -bound), bound)
        out_b[i] = min(max(scale * ((mean + share * (b[i] - mean)) * light), -bound), bound)
        out_c[i] = min(max(scale * ((mean + share * (c[i] - mean)) * light), -bound), bound)


@row
def _joined(begun: Row, frame: Row, bound: np.float32, change: Row) -> None:
    """A row's changes with those of the first network."""
    for i in range(len(change)):
        change[i] = min(max(change[i] + (begun[i] - frame[i]), -bound), bound)


@row
def _power(a: Row, b: Row, c: Row, out: Row) -> None:
    for i in range(len(out)):
        total = f4(0.0)
        for k in range(8 * i, 8 * i + 8):
            total += (a[k] * a[k] + b[k] * b[k]) + c[k] * c[k]
        out[i] += total


@kernel
def _changes(
    frame: _Picture,
    begun: _Picture,
    added: _Picture,
    colours: _Map,
    numbers: Row,
    out: _Picture,
    areas: _Map,
    first: int,
    last: int,
) -> None:
    """The changes in rows ``first:last`` of areas, and their power in each area."""
    width = out.shape[2]
    room, colour = np.empty(width // 4 + 2, np.float32), np.empty(width, np.float32)
    for area in range(first, last):
        for i in range(areas.shape[1]):
            areas[area, i] = f4(0.0)
        for y in range(8 * area, 8 * area + 8):
            _row_between(colours, y, 4, room, colour)
            _limited(
                added[0, y], added[1, y], added[2, y], begun[0, y], begun[1, y], begun[2, y],
                colour, numbers, out[0, y], out[1, y], out[2, y],
            )  # fmt: skip
            for c in range(3):
                _joined(begun[c, y], frame[c, y], numbers[1], out[c, y])
            _power(out[0, y], out[1, y], out[2, y], areas[area])


@row
def _added(frame: Row, strength: Row, change: Row) -> None:
    for i in range(len(change)):
        change[i] = frame[i] + change[i] * strength[i]


@kernel
def _applied(frame: _Picture, strengths: _Map, change: _Picture, first: int, last: int) -> None:
    """The frame with its changes, in their place."""
    width = change.shape[2]
    room, strength = np.empty(width // 8 + 2, np.float32), np.empty(width, np.float32)
    for y in range(first, last):
        _row_between(strengths, y, 8, room, strength)
        for c in range(3):
            _added(frame[c, y], strength, change[c, y])


def corrected(frame: Tensor, begun: Tensor, added: Tensor, limits: Limits) -> Tensor:
    """A frame ``3,H,W`` with a network's output ``added`` for the ``begun`` one that it saw; float32 on the CPU, sides multiples
    of 8.

    Raises ValueError for other sides.
    """
    height, width = frame.shape[1:]
    if height % AREA or width % AREA:
        raise ValueError(f"sides of {width}x{height} are not multiples of {AREA}")
    pictures = [x.contiguous().numpy() for x in (frame, begun, added)]
    colours, areas = (
        torch.empty(height // REACH, width // REACH),
        torch.empty(height // AREA, width // AREA),
    )
    in_bands(height // REACH, partial(_colours, pictures[1], colours.numpy()))
    around = F.max_pool2d(colours[None], 3, 1, 1)[0]
    numbers = np.array([limits.scale, limits.bound], np.float32)
    out = torch.empty(frame.shape)
    in_bands(
        height // AREA,
        partial(_changes, *pictures, around.numpy(), numbers, out.numpy(), areas.numpy()),
    )
    power = areas.div_(3 * AREA * AREA)[None]
    power = F.avg_pool2d(power, AREAS, 1, AREAS // 2, count_include_pad=False)[0]
    strengths = power / (power + limits.faint**2)
    in_bands(height, partial(_applied, pictures[0], strengths.numpy(), out.numpy()))
    return out
