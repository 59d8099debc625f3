"""KPNet (Wang et al., "Knowledge-inspired parallel network" for compressed SDR): one frame in, the same frame out.

Features at full, half and quarter size each pass a knowledge-inspired block ``R(u) * X(u) + Y(u)`` (section 4.2), whose R, X and
Y are one set of weights for all three sizes. The three results meet at half size in pairs (eq. 16, 17), are weighed by coordinate
attention (eq. 18 to 24) and brought back to full size. Parameter names are the published ones.
"""

from collections import OrderedDict
from dataclasses import replace
from itertools import combinations
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import VECTOR
from sdr2hdr.models.base.steady import STEADY_REACH
from sdr2hdr.models.model import Window
from sdr2hdr.models.parts.blocks import keep_variance, start_with_detail, zero
from sdr2hdr.models.parts.film import Film, GlobalContext, films
from sdr2hdr.models.parts.precision import Float32BatchNorm2d, Float32Conv2d
from sdr2hdr.models.spec import ModelSpec, State

_TITLE = "Knowledge-inspired parallel network for compressed SDR"
_PAPER = "Wang et al., KPNet: knowledge-inspired parallel network for compressed-SDR to HDR video reconstruction"

KPNET_SPEC = ModelSpec(
    name="kpnet",
    title=_TITLE,
    paper=_PAPER,
    past=STEADY_REACH,
    future=STEADY_REACH,
    block=4,
    multiple=8,
    stateful=True,
    thumb=64,
    look=VECTOR,
    state_from_thumbs=True,
    tile=768,
    overlap=128,
    margin=48,
    tolerance=0.004,
    precisions=("float32", "bfloat16", "float16"),
    bytes_per_pixel=3200,
    config={"attention": "window", "base": "look", "context": True, "blocks": 3, "fusion": "pairs"},
    published={"attention": "published", "base": "none", "context": False, "channels": 64},
)
KPNET_LIGHT_SPEC = replace(
    KPNET_SPEC,
    name="kpnet-light",
    title=f"{_TITLE}, one block",
    paper=f"{_PAPER}, table 2, row 5",
    multiple=4,
    overlap=32,
    margin=14,
    tolerance=0.0001,
    config={"base": "look", "context": True, "blocks": 1},
    published={"base": "none", "context": False, "channels": 64},
)

_FILMS = 2  # layers that the whole picture scales and shifts: after the head, before the last convolutions
_SHARES = (0.4, 0.3, 0.3)
"""The weights of the half, quarter and full size in the paper's plain fusion (eq. 15; section 5.3.1)."""
_WHOLE = 8192
"""Tiles of a form whose attention sees whole rows and columns: a picture as it is, if memory allows."""


def _conv(inputs: int, outputs: int, size: int, relu: bool, *, norm: bool = False) -> nn.Sequential:
    """A convolution of the same picture size under the published name ``conv``, with a ReLU or without; ``norm`` puts a batch
    normalisation between them."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv", nn.Conv2d(inputs, outputs, size, padding=size // 2))
    ]
    if norm:
        layers.append(("norm", Float32BatchNorm2d(outputs)))
    return nn.Sequential(OrderedDict([*layers, ("relu", nn.ReLU())] if relu else layers))


def _up(channels: int, relu: bool) -> nn.Sequential:
    """Twice the size by pixel shuffle."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


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
    """R: compression damage and clipped light (eq. 10 to 12). Sizes must be even. ``norm`` is table 4's normalisation."""

    def __init__(self, channels: int, norm: bool) -> None:
        super().__init__()

        def layer(size: int, relu: bool) -> nn.Sequential:
            return _conv(channels, channels, size, relu, norm=norm)

        self.split_hl = Split(channels)
        self.conv_h, self.conv_l = (
            nn.Sequential(layer(3, True), layer(3, False)) for _ in range(2)
        )
        self.up_sampel = _up(channels, relu=False)
        self.refine = nn.Sequential(layer(3, True), layer(1, True))

    def forward(self, x: Tensor) -> Tensor:
        high, low = self.split_hl(x)
        out: Tensor = self.refine(self.conv_h(high) + self.up_sampel(self.conv_l(low)) + x)
        return out


class PublishedAttention(nn.Module):
    """Coordinate attention as published: means over whole rows and columns, so a tile has other means than its frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 32)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = Float32BatchNorm2d(hidden)
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        rows, columns = x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True).transpose(2, 3)
        both = F.hardswish(self.bn1(self.conv1(torch.cat([rows, columns], dim=2))))
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
        self.conv1 = _conv(channels, channels, 3, True)
        self.conv2 = _conv(channels, channels, 3, True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(self.conv1(x))
        return out


class Fusion(nn.Module):
    """The information fusion module (eq. 16, 17) at half size, with the two convolutions that the paper counts to the tail.

    ``kind`` is ``pairs``, or one of table 2's: ``single`` (each size alone through T), ``sum`` (eq. 15), or ``add`` (without
    weights). Of two sizes there is one pair.
    """

    def __init__(self, channels: int, attention: str, kind: str, sizes: int) -> None:
        super().__init__()
        self.kind = kind
        if kind in ("pairs", "single"):
            inputs = 2 * channels if kind == "pairs" else channels
            self.conv_1x1Share = nn.Sequential(_conv(inputs, channels, 1, True))
            count = 1 if kind == "pairs" and sizes == 2 else sizes
            self.names = ("conv1", "conv2", "conv3")[:count]
            for name in self.names:
                self.add_module(name, nn.Sequential(Residual(channels)))
            self.nm_att = (
                PublishedAttention(channels)
                if attention == "published"
                else WindowAttention(channels)
            )
        self.refine = nn.Sequential(
            _conv(channels, channels, 3, True), _conv(channels, channels, 1, False)
        )

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


class KPNet(OnBase):
    """The network. ``blocks`` is 3 (all sizes), 2 (full and half size) or 1 (the light variant: full size alone, no fusion).

    ``attention`` is ``published`` or ``window``; ``fusion`` as :class:`Fusion` has it; ``base`` as :class:`OnBase` has it.
    With ``context`` the whole picture scales and shifts the features: through the look's vector, or without a reader through
    the frame's thumbnail. As its spec's ``published`` has it, it equals the published network to rounding. ``terms`` leaves X
    or Y out of the blocks (``RXY``, ``RX``, ``RY``, ``R``), ``norm`` puts batch normalisations into R, and ``heads`` gives each
    block a picture of its own, for a loss. Sides are multiples of 8 (light: of 2, with a base of 4).
    """

    def __init__(
        self,
        attention: str = "window",
        base: str = "look",
        context: bool = True,
        blocks: int = 3,
        fusion: str = "pairs",
        channels: int = 64,
        terms: str = "RXY",
        norm: bool = False,
        heads: bool = False,
    ) -> None:
        super().__init__(base)
        if attention not in ("published", "window") or blocks not in (1, 2, 3):
            raise ValueError("attention is published or window, blocks 1, 2 or 3")
        if fusion not in ("pairs", "single", "sum", "add") or (fusion == "sum" and blocks == 2):
            raise ValueError("fusion is pairs, single, add, or for three blocks sum")
        if terms not in ("RXY", "RX", "RY", "R"):
            raise ValueError("terms is RXY, RX, RY or R")
        self.blocks = blocks

        def down() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, stride=2, padding=1)

        def two() -> nn.Sequential:
            return nn.Sequential(*(nn.Conv2d(channels, channels, 1) for _ in range(2)))

        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.recon_trunk = Recovery(channels, norm)
        self.alpha = two() if "X" in terms else None
        self.belta = two() if "Y" in terms else None
        self.dislocation_change3 = Dislocation(channels)
        if blocks > 1:
            self.down_conv1 = down()
            if blocks > 2:
                self.down_conv2 = down()
            self.down_conv3 = down()
            self.dislocation_change1 = Dislocation(channels)
            if blocks > 2:
                self.dislocation_change2 = Dislocation(channels)
                self.up_KIB2 = _up(channels, relu=False)
            self.brain = Fusion(channels, attention, fusion, blocks)
            self.up_conv2 = _up(channels, relu=True)
        self.heads = nn.ModuleList()
        for ups in (*(1, 2)[: blocks - 1], 0) if heads else ():  # half, quarter and full size
            larger = (_up(channels, relu=False) for _ in range(ups))
            self.heads.append(nn.Sequential(*larger, Float32Conv2d(channels, 3, 3, padding=1)))
        self.conv_last = (Float32Conv2d if base == "none" else nn.Conv2d)(channels, 3, 3, padding=1)
        self.context = GlobalContext(channels, _FILMS) if context and self.look is None else None
        self.modulate = (
            nn.Linear(VECTOR, 2 * _FILMS * channels) if context and self.look is not None else None
        )
        self.initialise()

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        config, found = spec.config, super().as_configured(spec)
        if config["base"] == "none":  # nothing is steadied
            found = replace(found, past=0, future=0, stateful=False)
            found = replace(found, thumb=found.thumb if config["context"] else 0)
        if config.get("attention") == "published" and config["blocks"] > 1:
            found = replace(found, tile=_WHOLE)
        return found

    def initialise(self) -> None:
        """X around 1, so that blocks do not multiply up, and nothing added to the base."""
        keep_variance(self.own_modules())
        if self.alpha is not None:
            x = cast(nn.Conv2d, self.alpha[1])
            x.weight.data.mul_(0.1)
            nn.init.ones_(cast(Tensor, x.bias))
        if self.base != "none":
            start_with_detail(self.conv_first)
            nn.init.zeros_(self.conv_last.weight)
            if self.blocks > 1:  # fusion and its attention leave a twelfth of the blocks' output
                cast(nn.Conv2d, self.up_conv2[0]).weight.data.mul_(12.0)
        if self.modulate is not None:
            zero(self.modulate)

    def block(self, u: Tensor) -> Tensor:
        """A knowledge-inspired block: ``R(u) * X(u) + Y(u)``."""
        out: Tensor = self.recon_trunk(u)
        if self.alpha is not None:
            out = out * self.alpha(u)
        return out if self.belta is None else out + self.belta(u)

    def blocks_of(self, f0: Tensor) -> list[Tensor]:
        """The blocks' results for the head's features ``B,C,H,W``: at half, quarter and full size, as many as there are."""
        found, (_, *smaller) = [], self.scaled(f0)
        if self.blocks > 1:
            found.append(self.block(self.dislocation_change1(smaller[0])))
        if self.blocks > 2:
            found.append(self.block(self.dislocation_change2(smaller[1])))
        return [*found, self.block(self.dislocation_change3(f0))]

    def scaled(self, f0: Tensor) -> list[Tensor]:
        """The features that blocks begin with, of the head's ``f0``: at full, half and quarter size, as many as there are."""
        found = [f0]
        if self.blocks > 1:
            found.append(F.relu(self.down_conv1(f0)))
        if self.blocks > 2:
            found.append(F.relu(self.down_conv2(found[-1])))
        return found

    def fused(self, f0: Tensor) -> Tensor:
        """From the head's full-size features ``B,C,H,W`` to the fused half-size features of all blocks."""
        half, *quarter, full = self.blocks_of(f0)
        raised = [self.up_KIB2(x) for x in quarter]
        out: Tensor = self.brain(half, *raised, self.down_conv3(full))
        return out

    def head(self, frame: Tensor) -> Tensor:
        """Full-size features ``B,C,H,W`` of a frame ``B,3,H,W``."""
        # the base needs the frame in float32, so the network casts its own copy
        x = frame.to(self.conv_first.weight.dtype, memory_format=torch.channels_last)
        return F.relu(self.conv_first(x))

    def block_pictures(self, frames: Tensor) -> list[Tensor]:
        """The picture ``B,T,3,H,W`` that each block alone makes of frames ``B,T,3,H,W``; with ``heads`` (section 5.3.1)."""
        features = self.blocks_of(self.head(frames.flatten(0, 1)))
        return [head(x).view(frames.shape) for head, x in zip(self.heads, features, strict=True)]

    def output(self, frame: Tensor, conditions: list[Film] | None) -> Tensor:
        """The network's output for a frame ``B,3,H,W``: codes, or a correction of the base, ``B,3,H,W``."""
        f0 = self.head(frame)
        if conditions is not None:
            f0 = conditions[0](f0)
        out = self.fused(f0) if self.blocks > 1 else self.blocks_of(f0)[0]
        if conditions is not None:
            out = conditions[1](out)
        result: Tensor = self.conv_last(self.up_conv2(out) if self.blocks > 1 else out)
        return result

    def _conditions(self, window: Window, t: int, look: Tensor | None) -> list[Film] | None:
        if self.context is not None:
            found: list[Film] = self.context(window.thumb(t))
            return found
        if self.modulate is not None and look is not None:
            return films(self.modulate(look.to(self.modulate.weight.dtype)), _FILMS)
        return None

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        out = []
        for t in window.inner:
            look, state = self.scene_look(window, t, state)
            added = self.output(window.frames[:, t], self._conditions(window, t, look))
            out.append(self.corrected(added, self.base_frame(window.frames, t), look))
        return torch.stack(out, dim=1), state
