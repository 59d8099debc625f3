"""Inputs of models besides a tile's frames: the thumbnail of the whole picture, and noise."""

import torch
import torch.nn.functional as F
from torch import Tensor

_MASK = 0xFFFFFFFF


def thumbnail(frames: Tensor, size: int) -> Tensor:
    """The whole picture at a fixed size: ``B,T,3,H,W`` to ``B,T,3,size,size`` by area averaging, whatever the aspect ratio."""
    b, t = frames.shape[:2]
    return F.adaptive_avg_pool2d(frames.flatten(0, 1), size).view(b, t, 3, size, size)


def field(
    channels: int, size: tuple[int, int], at: tuple[int, int] = (0, 0), seed: int = 0
) -> Tensor:
    """Normally distributed numbers ``1,channels,h,w``, float32 on the CPU, for the cells from row and column ``at`` on.

    Each number follows from (seed, channel, row, column) alone: a hash of them (Wellons' lowbias32) through the transform of Box
    and Muller. So it is the same on every machine, in every run and frame, and a tile's noise is a part of the picture's.
    """
    rows, columns = (
        torch.arange(a, a + n, dtype=torch.int64) for a, n in zip(at, size, strict=True)
    )
    cells = _mixed(_mixed(rows + seed * 0x9E3779B1)[:, None] + columns)
    layers = []
    for channel in range(channels):
        first, second = (_mixed(cells + 2 * channel + i + 1) for i in range(2))
        radius = (-2 * ((first.double() + 0.5) / 2**32).log()).sqrt()
        layers.append(radius * (second.double() * (2 * torch.pi / 2**32)).cos())
    return torch.stack(layers)[None].float()


def _mixed(x: Tensor) -> Tensor:
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
