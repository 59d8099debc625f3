"""The visibility of a block codec's 8x8 grid."""

import math

import torch
from torch import Tensor

from sdr2hdr.metrics.filters import luma

GRID = 8
MOST = 0.02
"""Steps are cut off there: the edges of things, which lie anywhere, weigh no more than the small steps that blocks leave."""


def blockiness(codes: Tensor, grid: int = GRID) -> float:
    """The mean step of Y' across the borders of an 8x8 grid, over the mean step everywhere else; 1 is no grid at all.

    ``codes`` is one picture ``3,H,W`` of R'G'B' 0..1, SDR or PQ, whose blocks begin at its top left corner, at least two blocks
    each way. No truth is needed: compare a result with its source, or two results. Blocks of 16 and 32 lie on the same grid.

    The measure is B over A of Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed images"
    (2002), eq. 1 and 2, on the steps of :func:`grid_steps`.
    """
    borders, inside = grid_steps(luma(codes.clamp(0, 1).float()), grid)
    rest, here = float(inside), float(borders)
    if rest < 1e-7:  # flat inside its blocks
        return 1.0 if here < 1e-7 else here / 1e-7
    return here / rest


def grid_steps(y: Tensor, grid: int = GRID, most: float = MOST) -> tuple[Tensor, Tensor]:
    """The mean steps of Y' ``...,H,W`` across the borders of a grid that begins at the top left corner, and everywhere else.

    Both ``...``; steps are cut off at ``most``, and rows and columns count alike.
    """
    borders, inside = list[Tensor](), list[Tensor]()
    for dim in (-2, -1):
        steps = y.diff(dim=dim).abs().clamp_max(most).transpose(dim, -1)
        here = steps[..., grid - 1 :: grid]
        total, border = steps.sum((-2, -1)), here.sum((-2, -1))
        count, some = (math.prod(x.shape[-2:]) for x in (steps, here))
        borders.append(border / some)
        inside.append((total - border) / (count - some))
    return torch.stack(borders).mean(0), torch.stack(inside).mean(0)
