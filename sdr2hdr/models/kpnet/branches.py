"""KPNet's layers: the head, the knowledge-inspired blocks of three sizes, their fusion and the tail."""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.kpnet.blocks import Dislocation, Fusion, Recovery, conv, tail, up
from sdr2hdr.models.parts.blocks import keep_variance, start_with_detail
from sdr2hdr.models.parts.film import Film
from sdr2hdr.models.parts.precision import Float32Conv2d


class Branches(nn.Module):
    """Layers that both forms of the network have, under their published names."""

    def build(
        self,
        channels: int,
        blocks: int,
        attention: str,
        fusion: str,
        *,
        alone: bool,
        terms: str = "RXY",
        norm: bool = False,
        heads: bool = False,
        printed: bool = False,
    ) -> None:
        """Make the layers; ``alone``: the output is the picture itself. Raises ValueError for options that do not fit."""
        if attention not in ("published", "window") or blocks not in (1, 2, 3):
            raise ValueError("attention is published or window, blocks 1, 2 or 3")
        if fusion not in ("pairs", "single", "sum", "add") or (fusion == "sum" and blocks == 2):
            raise ValueError("fusion is pairs, single, add, or for three blocks sum")
        if terms not in ("RXY", "RX", "RY", "R"):
            raise ValueError("terms is RXY, RX, RY or R")
        self.blocks, self.printed = blocks, printed

        def down() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, stride=2, padding=1)

        def enter() -> nn.Module:
            return conv(channels, channels, 3, True) if self.printed else Dislocation(channels)

        def two() -> nn.Sequential:
            return nn.Sequential(*(nn.Conv2d(channels, channels, 1) for _ in range(2)))

        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.recon_trunk = Recovery(channels, norm, self.printed)
        self.alpha = two() if "X" in terms else None
        self.belta = two() if "Y" in terms else None
        self.dislocation_change3 = enter()
        if blocks > 1:
            self.down_conv1 = down()
            if blocks > 2:
                self.down_conv2 = down()
            self.down_conv3 = down()
            self.dislocation_change1 = enter()
            if blocks > 2:
                self.dislocation_change2 = enter()
                self.up_KIB2 = up(channels, relu=False)
            self.brain = Fusion(channels, attention, fusion, blocks, self.printed)
            self.up_conv2 = up(channels, relu=not self.printed)
        elif self.printed:
            self.tail = tail(channels, relu=False)
        self.heads = nn.ModuleList()
        for ups in (*(1, 2)[: blocks - 1], 0) if heads else ():  # half, quarter and full size
            larger = (up(channels, relu=False) for _ in range(ups))
            self.heads.append(nn.Sequential(*larger, Float32Conv2d(channels, 3, 3, padding=1)))
        self.conv_last = (Float32Conv2d if alone else nn.Conv2d)(channels, 3, 3, padding=1)

    def start(self, modules: Iterable[nn.Module], *, alone: bool) -> None:
        """Initialise the network's own ``modules``: X around 1, so that blocks do not multiply up, and a correction at zero."""
        keep_variance(modules)
        if self.alpha is not None:
            x = cast(nn.Conv2d, self.alpha[1])
            x.weight.data.mul_(0.1)
            nn.init.ones_(cast(Tensor, x.bias))
        if not alone:
            start_with_detail(self.conv_first)
            nn.init.zeros_(self.conv_last.weight)
            if self.blocks > 1:  # fusion and its attention leave a twelfth of the blocks' output
                cast(nn.Conv2d, self.up_conv2[0]).weight.data.mul_(12.0)

    def block(self, u: Tensor) -> Tensor:
        """A knowledge-inspired block: ``R(u) * X(u) + Y(u)``."""
        out: Tensor = self.recon_trunk(u)
        if self.alpha is not None:
            out = out * self.alpha(u)
        return out if self.belta is None else out + self.belta(u)

    def blocks_of(self, f0: Tensor) -> list[Tensor]:
        """The blocks' results for the head's features ``B,C,H,W``: at half, quarter and full size, as many as there are."""
        features = self.scaled(f0)
        if not self.printed:
            features = [step(x) for step, x in zip(self._steps(), features, strict=True)]
        full, *smaller = features
        return [self.block(x) for x in (*smaller, full)]

    def scaled(self, f0: Tensor) -> list[Tensor]:
        """The features of eq. 8, of the head's ``f0``: at full, half and quarter size, as many as there are."""
        found = [f0]
        for name in ("down_conv1", "down_conv2")[: self.blocks - 1]:
            smaller = self.get_submodule(name)(found[-1])
            found.append(smaller if self.printed else F.relu(smaller))
        if self.printed:
            found = [step(x) for step, x in zip(self._steps(), found, strict=True)]
        return found

    def _steps(self) -> list[nn.Module]:
        """What each branch has of its own, at full, half and quarter size: the published step that the paper lacks, or the
        convolution of eq. 8 under its name."""
        return [self.get_submodule(f"dislocation_change{n}") for n in (3, 1, 2)[: self.blocks]]

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
        if self.blocks == 1 and self.printed:
            out = self.tail(F.relu(out))
        if conditions is not None:
            out = conditions[1](out)
        result: Tensor = self.conv_last(self.up_conv2(out) if self.blocks > 1 else out)
        return result
