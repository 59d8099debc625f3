"""KPNet (Wang et al., "Knowledge-inspired parallel network" for compressed SDR): one frame in, the same frame out.

Features at full, half and quarter size each pass a knowledge-inspired block ``R(u) * X(u) + Y(u)`` (section 4.2), whose R, X and
Y are one set of weights for all three sizes. The three results meet at half size in pairs (eq. 16, 17), are weighed by coordinate
attention (eq. 18 to 24) and brought back to full size. Parameter names are the published ones.
"""

from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import VECTOR
from sdr2hdr.models.base.steady import STEADY_REACH
from sdr2hdr.models.kpnet.blocks import Dislocation, Fusion, Recovery, conv, tail, up
from sdr2hdr.models.model import Window
from sdr2hdr.models.parts.blocks import keep_variance, start_with_detail, zero
from sdr2hdr.models.parts.film import Film, GlobalContext, films
from sdr2hdr.models.parts.precision import Float32Conv2d
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
    overlap=128,
    margin=48,
    tolerance=0.0001,
    config={"base": "look", "context": True, "blocks": 1},
    published={"base": "none", "context": False, "channels": 64},
)

_FILMS = 2  # layers that the whole picture scales and shifts: after the head, before the last convolutions
_WHOLE = 8192
"""Tiles of a form whose attention sees whole rows and columns: a picture as it is, if memory allows."""


class KPNet(OnBase):
    """The network. ``blocks`` is 3 (all sizes), 2 (full and half size) or 1 (the light variant: full size alone, no fusion).

    ``attention`` is ``published`` or ``window``; ``fusion`` as :class:`Fusion` has it; ``base`` as :class:`OnBase` has it.
    ``equations`` are those of the ``published`` code, or as ``printed`` in the paper, where the two differ.
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
        equations: str = "published",
    ) -> None:
        super().__init__(base)
        if attention not in ("published", "window") or blocks not in (1, 2, 3):
            raise ValueError("attention is published or window, blocks 1, 2 or 3")
        if fusion not in ("pairs", "single", "sum", "add") or (fusion == "sum" and blocks == 2):
            raise ValueError("fusion is pairs, single, add, or for three blocks sum")
        if terms not in ("RXY", "RX", "RY", "R"):
            raise ValueError("terms is RXY, RX, RY or R")
        if equations not in ("published", "printed"):
            raise ValueError("equations is published or printed")
        self.blocks, self.printed = blocks, equations == "printed"

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
