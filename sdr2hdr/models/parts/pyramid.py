"""A pyramid: a small picture, and the detail of every larger size."""

import itertools

import torch.nn.functional as F
from torch import Tensor


def smaller(x: Tensor) -> Tensor:
    """``B,C,H,W`` at half size: binomial means 1 3 3 1, whose pixels lie where :func:`larger` expects them.

    Sides are even. Beyond the border the outermost pixels are repeated.
    """
    c = x.shape[1]
    taps = (x.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8).repeat(c, 1)
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    across = F.conv2d(x, taps[:, None, None, :], stride=(1, 2), groups=c)
    return F.conv2d(across, taps[:, None, :, None], stride=(2, 1), groups=c)


def larger(x: Tensor) -> Tensor:
    """``B,C,H,W`` at twice the size, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def gaussian(x: Tensor, levels: int) -> list[Tensor]:
    """The picture ``B,C,H,W`` at ``levels + 1`` sizes, the smallest first; sides are multiples of ``2**levels``."""
    sizes = [x]
    for _ in range(levels):
        sizes.insert(0, smaller(sizes[0]))
    return sizes


def take_apart(x: Tensor, levels: int) -> tuple[Tensor, list[Tensor]]:
    """The smallest picture, and the detail of each larger size, the smallest first."""
    sizes = gaussian(x, levels)
    return sizes[0], [b - larger(a) for a, b in itertools.pairwise(sizes)]
