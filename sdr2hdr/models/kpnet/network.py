"""KPNet (Wang et al., "Knowledge-inspired parallel network" for compressed SDR): one frame in, the same frame out.

Features at full, half and quarter size each pass a knowledge-inspired block ``R(u) * X(u) + Y(u)`` (section 4.2), whose R, X and
Y are one set of weights for all three sizes. The three results meet at half size in pairs (eq. 16, 17), are weighed by coordinate
attention (eq. 18 to 24) and brought back to full size. Parameter names are the published ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import VECTOR
from sdr2hdr.models.base.steady import STEADY_REACH
from sdr2hdr.models.kpnet.branches import Branches
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.repairing import Repairing
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.parts.blocks import zero
from sdr2hdr.models.parts.film import Film, GlobalContext, films
from sdr2hdr.models.spec import ModelSpec, State

_TITLE = "Knowledge-inspired parallel network for compressed SDR"
_PAPER = "Wang et al., KPNet: knowledge-inspired parallel network for compressed-SDR to HDR video reconstruction"

_CORRECTS: dict[str, Any] = {"has_aux": False, "tasks": ("mapping",)}
"""What the spec has otherwise where the network corrects a base or stands alone."""

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
    look=tone.NUMBERS,
    state_from_thumbs=True,
    brightness=True,
    qp=True,
    tile=768,
    overlap=128,
    margin=48,
    tolerance=0.004,
    precisions=("float32", "bfloat16", "float16"),
    bytes_per_pixel=3200,
    has_aux=True,
    tasks=("mapping", "repair"),
    config={"base": "look", "attention": "window", "blocks": 3, "fusion": "pairs"},
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
    config={"base": "look", "blocks": 1},
    published={"base": "none", "context": False, "channels": 64},
)

_FILMS = 2  # layers that the whole picture scales and shifts: after the head, before the last convolutions
_WHOLE = 8192
"""Tiles of a form whose attention sees whole rows and columns: a picture as it is, if memory allows."""


class KPNet(Branches, OnBase):
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
        self.faint = (7.0 if blocks == 1 else 2.5) / 1023  # the light variant's errors are larger
        if equations not in ("published", "printed"):
            raise ValueError("equations is published or printed")
        self.build(
            channels,
            blocks,
            attention,
            fusion,
            alone=base == "none",
            terms=terms,
            norm=norm,
            heads=heads,
            printed=equations == "printed",
        )
        self.context = GlobalContext(channels, _FILMS) if context and self.look is None else None
        self.modulate = (
            nn.Linear(VECTOR, 2 * _FILMS * channels) if context and self.look is not None else None
        )
        self.initialise()

    @classmethod
    def form(cls, config: Mapping[str, Any]) -> type[Model]:
        return RepairingKPNet if config["base"] == "repair" else cls

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        config = spec.config
        if config["base"] == "repair":
            return RepairingKPNet.with_first(spec)
        found = super().as_configured(replace(spec, **_CORRECTS))
        if config["base"] == "none":  # nothing is steadied
            found = replace(found, past=0, future=0, stateful=False)
            found = replace(found, thumb=found.thumb if config.get("context", True) else 0)
        if config.get("attention") == "published" and config["blocks"] > 1:
            found = replace(found, tile=_WHOLE)
        return found

    def initialise(self) -> None:
        self.start(self.own_modules(), alone=self.base == "none")
        if self.modulate is not None:
            zero(self.modulate)

    def _conditions(self, window: Window, t: int, look: Tensor | None) -> list[Film] | None:
        if self.context is not None:
            found: list[Film] = self.context(window.thumb(t))
            return found
        if self.modulate is not None and look is not None:
            vector = look[:, :VECTOR].to(self.modulate.weight.dtype)
            return films(self.modulate(vector), _FILMS)
        return None

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        out = []
        for t in window.inner:
            look, state = self.scene_look(window, t, state)
            added = self.output(window.frames[:, t], self._conditions(window, t, look))
            out.append(self.corrected(added, self.base_frame(window.frames, t), look, window.qp))
        return torch.stack(out, dim=1), state


class RepairingKPNet(Branches, Repairing):
    """The network in front of :class:`~sdr2hdr.models.look.network.Look`: it repairs the SDR picture, which the look then maps.

    The look does not scale and shift its features: damage does not depend on how the picture is to be mapped. It may have a
    first network of ``first_blocks``, which with ``qp`` is told the QP.
    """

    def __init__(
        self,
        base: str = "repair",
        attention: str = "window",
        blocks: int = 3,
        fusion: str = "pairs",
        channels: int = 64,
        first_blocks: int = 0,
        qp: bool = False,
    ) -> None:
        super().__init__()
        if base != "repair":
            raise ValueError("this form's base is repair")
        self.build(channels, blocks, attention, fusion, alone=False)
        self.put_first(first_blocks, qp)
        self.initialise()

    def initialise(self) -> None:
        self.start(self.later_modules(), alone=False)
        super().initialise()

    def added(self, frames: Tensor, which: range, qp: Tensor | None = None) -> Iterator[Tensor]:
        for t in which:
            yield self.output(frames[:, t], None)
