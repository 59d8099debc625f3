"""The Haar transform, by which a picture becomes bands of half size without loss."""

import torch
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
    b, c, h, w = low.shape
    out = low.new_empty(b, c, h, 2, w, 2)
    out[..., 0, :, 0], out[..., 0, :, 1] = top + left, top - left
    out[..., 1, :, 0], out[..., 1, :, 1] = bottom + right, bottom - right
    return out.view(b, c, 2 * h, 2 * w)
