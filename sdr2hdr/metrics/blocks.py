"""The visibility of a block codec's 8x8 grid."""

import torch
from torch import Tensor

from sdr2hdr.metrics.filters import luma

GRID = 8


def blockiness(codes: Tensor, grid: int = GRID) -> float:
    """The mean step of Y' across the borders of an 8x8 grid, over the mean step everywhere else; 1 is no grid at all.

    ``codes`` is one picture ``3,H,W`` of R'G'B' 0..1, SDR or PQ, whose blocks begin at its top left corner, at least two blocks
    each way. No truth is needed: compare a result with its source, or two results. Blocks of 16 and 32 lie on the same grid.

    The measure is B over A of Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed images"
    (2002), eq. 1 and 2, on steps that are cut off at 0.02 so that the edges of things, which lie anywhere, weigh no more than
    the small steps that blocks leave; rows and columns count alike.
    """
    y = luma(codes.clamp(0, 1).float())
    borders, inside = [], []
    for dim in (0, 1):
        steps = y.diff(dim=dim).abs().clamp_max(0.02)
        on_border = (torch.arange(1, y.shape[dim], device=y.device) % grid) == 0
        index = on_border.nonzero()[:, 0]
        others = (~on_border).nonzero()[:, 0]
        borders.append(steps.index_select(dim, index).mean())
        inside.append(steps.index_select(dim, others).mean())
    rest = float(torch.stack(inside).mean())
    here = float(torch.stack(borders).mean())
    if rest < 1e-7:  # flat inside its blocks
        return 1.0 if here < 1e-7 else here / 1e-7
    return here / rest
