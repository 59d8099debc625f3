"""Wavelet attention (section III-E)."""

import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.parts.haar import haar, unhaar


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
