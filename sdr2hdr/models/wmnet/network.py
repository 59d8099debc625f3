"""WMNet (Zhang et al., "Wavelet-Domain Masked Image Modeling for Color-Consistent HDR Video Reconstruction"), phase II.

An encoder of 15 residual blocks at half size, T-MoE over three depths and three frames (eq. 10, 11), the dynamic memory
module DMM (eq. 12, 13) and a decoder with pixel shuffle. Parameter names are the published ones.

The frames of a window are visited one by one, in training too, so that memory holds the features of five frames and not of
a window, and the memory module sees them in order.
"""

from collections import deque
from dataclasses import replace

import torch
from torch import Tensor, nn

from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import VECTOR
from sdr2hdr.models.model import MaskedModel, Window
from sdr2hdr.models.parts.blocks import ResidualBlock, start_with_detail, zero
from sdr2hdr.models.parts.film import films
from sdr2hdr.models.parts.fused import conv, conv_shuffle
from sdr2hdr.models.parts.precision import Float32, Float32Conv2d
from sdr2hdr.models.spec import ModelSpec, State
from sdr2hdr.models.wmnet.experts import TemporalExperts
from sdr2hdr.models.wmnet.memory import PublishedMemory, TokenMemory

WMNET_SPEC = ModelSpec(
    name="wmnet",
    title="Wavelet-pretrained network with temporal experts and scene memory",
    paper="Zhang et al., WMNet: Wavelet-Domain Masked Image Modeling for Color-Consistent HDR Video Reconstruction",
    past=2,
    future=2,
    block=16,
    multiple=2,
    stateful=True,
    thumb=64,
    look=VECTOR,
    state_from_thumbs=True,
    tile=768,
    overlap=72,
    tolerance=0.004,
    precisions=("float32", "bfloat16", "float16"),
    bytes_per_pixel=1600,
    tasks=("mapping", "masked"),
    config={"attention": "tokens", "base": "look", "edges": "repeat", "memory_size": 2},
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


class WMNet(OnBase, MaskedModel):
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
    encoder = ("conv_first.", "recon_trunk_res.", "look.")

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
        if edges not in ("zero", "repeat"):
            raise ValueError("edges is zero or repeat")
        if attention not in ("published", "printed", "tokens", "none") or blocks % 3:
            raise ValueError(
                "attention is published, printed, tokens or none, blocks a multiple of 3"
            )
        if hidden is not None and attention not in ("published", "printed"):
            raise ValueError("hidden is for the attention published or printed")
        self.modulate = nn.Linear(VECTOR, 2 * channels) if base == "look" else None
        if self.modulate is not None:
            zero(self.modulate)
        self.conv_first = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.recon_trunk_res = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.propagation = TemporalExperts(channels, repeat=edges == "repeat") if experts else None
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
        self.upconv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.HRconv = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = (Float32Conv2d if base == "none" else nn.Conv2d)(channels, 3, 3, padding=1)

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        attention, found = spec.config["attention"], super().as_configured(spec)
        found = replace(found, state_from_thumbs=attention in ("tokens", "none"))
        alone = attention != "tokens" and spec.config["base"] == "none"
        return replace(found, thumb=0) if alone else found

    def initialise(self) -> None:
        """Residual blocks start close to the identity, and the correction at zero.

        The published code scales every 2-D convolution by 0.1, which costs the first thousands of steps of a short
        schedule.
        """
        trunk = set(self.recon_trunk_res.modules())
        for m in self.own_modules():
            if isinstance(
                m, nn.Conv3d
            ):  # single frames, which training begins with, teach the middle tap alone
                m.weight.data[:, :, 0] = 0.0
                m.weight.data[:, :, 2] = 0.0
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)
                if m in trunk:
                    m.weight.data.mul_(0.1)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
        if self.base != "none":
            # noise at the output is unlearnt fastest by killing the layer before it
            nn.init.zeros_(self.conv_last.weight)
            start_with_detail(self.conv_first)

    def encode(self, frame: Tensor) -> list[Tensor]:
        """Features of three depths, each ``B,C,H/2,W/2``, of a frame ``B,3,H,W``."""
        # the base needs the frame in float32, so the network casts its own copy
        x = frame.to(self.conv_first.weight.dtype, memory_format=torch.channels_last)
        x = conv(self.conv_first, x, relu=True)
        depths = []
        third = len(self.recon_trunk_res) // 3
        for i, block in enumerate(self.recon_trunk_res, start=1):
            x = block(x)
            if i % third == 0:
                depths.append(x)
        return depths

    def _mixed(
        self, before: list[Tensor] | None, at: list[Tensor], after: list[Tensor] | None
    ) -> Tensor:
        return at[-1] if self.propagation is None else self.propagation.mix(before, at, after)

    def decode(self, feature: Tensor) -> Tensor:
        """Codes ``B,3,H,W`` from features ``B,C,H/2,W/2``."""
        x = conv(self.HRconv, conv_shuffle(self.upconv, feature), relu=True)
        return self.conv_last(x) if isinstance(self.conv_last, Float32) else conv(self.conv_last, x)

    def reconstruct(self, pictures: Tensor) -> Tensor:
        """Phase I: pictures ``B,3,H,W`` from their masked low bands, by encoder and decoder alone."""
        return self.decode(self.encode(pictures)[-1])

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
        frames, count = window.frames, window.frames.shape[1]
        # Three frames of encoder features and three of mixed features are held, whatever the window's length.
        depths: deque[list[Tensor] | None] = deque([None, None, None], maxlen=3)
        mixed: deque[Tensor | None] = deque([None, None, None], maxlen=3)
        out = []
        for t in range(count + 2):
            depths.append(self.encode(frames[:, t]) if t < count else None)
            at = depths[1]  # frame t - 1
            mixed.append(self._mixed(depths[0], at, depths[2]) if at is not None else None)
            centre, i = mixed[1], t - 2
            if centre is None or i not in window.inner:
                continue
            feature = (
                centre
                if self.propagation is None
                else self.propagation.fuse_at(mixed[0], centre, mixed[2])
            )
            feature, state = self.remember(feature, window, i, state)
            look, state = self.scene_look(window, i, state)
            if look is not None and self.modulate is not None:
                (film,) = films(self.modulate(look.to(feature.dtype)), 1)
                feature = film(feature)
            out.append(self.corrected(self.decode(feature), self.base_frame(frames, i), look))
        return torch.stack(out, dim=1), state
