"""Cutting a picture into overlapping tiles, and blending their results without a seam."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdr2hdr.errors import ModelError
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.render.device import free_memory


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture: rows ``top:bottom``, columns ``left:right``."""

    top: int
    bottom: int
    left: int
    right: int


def spans(length: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """Cut 0..length into spans of at most ``tile`` that overlap by at least ``overlap`` and start on a multiple."""
    if length <= tile:
        return [(0, length)]
    count = 1
    while tile + (count - 1) * ((tile - overlap) // multiple * multiple) < length:
        count += 1
    starts = [round(i * (length - tile) / (count - 1) / multiple) * multiple for i in range(count)]
    starts[-1] = (length - tile + multiple - 1) // multiple * multiple
    return [(s, min(s + tile, length)) for s in starts]


def check_tile(height: int, width: int, tile: int, spec: ModelSpec) -> None:
    """Raises ModelError for tiles so small that more than two would lie over each other."""
    if tile < max(height, width) and tile < 2 * spec.overlap + spec.multiple:
        least = -(-(2 * spec.overlap + spec.multiple) // 16) * 16
        raise ModelError(
            f"Tiles of {tile} pixels are too small for {spec.name}, whose tiles overlap by {spec.overlap}; "
            f"give --tile {least} or more, or leave it out."
        )


def cut(height: int, width: int, tile: int, spec: ModelSpec) -> list[Tile]:
    """The tiles of a picture, row by row; one tile where the picture fits in it. Raises ModelError as :func:`check_tile`."""
    check_tile(height, width, tile, spec)
    return [
        Tile(top, bottom, left, right)
        for top, bottom in spans(height, tile, spec.overlap, spec.multiple)
        for left, right in spans(width, tile, spec.overlap, spec.multiple)
    ]


def choose_tile(height: int, width: int, spec: ModelSpec, free: int) -> int:
    """The largest tile edge whose working memory fits in half of what is free; the whole picture where that fits.

    A tile below four overlaps computes mostly overlap, so that is the least.
    """
    budget = free // 2 // spec.bytes_per_pixel
    if height * width <= budget:
        return max(height, width)
    edge = max(4 * spec.overlap, 64, int(min(budget, spec.tile**2) ** 0.5))
    return max(edge // 16 * 16, spec.multiple)


def fitting_tile(height: int, width: int, spec: ModelSpec, device: torch.device) -> int:
    """The largest tile edge that the device's free memory allows now."""
    return choose_tile(height, width, spec, free_memory(device) - frame_bytes(height, width, spec))


def frame_bytes(height: int, width: int, spec: ModelSpec) -> int:
    """The bytes of a window's frames, in and out, which are held in addition to the model's own working memory."""
    return 12 * height * width * (spec.past + 2 * spec.block + spec.future + 8)


def ramp(length: int, before: int, after: int, margin: int = 0) -> Tensor:
    """Blending weights of a span: rising over ``before`` samples shared with the span before, falling over ``after``.

    Of the shared samples the outer ``margin`` weigh nothing, being computed without what lies beyond them.
    """

    def rise(shared: int) -> Tensor:
        inner = min(margin, (shared - 1) // 2)
        return ((torch.arange(shared) + 0.5 - inner) / (shared - 2 * inner)).clamp(0.0, 1.0)

    w = torch.ones(length)
    if before:
        w[:before] = rise(before)
    if after:
        w[length - after :] = torch.minimum(w[length - after :], 1.0 - rise(after))
    return w


def blend_weights(tiles: list[Tile], margin: int = 0) -> list[Tensor]:
    """For each tile its weights ``h,w``; over every pixel of the picture they add up to 1. ``margin`` as in :func:`ramp`."""
    rows = sorted({(t.top, t.bottom) for t in tiles})
    columns = sorted({(t.left, t.right) for t in tiles})

    def ramps(parts: list[tuple[int, int]]) -> dict[tuple[int, int], Tensor]:
        out = {}
        for i, (a, b) in enumerate(parts):
            before = max(0, parts[i - 1][1] - a) if i else 0
            after = max(0, b - parts[i + 1][0]) if i + 1 < len(parts) else 0
            out[a, b] = ramp(b - a, before, after, margin)
        return out

    down, across = ramps(rows), ramps(columns)
    return [down[t.top, t.bottom][:, None] * across[t.left, t.right][None, :] for t in tiles]
