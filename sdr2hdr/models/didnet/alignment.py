"""Temporal-spatial alignment and fusion (section III-C): seven frames to the features of the middle one."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.parts.blocks import ResidualBlock, start_with_detail
from sdr2hdr.models.parts.deform import TAPS, deform_conv2d

NEIGHBOURS = 3
"""Frames seen before and after the one that is made."""
FRAMES = 2 * NEIGHBOURS + 1


def around(t: int, count: int) -> list[int]:
    """The numbers of the frames that are seen for frame ``t`` of ``count``; at the ends the outermost frame is repeated."""
    return [min(max(i, 0), count - 1) for i in range(t - NEIGHBOURS, t + NEIGHBOURS + 1)]


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.ReLU())


def _up(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1), nn.ReLU())


class OffsetNet(nn.Module):
    """The small U-net: offsets and masks of every input channel, from all frames at once. Sizes are multiples of 8.

    Depth, skips by concatenation and transposed convolutions are STDF's (Deng et al., AAAI 2020), on which the paper
    builds. The masks are STDF's, too; without ``masks`` there are only the offsets of the paper's eq. 7.
    """

    def __init__(self, inputs: int, channels: int, masks: bool = True) -> None:
        super().__init__()
        c = channels
        self.enter = _conv(inputs, c)
        self.down1, self.down2 = (nn.Sequential(_conv(c, c, 2), _conv(c, c)) for _ in range(2))
        self.bottom = nn.Sequential(_conv(c, c, 2), _conv(c, c), _up(c))
        self.up2, self.up1 = (nn.Sequential(_conv(2 * c, c), _up(c)) for _ in range(2))
        self.leave = _conv(c, c)
        # two convolutions are STDF's one: a slice of its result would cost a copy of all gradients
        self.offset = nn.Conv2d(c, 2 * TAPS * inputs, 3, padding=1)
        self.mask = nn.Conv2d(c, TAPS * inputs, 3, padding=1) if masks else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Offsets ``B,G*9*2,H,W`` in pixels and masks 0..1 ``B,G*9,H,W``, if there are any, of frames ``B,G,H,W``."""
        full = self.enter(x)
        half = self.down1(full)
        quarter = self.down2(half)
        y = self.up2(torch.cat([self.bottom(quarter), quarter], dim=1))
        y = self.up1(torch.cat([y, half], dim=1))
        y = self.leave(y)
        return self.offset(y), None if self.mask is None else self.mask(y).sigmoid()


class Alignment(nn.Module):
    """Temporal-spatial alignment and fusion (section III-C): deformable convolution of the raw frames, then residual blocks."""

    def __init__(
        self, channels: int, offset_channels: int, blocks: int = 2, masks: bool = True
    ) -> None:
        super().__init__()
        inputs = 3 * FRAMES
        self.offsets = OffsetNet(inputs, offset_channels, masks)
        self.align = nn.Conv2d(
            inputs, channels, 3, padding=1
        )  # only its kernel and bias are used; sampling is deformed
        self.fuse = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))

    def initialise(self) -> None:
        """Nothing moved and half of every tap, once all convolutions keep their input's variance."""
        nets = self.offsets
        for layer in (self.align, cast(nn.Conv2d, nets.enter[0])):
            start_with_detail(layer)
        self.align.weight.data.mul_(3.0)
        for m in nets.modules():  # each ReLU takes half of the variance, each enlargement more
            if isinstance(m, nn.ConvTranspose2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
                m.weight.data.mul_(2.0)
            elif isinstance(m, nn.Conv2d):
                m.weight.data.mul_(2**0.5)
        for head in (nets.offset, nets.mask):
            if head is not None:
                nn.init.zeros_(head.weight)
        for block in self.fuse:
            cast(ResidualBlock, block).conv2.weight.data.mul_(0.1)

    def forward(self, frames: Tensor, still: bool = False) -> Tensor:
        """Fused features ``B,C,H,W`` of the frames ``B,21,H,W`` (float32, frame by frame).

        ``still`` keeps the offsets at 0 and the masks, if there are any, at 1/2, their initial values, which trains many
        times faster.
        """
        weight, bias = self.align.weight, self.align.bias
        seen = frames.to(weight.dtype, memory_format=torch.channels_last)
        if still:
            begun = weight if self.offsets.mask is None else 0.5 * weight
            aligned = F.conv2d(seen, begun, bias, padding=1)
        else:
            offset, mask = self.offsets(seen)
            aligned = deform_conv2d(frames, offset, mask, weight, bias)
        out: Tensor = self.fuse(F.relu(aligned))
        return out
