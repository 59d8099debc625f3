"""What a repair of compressed pictures gains and costs: ringing, detail, and clipped areas."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.metrics.filters import luma

EDGE = 0.08
"""A step of Y' codes between neighbours that is an edge of the truth."""

NEAR, FLAT = 4, 0.008
"""Ringing is looked for within so many pixels of an edge, where the truth itself has no more detail than this."""

CLIPPED = 250 / 255
"""An SDR channel of at least this code has been clipped."""

LEAST = 50
"""Pixels of the smallest clipped area that counts."""


def detail(picture: Tensor) -> Tensor:
    """What a picture ``3,H,W`` has of Y' beyond the mean of 5x5 pixels, ``H,W``."""
    y = luma(picture.float())[None, None]
    return (y - F.avg_pool2d(F.pad(y, (2, 2, 2, 2), mode="replicate"), 5, 1))[0, 0]


def ringing(result: Tensor, truth: Tensor) -> float:
    """The rms of detail, in codes of 1023, in flat places of the truth near its edges; NaN if there are none.

    Both are ``3,H,W`` of codes 0..1. An echo of an edge is all that detail can be there.
    """
    edges = _near(_steps(luma(truth.float())) > EDGE, NEAR)
    own = detail(truth)
    flat = own.abs() < FLAT
    where = edges & flat & ~_near(_steps(luma(truth.float())) > EDGE / 2, 2)
    if not where.any():
        return float("nan")
    return 1023 * float((detail(result) - own)[where].square().mean().sqrt())


def detail_kept(result: Tensor, base: Tensor) -> float:
    """The energy of a result's detail over that of its base's, both ``3,H,W`` of codes; 1 is all of it."""
    return float(detail(result).square().sum() / detail(base).square().sum().clamp_min(1e-12))


class Clipped(NamedTuple):
    """What a result shows inside a clipped area, or the means over several areas, in PQ codes 0..1 of luma.

    ``correlation`` with the truth, of what is left in both after a straight line over the SDR luma; ``std``; ``error``, the
    absolute difference of the area's mean from the truth's; ``mse``, the mean square of the difference from the truth.
    """

    correlation: float
    std: float
    error: float
    mse: float


def clipped(result: Tensor, truth: Tensor, sdr: Tensor) -> Clipped | None:
    """Means over the clipped areas of the SDR picture, all ``3,H,W``; None if it has none."""
    here, there, seen = luma(result.float()), luma(truth.float()), luma(sdr.float())
    found = areas(sdr.amax(0) >= CLIPPED)
    if not found:
        return None
    each = [torch.cat(inside(here[a][None], there[a][None], seen[a][None])) for a in found]
    return Clipped(*torch.stack(each).mean(0).tolist())


def inside(result: Tensor, truth: Tensor, sdr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The figures ``A`` of :class:`Clipped`, area by area, of the luma of their pixels ``A,N``."""
    s = sdr - sdr.mean(1, keepdim=True)
    power = s.square().sum(1, keepdim=True).clamp_min(1e-9)
    means = result.mean(1, keepdim=True), truth.mean(1, keepdim=True)
    left, right = (
        v - m - s * ((v * s).sum(1, keepdim=True) / power)
        for v, m in zip((result, truth), means, strict=True)
    )
    norm = (left.norm(dim=1) * right.norm(dim=1)).clamp_min(1e-9)
    return (
        (left * right).sum(1) / norm,
        result.std(1),
        (means[0] - means[1]).abs()[:, 0],
        (result - truth).square().mean(1),
    )


def areas(mask: Tensor) -> list[Tensor]:
    """The connected areas ``H,W`` (by sides and corners) of a mask that have at least ``LEAST`` pixels."""
    numbers = torch.arange(1, mask.numel() + 1, dtype=torch.float64).view(mask.shape) * mask
    while True:
        spread = F.max_pool2d(numbers[None], 3, 1, 1)[0] * mask
        if torch.equal(spread, numbers):
            break
        numbers = spread
    counts = torch.bincount(numbers.long().flatten())
    return [numbers == n for n in (counts >= LEAST).nonzero()[:, 0].tolist() if n]


def _steps(y: Tensor) -> Tensor:
    across = F.pad(y.diff(dim=1).abs(), (0, 1))
    down = F.pad(y.diff(dim=0).abs(), (0, 0, 0, 1))
    return torch.maximum(across, down)


def _near(mask: Tensor, reach: int) -> Tensor:
    grown = F.max_pool2d(mask[None].float(), 2 * reach + 1, 1, reach)
    return grown[0] > 0
