"""Noise that belongs to places of the picture: the same on every machine, in every run, in every tile and in every frame."""

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def field(channels: int, size: tuple[int, int], at: tuple[int, int] = (0, 0), seed: int = 0) -> Tensor:
    """Normally distributed numbers ``1,channels,h,w`` float32 on the CPU, of the places ``at`` (row, column) and on.

    Each number follows from (seed, channel, row, column) alone: a hash of them (Wellons' lowbias32), through Box and Muller's
    transform. So a tile's noise is the part of the picture's that lies in the tile.
    """
    rows, columns = (torch.arange(a, a + n, dtype=torch.int64) for a, n in zip(at, size, strict=True))
    place = _mixed(_mixed(rows + seed * 0x9E3779B1)[:, None] + columns)
    layers = []
    for channel in range(channels):
        first, second = (_mixed(place + 2 * channel + i + 1) for i in range(2))
        radius = (-2 * ((first.double() + 0.5) / 2**32).log()).sqrt()
        layers.append(radius * (second.double() * (2 * torch.pi / 2**32)).cos())
    return torch.stack(layers)[None].float()


def _mixed(x: Tensor) -> Tensor:
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
