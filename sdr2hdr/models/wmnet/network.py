"""WMNet (Zhang et al., "Wavelet-Domain Masked Image Modeling for Color-Consistent HDR Video Reconstruction"), phase II.

An encoder of 15 residual blocks at half size, T-MoE over three depths and three frames (eq. 10, 11), the dynamic memory
module DMM (eq. 12, 13) and a decoder with pixel shuffle. Parameter names are the published ones.

The frames of a window are visited one by one, in training too, so that memory holds the features of five frames and not of
a window, and the memory module sees them in order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import VECTOR
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.repairing import Repairing
from sdr2hdr.models.model import MaskedModel, Model, Window
from sdr2hdr.models.parts.blocks import zero
from sdr2hdr.models.parts.film import films
from sdr2hdr.models.spec import ModelSpec, State
from sdr2hdr.models.wmnet.memory import PublishedMemory, TokenMemory
from sdr2hdr.models.wmnet.trunk import Trunk

_CORRECTS: dict[str, Any] = {
    "has_aux": False,
    "overlap": 72,
    "margin": 0,
    "tasks": ("mapping", "masked"),
}
"""What the spec has otherwise where the network corrects a base or stands alone."""

WMNET_SPEC = ModelSpec(
    name="wmnet",
    title="Wavelet-pretrained network with temporal experts and scene memory",
    paper="Zhang et al., WMNet: Wavelet-Domain Masked Image Modeling for Color-Consistent HDR Video Reconstruction",
    past=2,
    future=2,
    block=16,
    multiple=8,
    stateful=True,
    thumb=64,
    look=tone.NUMBERS,
    state_from_thumbs=True,
    tile=768,
    overlap=160,
    margin=48,
    tolerance=0.004,
    precisions=("float32", "bfloat16", "float16"),
    bytes_per_pixel=1600,
    has_aux=True,
    brightness=True,
    qp=True,
    tasks=("mapping", "masked", "restoration", "repair"),
    config={"base": "repair", "edges": "repeat"},
    published={
        "attention": "published",
        "base": "none",
        "edges": "zero",
        "memory_size": 2,
        "channels": 64,
        "blocks": 15,
        "experts": True,
    },
)


class WMNet(Trunk, OnBase, MaskedModel):
    """The network. ``attention`` is ``published``, ``printed`` (eq. 13 to the letter, with ``hidden`` channels, as
    :class:`PublishedMemory` has them) or ``tokens``; ``base`` a mapping added in float32, or ``none``.

    As its spec's ``published`` has it, it equals the published network to rounding. A base lets the network learn
    what the mapping lacks; it is added in float32, because PQ in bfloat16 is wrong by 0.09 code values. The base ``look`` is
    the mapping that a :class:`~sdr2hdr.models.look.LookReader` chooses, of frames that are steadied
    (:func:`~sdr2hdr.models.base.steady.steadied`); its vector scales and shifts the features as well.
    For ablations ``experts`` is False without T-MoE (the deepest features go on), and ``attention`` is ``none`` without DMM.
    ``edges`` says what T-MoE sees beyond a scene's first and last frame: ``zero`` as published, or ``repeat``, with which a
    scene's ends (and single frames) look like its middle.
    """

    reach = 2
    encoder = (*Trunk.encoder, "look.", "reader.")

    def __init__(
        self,
        attention: str = "tokens",
        base: str = "bt2408",
        memory_size: int = 2,
        channels: int = 64,
        blocks: int = 15,
        edges: str = "zero",
        experts: bool = True,
        hidden: int | None = None,
    ) -> None:
        super().__init__(base)
        if attention not in ("published", "printed", "tokens", "none"):
            raise ValueError("attention is published, printed, tokens or none")
        if hidden is not None and attention not in ("published", "printed"):
            raise ValueError("hidden is for the attention published or printed")
        self.modulate = nn.Linear(VECTOR, 2 * channels) if self.look is not None else None
        if self.modulate is not None:
            zero(self.modulate)
        self.build(channels, blocks, edges, experts, alone=base == "none")
        self.memory: PublishedMemory | TokenMemory | None = None
        self.remembers = attention in ("published", "printed")
        if attention == "tokens":
            self.memory = TokenMemory(channels, memory_size)
        elif self.remembers:
            printed = attention == "printed"
            self.memory = PublishedMemory(channels, memory_size, hidden, printed=printed)
        if self.memory is not None:
            self.mlp = nn.Sequential(
                nn.Conv2d(channels, channels // 4, 1),
                nn.ReLU(),
                nn.Conv2d(channels // 4, channels, 1),
            )

    @classmethod
    def form(cls, config: Mapping[str, Any]) -> type[Model]:
        return RepairingWMNet if config["base"] == "repair" else cls

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        if spec.config["base"] == "repair":
            return RepairingWMNet.with_first(spec)
        found = super().as_configured(replace(spec, **_CORRECTS))
        attention = spec.config.get("attention", "tokens")
        found = replace(found, state_from_thumbs=attention in ("tokens", "none"))
        alone = attention != "tokens" and spec.config["base"] == "none"
        return replace(found, thumb=0) if alone else found

    def initialise(self) -> None:
        self.start(self.own_modules(), alone=self.base == "none")

    def remember(
        self, feature: Tensor, window: Window, t: int, state: State
    ) -> tuple[Tensor, State]:
        """DMM at frame ``t``: attention, the MLP residual, and the state after it."""
        if self.memory is None:
            return feature, state
        if isinstance(self.memory, TokenMemory):
            state = self.memory.write(window.thumb(t), state)
            feature = self.memory.read(feature, state)
            return feature + self.mlp(feature), state
        added = self.memory.read(feature, state)
        feature = feature if added is None else feature + added
        feature = feature + self.mlp(feature)
        return feature, self.memory.write(feature, state)

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        frames, out = window.frames, []
        for t, mixed in zip(window.inner, self.features(frames, window.inner), strict=True):
            feature, state = self.remember(mixed, window, t, state)
            look, state = self.scene_look(window, t, state)
            if look is not None and self.modulate is not None:
                (film,) = films(self.modulate(look[:, :VECTOR].to(feature.dtype)), 1)
                feature = film(feature)
            out.append(
                self.corrected(self.decode(feature), self.base_frame(frames, t), look, window.qp)
            )
        return torch.stack(out, dim=1), state


class RepairingWMNet(Trunk, Repairing, MaskedModel):
    """The network in front of :class:`~sdr2hdr.models.look.network.Look`: it repairs the SDR picture, which the look then maps.

    It has no DMM. What that remembers is how the scene's frames are to be coloured, which is the look's part here. Its first
    network has ``first_blocks``, and with ``qp`` is told the QP.
    """

    encoder = (*Trunk.encoder, "reader.")
    shares_work = True
    sees = 2

    def __init__(
        self,
        base: str = "repair",
        channels: int = 64,
        blocks: int = 15,
        edges: str = "repeat",
        experts: bool = True,
        first_blocks: int = 0,
        qp: bool = False,
    ) -> None:
        super().__init__()
        if base != "repair":
            raise ValueError("this form's base is repair")
        self.build(channels, blocks, edges, experts, alone=False)
        self.put_first(first_blocks, qp)

    def initialise(self) -> None:
        self.start(self.later_modules(), alone=False)
        super().initialise()

    def added(self, frames: Tensor, which: range, qp: Tensor | None = None) -> Iterator[Tensor]:
        for feature in self.features(frames, which):
            yield self.decode(feature)
