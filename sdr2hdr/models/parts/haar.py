"""The Haar transform, by which a picture becomes bands of half size without loss."""

import torch
import torch.nn.functional as F
from torch import Tensor


def haar(x: Tensor) -> Tensor:
    """The orthonormal Haar transform: ``B,C,H,W`` to low, horizontal, vertical and diagonal bands ``B,4C,H/2,W/2``."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    top, bottom, left, right = a + b, c + d, a - b, c - d
    return torch.cat([top + bottom, left + right, top - bottom, left - right], dim=1) * 0.5


def unhaar(bands: Tensor) -> Tensor:
    """Back from :func:`haar`."""
    low, across, down, diagonal = (bands * 0.5).chunk(4, dim=1)
    top, bottom, left, right = low + down, low - down, across + diagonal, across - diagonal
    corners = torch.stack([top + left, top - left, bottom + right, bottom - right], dim=2)
    return F.pixel_shuffle(corners.flatten(1, 2), 2)
