"""Gradients without steps: what lies between two codes of a source is estimated where nothing but rounding can be seen.

A mapping to HDR is steeper than the SDR picture was, and makes the steps of an 8-bit gradient two to eight codes of 10 bits
high. Where the surroundings of a pixel differ from it by no more than the source's own step, and change rarely, there is
nothing in them but a gradient and its rounding; there the pixel takes their mean. Grain, texture and edges are left alone.

Our own, in the spirit of bilateral debanding (Bhagavathy, Llach and Zhai, "Multi-scale probabilistic dithering for suppressing
contour artifacts", IEEE TIP 2009): several sizes of surroundings, of which the largest flat one counts.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.yuv import YuvLayout

BLOCK = 4
"""Pixels along the edge of a block; surroundings are judged and averaged in whole blocks."""

RADII = (1, 2, 4, 8)
"""Blocks on each side of a block: 6 to 34 pixels from its middle."""

MOST = 1.2
"""Steps that a pixel is moved by, at most."""


@dataclass(frozen=True)
class Limits:
    """How flat surroundings must be, in steps of the source.

    Up to ``far`` from a block's mean they are flat, from ``far + 0.35`` on they are not. ``busy`` is the mean change from one
    pixel to the next, both ways added: flat up to the first, not from the second on. Noise and texture change at most pixels, a
    gradient at few.
    """

    far: float
    busy: tuple[float, float]


STRENGTHS = {"auto": Limits(1.25, (0.2, 0.35)), "strong": Limits(2.25, (0.35, 0.6))}
FADE = 0.35
"""Steps over which flatness fades."""


def debanded(planes: tuple[Tensor, ...], layout: YuvLayout, strength: str) -> tuple[Tensor, ...]:
    """Integer planes ``H,W`` as float32 planes in the same unit, with the gradients in them smoothed.

    ``strength`` is a key of :data:`STRENGTHS`. No sample is moved by more than :data:`MOST` codes, and none that is black.
    """
    unit = float(1 << (layout.depth - 8))
    black = 0.0 if layout.full_range else 16.0 * unit
    lit = 3 if layout.matrix == "rgb" else 1  # planes whose least value is black
    limits = STRENGTHS[strength]
    return tuple(
        smoothed(p.float(), limits, black if i < lit else None) for i, p in enumerate(planes[:3])
    )


def smoothed(plane: Tensor, limits: Limits, black: float | None = None) -> Tensor:
    """One plane ``H,W`` in steps of the source; samples up to ``black`` stay as they are."""
    height, width = plane.shape
    x = F.pad(plane[None, None], (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
    high, low, mean = F.max_pool2d(x, BLOCK), -F.max_pool2d(-x, BLOCK), F.avg_pool2d(x, BLOCK)
    busy = F.avg_pool2d(_change(x), BLOCK)
    value, shares = mean, [x.new_ones(())]
    for radius in RADII:
        far = (_most(high, radius) - mean).maximum(mean + _most(-low, radius))
        begin, end = limits.busy
        quiet = (end - _mean(busy, radius)) / (end - begin)
        flat = ((limits.far + FADE - far) / FADE).clamp(0, 1) * quiet.clamp(0, 1)
        shares.append(shares[-1] * flat)
        value = value.lerp(_mean(mean, radius), shares[-1])
    moved = _finer(shares[1]) * (_finer(value) - x)
    if black is not None:
        moved = moved.masked_fill(x <= black, 0.0)
    return (x + moved.clamp(-MOST, MOST))[0, 0, :height, :width]


def _change(x: Tensor) -> Tensor:
    """How much each pixel of ``1,1,H,W`` differs from the one right of it and the one below it, added."""
    after = F.pad(x, (0, 1, 0, 1), mode="replicate")
    return (after[..., :-1, 1:] - x).abs() + (after[..., 1:, :-1] - x).abs()


def _most(x: Tensor, radius: int) -> Tensor:
    """The largest of the blocks around each block."""
    return F.max_pool2d(x, 2 * radius + 1, 1, radius)  # pads with minus infinity


def _mean(x: Tensor, radius: int) -> Tensor:
    """The mean of the blocks around each block; a picture's border is repeated outwards."""
    return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), 2 * radius + 1, 1)


def _finer(x: Tensor) -> Tensor:
    """Blocks to pixels, linearly between the blocks' middles."""
    return F.interpolate(x, scale_factor=float(BLOCK), mode="bilinear", align_corners=False)
