"""Layers that several networks share."""

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """``x + conv2(relu(conv1(x)))``, 3x3, no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(F.relu_(self.conv1(x)))
        return y.add_(x) if not y.requires_grad else y + x


def thumbnail(frames: Tensor, size: int) -> Tensor:
    """The whole picture at a fixed size: ``B,T,3,H,W`` to ``B,T,3,size,size`` by area averaging, whatever the aspect ratio."""
    b, t = frames.shape[:2]
    return F.adaptive_avg_pool2d(frames.flatten(0, 1), size).view(b, t, 3, size, size)
