"""The layers of the small repairing network, which is a network of its own and the first stage of larger ones."""

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.color.boxes import box_sums
from sdr2hdr.models.parts.blocks import ResidualBlock, zero
from sdr2hdr.models.parts.compression import Compression
from sdr2hdr.models.parts.fused import conv
from sdr2hdr.models.parts.haar import haar, unhaar

DETAIL = 8.0
"""What the network sees is multiplied by this."""
LEAK = 0.1
"""The slope of leaky ReLUs. Plain ones died here within a hundred steps."""


class FastTrunk(nn.Module):
    """The layers of the small network, without the look. Sides are multiples of 8.

    ``channels`` are features of half size, ``deep`` those of a quarter, which go through ``blocks`` residual blocks. With ``qp``
    the features of half size are told how strongly the scene was compressed.
    """

    def build(self, channels: int, deep: int, blocks: int, qp: bool = False) -> None:
        """Make the layers."""
        self.bands = bands
        self.compression = Compression(channels) if qp else None
        self.enter = nn.Conv2d(36, channels, 3, padding=1)
        self.down = nn.Conv2d(channels, deep, 3, stride=2, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(deep, LEAK) for _ in range(blocks)))
        self.up = nn.Conv2d(deep, 4 * channels, 1)
        self.detail = ResidualBlock(channels, LEAK)
        self.leave = nn.Conv2d(channels, 12, 3, padding=1)
        self.start()

    def start(self) -> None:
        """Nothing is added at first. Blocks beyond the second begin as the identity, so that a smaller network can grow."""
        for part in (self.enter, self.down, self.body, self.up, self.detail):
            for m in part.modules():
                if isinstance(m, nn.Conv2d):
                    nn.init.kaiming_normal_(m.weight)
                    nn.init.zeros_(cast(Tensor, m.bias))
        for block in (*self.body, self.detail):
            block.conv2.weight.data.mul_(0.3)
        for block in list(self.body)[2:]:
            zero(cast(ResidualBlock, block).conv2)
        zero(self.leave)
        if self.compression is not None:
            self.compression.start()

    def added(self, frames: Tensor, which: range, qp: Tensor | None = None) -> Iterator[Tensor]:
        told = None
        if self.compression is not None:
            told = self.compression(
                frames.new_full((len(frames),), torch.nan) if qp is None else qp
            )
        for seen in self.bands(frames, which, self.enter.weight.dtype):
            x = conv(self.enter, seen, leak=LEAK)
            x = x if told is None else told(x)
            y = self.body(conv(self.down, x, leak=LEAK))
            y = self.detail(F.leaky_relu_(x + F.pixel_shuffle(conv(self.up, y), 2), LEAK))
            yield unhaar(conv(self.leave, y).float())


def bands(frames: Tensor, which: range, dtype: torch.dtype) -> Iterator[Tensor]:
    """What the network sees of each of the frames ``which`` of ``B,T,3,H,W``: Haar bands ``B,36,H/2,W/2`` of the frame and of how
    its neighbours differ from it.

    The low band is what it differs from its surroundings: damage is in the detail, a tenth of a picture's range.
    """
    known: dict[int, Tensor] = {}
    for near in neighbours(which, frames.shape[1]):
        known = {n: known[n] if n in known else DETAIL * haar(frames[:, n].float()) for n in near}
        before, middle, after = (known[n] for n in near)
        low, rest = middle[:, :3], middle[:, 3:]
        padded, ones = (F.pad(p, (4, 4, 4, 4)) for p in (low, torch.ones_like(low[:, :1])))
        low = low - box_sums(padded, 9) / box_sums(ones, 9)
        found = torch.cat([low, rest, before - middle, after - middle], dim=1)
        yield found.to(dtype).contiguous(memory_format=torch.channels_last)


def neighbours(which: range, count: int) -> Iterator[tuple[int, int, int]]:
    """The frames before, at and after each of ``which`` of ``count``; a scene's first and last frames are repeated."""
    for t in which:
        yield max(t - 1, 0), t, min(t + 1, count - 1)
