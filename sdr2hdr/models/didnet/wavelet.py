"""Wavelet attention (section III-E)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


class WaveletAttention(nn.Module):
    """Section III-E, eq. 8: Haar down, concatenate, reduce, channel attention, back up; added to what came in.

    ``attention`` is ``whole``, with the mean over the whole picture (or tile), or ``window``, over the nearest 33x33 positions,
    which are the same in a patch, a tile and a frame.
    """

    def __init__(self, channels: int, attention: str, reach: int = 16) -> None:
        super().__init__()
        self.reach = reach if attention == "window" else None
        self.reduce = nn.Conv2d(4 * channels, channels, 1)
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)
        self.expand = nn.Conv2d(channels, 4 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(haar(x))
        s = self.squeeze(y)  # the mean of a 1x1 convolution is the 1x1 convolution of the mean
        if self.reach is None:
            s = s.mean(dim=(2, 3), keepdim=True)
        else:
            r = self.reach
            s = F.avg_pool2d(s, (1, 2 * r + 1), stride=1, padding=(0, r), count_include_pad=False)
            s = F.avg_pool2d(s, (2 * r + 1, 1), stride=1, padding=(r, 0), count_include_pad=False)
        return x + unhaar(self.expand(y * self.excite(F.relu(s)).sigmoid()))
