"""The parts of KPNet: the function R, the fusion of the sizes and its attention, under their published names.

Each has two forms: that of the published code, and that of the paper's equations (``printed``).
"""

from collections import OrderedDict
from itertools import combinations
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.parts.precision import Float32BatchNorm2d

_SHARES = (0.4, 0.3, 0.3)
"""The weights of the half, quarter and full size in the paper's plain fusion (eq. 15; section 5.3.1)."""


def conv(inputs: int, outputs: int, size: int, relu: bool, *, norm: bool = False) -> nn.Sequential:
    """A convolution of the same picture size under the published name ``conv``, with a ReLU or without; ``norm`` puts a batch
    normalisation between them."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv", nn.Conv2d(inputs, outputs, size, padding=size // 2))
    ]
    if norm:
        layers.append(("norm", Float32BatchNorm2d(outputs)))
    return nn.Sequential(OrderedDict([*layers, ("relu", nn.ReLU())] if relu else layers))


def up(channels: int, relu: bool) -> nn.Sequential:
    """Twice the size by pixel shuffle."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


def tail(channels: int, relu: bool) -> nn.Sequential:
    """The tail's two convolutions before upsampling, the first with a ReLU or without."""
    return nn.Sequential(conv(channels, channels, 3, relu), conv(channels, channels, 1, False))


class Dislocation(nn.Module):
    """A step of the published code that the paper lacks: two convolutions, and a 1x1 convolution over all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.fuse = nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.conv1(x)) + x
        b = F.relu(self.conv2(a))
        out: Tensor = self.fuse(torch.cat([a, b, x], dim=1))
        return out


class Split(nn.Module):
    """The split into high and low frequencies of eq. 10, the low ones at half size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.h2l = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.h2h = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.h2h(x), self.h2l(F.avg_pool2d(x, 2))


class Recovery(nn.Module):
    """R: compression damage and clipped light (eq. 10 to 12). Sizes must be even. ``norm`` is table 4's normalisation.

    As ``printed`` the second convolutions of eq. 11 have a ReLU as well, and eq. 12 begins with ReLU and 1x1.
    """

    def __init__(self, channels: int, norm: bool, printed: bool = False) -> None:
        super().__init__()

        def layer(size: int, relu: bool) -> nn.Sequential:
            return conv(channels, channels, size, relu, norm=norm)

        self.split_hl = Split(channels)
        self.conv_h, self.conv_l = (
            nn.Sequential(layer(3, True), layer(3, printed)) for _ in range(2)
        )
        self.up_sampel = up(channels, relu=False)
        self.refine = (
            nn.Sequential(nn.ReLU(), layer(1, True), layer(3, False))
            if printed
            else nn.Sequential(layer(3, True), layer(1, True))
        )

    def forward(self, x: Tensor) -> Tensor:
        high, low = self.split_hl(x)
        out: Tensor = self.refine(self.conv_h(high) + self.up_sampel(self.conv_l(low)) + x)
        return out


class PublishedAttention(nn.Module):
    """Coordinate attention as published: means over whole rows and columns, so a tile has other means than its frame.

    As ``printed`` (eq. 20) one activation stands for batch normalisation and hard swish: ReLU, "the activation function of all
    networks" (section 5.1).
    """

    def __init__(self, channels: int, printed: bool = False) -> None:
        super().__init__()
        hidden = max(8, channels // 32)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = None if printed else Float32BatchNorm2d(hidden)
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        rows, columns = x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True).transpose(2, 3)
        both = self.conv1(torch.cat([rows, columns], dim=2))
        both = F.relu(both) if self.bn1 is None else F.hardswish(self.bn1(both))
        rows, columns = both[:, :, :height], both[:, :, height:]
        out: Tensor = (
            x * self.conv_w(columns.transpose(2, 3)).sigmoid() * self.conv_h(rows).sigmoid()
        )
        return out


class WindowAttention(nn.Module):
    """Coordinate attention over the nearest ``2 reach + 1`` positions of a row and of a column instead of all.

    What a position sees does not depend on the size of the picture or tile around it. Without batch normalisation, which section
    5.3.2 finds harmful elsewhere and which would be one more thing that differs between training and use.
    """

    def __init__(self, channels: int, reach: int = 16) -> None:
        super().__init__()
        hidden = max(8, channels // 32)
        self.reach = reach
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        r, s = (
            self.reach,
            self.conv1(x),
        )  # the mean of a 1x1 convolution is the 1x1 convolution of the mean
        rows = F.avg_pool2d(s, (1, 2 * r + 1), stride=1, padding=(0, r), count_include_pad=False)
        columns = F.avg_pool2d(s, (2 * r + 1, 1), stride=1, padding=(r, 0), count_include_pad=False)
        out: Tensor = (
            x
            * self.conv_w(F.hardswish(columns)).sigmoid()
            * self.conv_h(F.hardswish(rows)).sigmoid()
        )
        return out


class Residual(nn.Module):
    """``x + relu(conv2(relu(conv1(x))))``, the residual part of eq. 17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3, True)
        self.conv2 = conv(channels, channels, 3, True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(self.conv1(x))
        return out


class Fusion(nn.Module):
    """The information fusion module (eq. 16, 17) at half size, with the two convolutions that the paper counts to the tail.

    ``kind`` is ``pairs``, or one of table 2's: ``single`` (each size alone through T), ``sum`` (eq. 15), or ``add`` (without
    weights). Of two sizes there is one pair. As ``printed`` the tail's convolutions have no ReLU.
    """

    def __init__(
        self, channels: int, attention: str, kind: str, sizes: int, printed: bool = False
    ) -> None:
        super().__init__()
        self.kind = kind
        if kind in ("pairs", "single"):
            inputs = 2 * channels if kind == "pairs" else channels
            self.conv_1x1Share = nn.Sequential(conv(inputs, channels, 1, True))
            count = 1 if kind == "pairs" and sizes == 2 else sizes
            self.names = ("conv1", "conv2", "conv3")[:count]
            for name in self.names:
                self.add_module(name, nn.Sequential(Residual(channels)))
            self.nm_att = (
                PublishedAttention(channels, printed)
                if attention == "published"
                else WindowAttention(channels)
            )
        self.refine = tail(channels, relu=not printed)

    def forward(self, *features: Tensor) -> Tensor:
        """Half, quarter and full size, or half and full size, all ``B,C,h,w``."""
        if self.kind in ("pairs", "single"):
            inputs = list(features)
            if self.kind == "pairs":
                inputs = [torch.cat(pair, dim=1) for pair in combinations(features, 2)]
            mixed = sum(
                self.nm_att(self.get_submodule(name)(self.conv_1x1Share(x)))
                for name, x in zip(self.names, inputs, strict=True)
            )
        else:
            shares = _SHARES if self.kind == "sum" else (1.0,) * len(features)
            mixed = sum(share * x for share, x in zip(shares, features, strict=True))
        out: Tensor = self.refine(F.relu(cast(Tensor, mixed)))
        return out
