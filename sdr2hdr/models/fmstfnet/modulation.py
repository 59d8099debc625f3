"""CGLFM: the small picture's features, modulated by what the whole picture shows (section II-A)."""

from typing import cast

import torch
from torch import Tensor, nn

from sdr2hdr.models.fmstfnet.fourier import Conditions, FeatureConditions, at_place
from sdr2hdr.models.parts.blocks import ResidualBlock
from sdr2hdr.models.parts.fused import conv


class Modulation(nn.Module):
    """Two convolutions, FiLM for the whole picture (eq. 1), then for every position (eq. 2), each before a residual block."""

    def __init__(self, channels: int, condition: int, local: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(3, channels, 3, padding=1),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.conditions = Conditions(local)
        self.whole = nn.Linear(Conditions.GLOBAL + condition, 2 * channels)
        self.place = nn.Conv2d(Conditions.LOCAL, 2 * channels, 1) if local else None
        self.between = ResidualBlock(channels)
        self.after = ResidualBlock(channels)

    def forward(
        self, low: Tensor, thumb: Tensor, look: Tensor | None, place: Tensor | None
    ) -> Tensor:
        """F^t ``B,C,h,w`` of the small picture ``B,3,h,w``; the scene's ``look B,V`` is another condition."""
        dtype = self.conv1.weight.dtype
        x = (2.0 * low - 1.0).to(dtype, memory_format=torch.channels_last)
        x = conv(self.conv2, conv(self.conv1, x, relu=True), relu=True)
        vector, conditions = self.conditions(thumb)
        vector = vector if look is None else torch.cat([vector, look.float()], dim=1)
        a, b = self.whole(vector.to(dtype))[:, :, None, None].chunk(2, dim=1)
        x = self.between(x * (1 + a) + b)
        if self.place is not None:
            seen = at_place(conditions, place, (x.shape[2], x.shape[3])).to(
                dtype, memory_format=torch.channels_last
            )
            a, b = self.place(seen).chunk(2, dim=1)
            x = x * (1 + a) + b
        return cast(Tensor, self.after(x))


class PrintedModulation(nn.Module):
    """CGLFM as printed: the conditions come from the features themselves, and F^t is the result of eq. 2."""

    def __init__(self, channels: int, local: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(3, channels, 3, padding=1),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.conditions = FeatureConditions(channels, local)
        self.whole = nn.Linear(channels, 2 * channels)
        self.place = nn.Conv2d(channels, 2 * channels, 1) if local else None

    def forward(self, low: Tensor) -> Tensor:
        """F^t ``B,C,h,w`` of the small picture ``B,3,h,w``."""
        dtype = self.conv1.weight.dtype
        x = low.to(dtype, memory_format=torch.channels_last)
        x = conv(self.conv2, conv(self.conv1, x, relu=True), relu=True)
        vector, where = self.conditions(x)
        a, b = self.whole(vector.to(dtype))[:, :, None, None].chunk(2, dim=1)
        x = a * x + b
        if self.place is not None and where is not None:
            a, b = self.place(where.to(dtype)).chunk(2, dim=1)
            x = a * x + b
        return cast(Tensor, x)
