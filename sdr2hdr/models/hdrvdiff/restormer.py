"""Attention between channels (Zamir et al., Restormer), within areas of 64 pixels between which it changes smoothly.

Over a whole picture it would weigh channels by the whole tile, and neighbouring tiles would differ. Each area has its own
weights; between the middles of areas the results are blended, so that no edge shows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.hdrvdiff.denoiser import even

HEADS_OF = 8
"""Channels a head."""


def channel_attention(q: Tensor, k: Tensor, v: Tensor, sharpness: Tensor, area: int) -> Tensor:
    """``softmax(q k^T) v`` over the channels of each head, ``B,C,h,w``, with weights of areas of ``area`` positions a side.

    ``sharpness`` is a number a head. If a side is not a multiple of ``area``, its last area is a part of one. An ``area`` of 0 is
    the whole picture, as in Restormer.
    """
    b, c, height, width = q.shape
    if not area:
        q, k, v = (x.reshape(b, c // HEADS_OF, HEADS_OF, -1) for x in (q, k, v))
        q, k = (F.normalize(x.float(), dim=-1) for x in (q, k))
        weights = torch.softmax(q @ k.transpose(-1, -2) * sharpness.float()[:, None, None], dim=-1)
        return (weights.to(v.dtype) @ v).view(b, c, height, width)
    heads, half = c // HEADS_OF, area // 2
    pad = (0, -width % area, 0, -height % area)
    q, k, v = (F.pad(x, pad) for x in (q, k, v))
    rows, columns = q.shape[2] // area, q.shape[3] // area

    def split(x: Tensor, n: int, m: int) -> Tensor:
        y = x.view(b, heads, HEADS_OF, n, area, m, area).permute(0, 3, 5, 1, 2, 4, 6)
        return y.reshape(b, n, m, heads, HEADS_OF, area * area)

    q, k = (F.normalize(split(x, rows, columns).float(), dim=-1) for x in (q, k))
    weights = torch.softmax(q @ k.transpose(-1, -2) * sharpness.float()[:, None, None], dim=-1).to(
        v.dtype
    )
    if rows == columns == 1:
        read = weights @ split(v, 1, 1)
    else:  # areas shifted by a half, each between the middles of four, whose weights it blends
        near = F.pad(
            weights.flatten(3).permute(0, 3, 1, 2).float(), (1, 1, 1, 1), mode="replicate"
        ).to(v.dtype)
        near = near.permute(0, 2, 3, 1).view(b, rows + 2, columns + 2, heads, HEADS_OF, HEADS_OF)
        shifted = split(F.pad(v, (half, half, half, half)), rows + 1, columns + 1)
        ramp = ((torch.arange(area, device=v.device) + 0.5) / area).to(v.dtype)
        read = torch.zeros_like(shifted)
        for i, down in enumerate((1 - ramp, ramp)):
            for j, across in enumerate((1 - ramp, ramp)):
                part = near[:, i : i + rows + 1, j : j + columns + 1] @ shifted
                read = read + part * (down[:, None] * across).flatten()
        rows, columns = rows + 1, columns + 1
    out = read.view(b, rows, columns, c, area, area).permute(0, 3, 1, 4, 2, 5)
    out = out.reshape(b, c, rows * area, columns * area)
    start = half if out.shape[2] > v.shape[2] else 0
    return out[..., start : start + height, start : start + width].contiguous(
        memory_format=torch.channels_last
    )


class RestormerBlock(nn.Module):
    """Attention between channels and a gated network, each on normalised features; ``area`` in positions of this size."""

    def __init__(self, channels: int, area: int) -> None:
        super().__init__()
        self.area = area
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.near = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels)
        self.sharpness = nn.Parameter(torch.ones(channels // HEADS_OF))
        self.leave = nn.Conv2d(channels, channels, 1)
        self.widen = nn.Conv2d(channels, 4 * channels, 1)
        self.gate = nn.Conv2d(4 * channels, 4 * channels, 3, padding=1, groups=4 * channels)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.near(self.qkv(even(x))).chunk(3, dim=1)
        x = x + self.leave(channel_attention(q, k, v, self.sharpness, self.area))
        a, b = self.gate(self.widen(even(x))).chunk(2, dim=1)
        out: Tensor = x + self.narrow(F.gelu(a) * b)
        return out


class ZiCA(nn.Module):
    """Zero-initialised cross attention (eq. 6): the temporal feature asks, the prior's answers, zeros let it in.

    ``control`` is the paper's alpha. The network decides whether ``zero`` starts with zeros: without that it is Restormer's
    cross attention, the third row of the paper's table 3.
    """

    def __init__(self, channels: int, prior: int, area: int, control: float = 1.0) -> None:
        super().__init__()
        self.area, self.control = area, control
        self.fit = nn.Conv2d(prior, channels, 1)
        self.ask, self.answer = (
            nn.Conv2d(channels, channels, 1),
            nn.Conv2d(channels, 2 * channels, 1),
        )
        self.sharpness = nn.Parameter(torch.ones(channels // HEADS_OF))
        self.zero = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, temporal: Tensor, prior: Tensor) -> Tensor:
        q = self.ask(even(temporal))
        k, v = self.answer(even(self.fit(prior))).chunk(2, dim=1)
        out: Tensor = temporal + self.control * self.zero(
            channel_attention(q, k, v, self.sharpness, self.area)
        )
        return out


class Joined(nn.Module):
    """The first alternative to ZiCA in the paper's table 3: temporal and prior features concatenated, and a convolution."""

    def __init__(self, channels: int, prior: int) -> None:
        super().__init__()
        self.fit, self.join = (
            nn.Conv2d(prior, channels, 1),
            nn.Conv2d(2 * channels, channels, 3, padding=1),
        )

    def forward(self, temporal: Tensor, prior: Tensor) -> Tensor:
        out: Tensor = self.join(torch.cat([temporal, self.fit(prior)], 1))
        return out
