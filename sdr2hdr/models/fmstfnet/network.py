"""FMSTFNet (Zhang et al., "Feature-Modulation Spatio-Temporal Fusion Network for HDR Video Reconstruction").

A picture is taken apart into a small picture and the detail of the sizes above it. The small picture is modulated by what the
whole picture shows (CGLFM, eq. 1 and 2) and meets the frame after it, the frame before it and what was made of that (STFM);
its features grow back through the sizes, each adding its own detail (AHM, eq. 3). No code was published; docs/models/fmstfnet.md
lists what the paper says and leaves open.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.errors import ModelError
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import LOOK_STATE, VECTOR
from sdr2hdr.models.base.steady import STEADY_REACH
from sdr2hdr.models.fmstfnet.hashing import HashedAttention, attend
from sdr2hdr.models.fmstfnet.modulation import Modulation, PrintedModulation
from sdr2hdr.models.model import PyramidModel, Window
from sdr2hdr.models.parts.blocks import ResidualBlock, keep_variance, zero
from sdr2hdr.models.parts.fused import conv
from sdr2hdr.models.parts.precision import Float32, Float32Conv2d
from sdr2hdr.models.parts.pyramid import larger, take_apart
from sdr2hdr.models.spec import WHOLE, ModelSpec, State

PARTS = ("ahm", "local", "near", "transformer", "memory")
"""The parts that table II of the paper removes: AHM, CLFM, the first HSTNAM, HNAM and ViT, the second HSTNAM."""

FMSTFNET_SPEC = ModelSpec(
    name="fmstfnet",
    title="Pyramid with whole-picture conditions and memory over the whole scene",
    paper="Zhang et al., Feature-Modulation Spatio-Temporal Fusion Network for HDR Video Reconstruction",
    past=STEADY_REACH,
    future=STEADY_REACH,
    block=8,
    multiple=32,
    stateful=True,
    thumb=64,
    look=VECTOR,
    place=True,
    tile=768,
    overlap=96,
    margin=32,
    tolerance=0.03,
    precisions=("float32", "bfloat16"),
    bytes_per_pixel=2100,
    config={"base": "look", "parts": list(PARTS)},
    published={
        "base": "none",
        "parts": list(PARTS),
        "sees": "features",
        "predicts": "sizes",
        "detail_scale": 1.0,
        "chunk": 64,
        "rounds": 4,
        "to_self": False,
        "scaled": True,
    },
)

_WINDOW = 8
_HEADS = 4


class TransformerBlock(nn.Module):
    """Attention of four heads within windows of 8x8 positions, then two layers at every position, each on normalised features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv, self.leave = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        padded = F.pad(x, (0, -width % _WINDOW, 0, -height % _WINDOW), mode="replicate")
        rows, columns = padded.shape[2] // _WINDOW, padded.shape[3] // _WINDOW
        split = padded.view(b, c, rows, _WINDOW, columns, _WINDOW).permute(0, 2, 4, 3, 5, 1)
        tokens = split.reshape(b * rows * columns, _WINDOW * _WINDOW, c)
        q, k, v = (
            self.qkv(_even(tokens)).view(*tokens.shape[:2], 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        )
        read = attend(q * q.shape[-1] ** -0.5, k, v).transpose(1, 2).reshape_as(tokens)
        tokens = tokens + self.leave(read)
        tokens = tokens + self.mlp(_even(tokens))
        split = tokens.view(b, rows, columns, _WINDOW, _WINDOW, c).permute(0, 5, 1, 3, 2, 4)
        joined = split.reshape(b, c, rows * _WINDOW, columns * _WINDOW)
        out: Tensor = joined[..., :height, :width].contiguous(memory_format=torch.channels_last)
        return out


def _even(tokens: Tensor) -> Tensor:
    """Tokens ``...,C`` with a root mean square of 1."""
    return F.rms_norm(tokens, tokens.shape[-1:], eps=1e-4)


class Fusion(nn.Module):
    """STFM: two inter-frame fusions with what lies between them; a part that is left out passes its features on.

    The figure's order is not legible in the text: first the frame meets its neighbours, is refined in itself (HNAM and the
    transformer block), and then meets what was made of the frame before it, S^(t-1), which so holds all frames before.
    """

    def __init__(
        self,
        channels: int,
        parts: Sequence[str],
        attention: Callable[[int], HashedAttention] = HashedAttention,
    ) -> None:
        super().__init__()
        self.near = attention(channels) if "near" in parts else None
        self.alone = attention(channels) if "transformer" in parts else None
        self.transformer = TransformerBlock(channels) if "transformer" in parts else None
        self.memory = attention(channels) if "memory" in parts else None

    def forward(
        self, at: Tensor, after: Tensor | None, before: Tensor | None, made: Tensor | None
    ) -> Tensor:
        """S^t from F^t, F^(t+1), F^(t-1) and S^(t-1), all ``B,C,h,w``; None for what is beyond a scene's ends."""
        x = at
        if self.near is not None:
            x = self.near(x, [f for f in (before, after) if f is not None])
        if self.alone is not None and self.transformer is not None:
            x = self.transformer(self.alone(x))
        if self.memory is not None:
            x = self.memory(x, [f for f in (made, after) if f is not None])
        return x


class Hybrid(nn.Module):
    """AHM (eq. 3): the smaller size's features, convolved and enlarged, joined with this size's detail and convolved.

    Without ``adaptive`` they are only enlarged and added, after a 1x1 convolution that fits the channels.
    """

    def __init__(self, channels: int, out: int, adaptive: bool) -> None:
        super().__init__()
        size = 3 if adaptive else 1
        self.phi1 = nn.Conv2d(channels, out, size, padding=size // 2)
        self.phi2 = nn.Conv2d(2 * out, out, 3, padding=1) if adaptive else None

    def forward(self, y: Tensor, detail: Tensor) -> Tensor:
        up = larger(conv(self.phi1, y))
        if self.phi2 is None:
            return F.relu(up + detail)
        return conv(self.phi2, torch.cat([up, detail], dim=1), relu=True)


class FMSTFNet(OnBase, PyramidModel):
    """The network. Sides are multiples of ``2**len(high)``.

    ``base`` as :class:`OnBase` has it. ``channels`` are those of the small picture's features, ``high`` those of the sizes above
    it, smallest first, so their number is the paper's s. ``blocks`` residual blocks treat the detail of each size, which is
    multiplied by ``detail_scale``, so that it is as large as the other features and training uses it early. ``parts`` are those
    of :data:`PARTS` that are there. ``chunk``, ``rounds``, ``to_self`` and ``scaled`` as in :class:`HashedAttention`.

    The paper's form is the configuration ``published``: no base, conditions from the ``features`` of the small picture and not
    from ``thumbs`` of the whole (``sees``), and an HDR picture of every one of the ``sizes`` where ours is the ``sum`` of what
    each size adds (``predicts``).
    """

    scale = 1.0  # as the bundled weight was trained; a zero-initialised sum over sizes starts small enough
    faint = 4.5 / 1023

    def __init__(
        self,
        base: str = "look",
        parts: Sequence[str] = PARTS,
        channels: int = 64,
        high: Sequence[int] = (64, 32),
        blocks: int = 2,
        sees: str = "thumbs",
        predicts: str = "sum",
        detail_scale: float = 12.0,
        chunk: int = 32,
        rounds: int = 1,
        to_self: bool = True,
        scaled: bool = False,
    ) -> None:
        super().__init__(base)
        if sees not in ("thumbs", "features") or predicts not in ("sum", "sizes"):
            raise ValueError("sees is thumbs or features, predicts sum or sizes")
        if base != "none" and predicts == "sizes":
            raise ValueError("only a network without a base predicts every size")
        if set(parts) - set(PARTS) or not high or channels % 16:
            raise ValueError(
                f"parts are some of {', '.join(PARTS)}, high one number per size, channels a multiple of 16"
            )
        self.levels, self.channels = len(high), channels
        self.reach = 2**self.levels
        self.predicts, self.detail_scale = predicts, detail_scale
        self.modulation: Modulation | PrintedModulation = (
            Modulation(channels, VECTOR if self.look is not None else 0, "local" in parts)
            if sees == "thumbs"
            else PrintedModulation(channels, "local" in parts)
        )
        attention = partial(
            HashedAttention, chunk=chunk, rounds=rounds, to_self=to_self, scaled=scaled
        )
        self.fusion = Fusion(channels, parts, attention)
        self.detail = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, c, 3, padding=1), *(ResidualBlock(c) for _ in range(blocks)))
            for c in high
        )
        sizes = (channels, *high)
        self.hybrid = nn.ModuleList(
            Hybrid(a, b, "ahm" in parts) for a, b in zip(sizes, high, strict=False)
        )
        head = Float32Conv2d if base == "none" else nn.Conv2d
        self.conv_last = nn.ModuleList(head(c, 3, 3, padding=1) for c in sizes)
        self.initialise()

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        spec = super().as_configured(spec)
        if not spec.look:  # nothing is steadied
            spec = replace(spec, past=0, future=1)
        if spec.config.get("sees") == "features" and not spec.look:
            spec = replace(spec, thumb=0, place=False, tile=WHOLE)
        sizes = spec.config.get("predicts") == "sizes"
        return replace(spec, sizes=1 + len(spec.config.get("high", (64, 32)))) if sizes else spec

    def initialise(self) -> None:
        """The modulation and the correction start at zero."""
        keep_variance(self.own_modules())
        zero(self.modulation.whole, *(cast(nn.Conv2d, layer) for layer in self.conv_last))
        if self.modulation.place is not None:
            zero(self.modulation.place)
        for m in self.modules():
            if isinstance(m, ResidualBlock):
                m.conv2.weight.data.mul_(0.1)
            if isinstance(m, (HashedAttention, TransformerBlock)):
                m.leave.weight.data.mul_(0.1)

    def render_sizes(self, window: Window, state: State) -> tuple[list[Tensor], State]:
        frames = window.frames
        if any(n % 2**self.levels for n in frames.shape[-2:]):
            height, width = frames.shape[-2:]
            raise ModelError(
                f"FMSTFNet takes sides that are multiples of {2**self.levels}, not {width}x{height}; "
                "rendering pads a picture, a caller of the network has to."
            )
        self._check(state, frames)
        before, made = state.get("before"), state.get("made")
        at = self._features(window, window.past, state)
        out = []
        for t in window.inner:
            now, after = at, None
            if t + 1 < frames.shape[1]:
                at = self._features(window, t + 1, now.look_state)
                after = at.feature
            made = self.fusion(now.feature, after, before, made)
            before = now.feature
            *small, whole = self._output(made, now.details)
            codes = self.corrected(whole, self.base_frame(frames, t), now.look, window.qp)
            out.append([*small, codes])
        kept = {**now.look_state, "before": now.feature, "made": cast(Tensor, made)}
        return [torch.stack(size, dim=1) for size in zip(*out, strict=True)], kept

    def _features(self, window: Window, t: int, state: State) -> "_Features":
        """The features of the small picture of frame ``t``, and its detail."""
        low, details = take_apart(window.frames[:, t].float(), self.levels)
        look, look_state = self.scene_look(
            window, t, {k: v for k, v in state.items() if k in LOOK_STATE}
        )
        if isinstance(self.modulation, PrintedModulation):
            feature = self.modulation(low)
        else:
            vector = None if look is None else look[:, :VECTOR]
            feature = self.modulation(low, window.thumb(t), vector, window.place)
        return _Features(feature, details, look, look_state)

    def _output(self, made: Tensor, details: list[Tensor]) -> list[Tensor]:
        """In float32, the correction of the base ``B,3,H,W``, summed over the sizes; or the picture of each size."""
        y, out = made, [_head(self.conv_last[0], made)]
        for detail, treat, hybrid, last in zip(
            details, self.detail, self.hybrid, self.conv_last[1:], strict=True
        ):
            own = self.detail_scale * detail
            y = hybrid(y, treat(own.to(y.dtype, memory_format=torch.channels_last)))
            out.append(_head(last, y))
        if self.predicts == "sizes":
            return out
        added = out[0]
        for size in out[1:]:
            added = larger(added) + size
        return [added]

    def _check(self, state: State, frames: Tensor) -> None:
        """Raises ModelError for a state that was not made by such a network from pictures of that size."""
        scale = 2**self.levels
        wanted = (
            frames.shape[0],
            self.channels,
            frames.shape[3] // scale,
            frames.shape[4] // scale,
        )
        looks = (
            [set()] if self.look is None else [LOOK_STATE, {"look"}]
        )  # alone it is known beforehand
        own = {"before", "made"}
        if state and set(state) not in [*looks[1:], *(own | look for look in looks)]:
            raise ModelError(
                f"This state ({', '.join(sorted(state))}) was not made by FMSTFNet as configured; "
                "begin the scene again with new_state."
            )
        for name in ("before", "made"):
            if name in state and tuple(state[name].shape) != wanted:
                raise ModelError(
                    f"The state is of another size or network: {name} is {list(state[name].shape)} and must be {list(wanted)}; "
                    "begin the scene again with new_state."
                )


def _head(layer: nn.Module, x: Tensor) -> Tensor:
    """What a last convolution makes of features, in float32."""
    out = layer(x) if isinstance(layer, Float32) else conv(cast(nn.Conv2d, layer), x).float()
    return cast(Tensor, out)


@dataclass(frozen=True)
class _Features:
    """A frame on its own: F^t, the detail of each size, the look of the scene up to it, and the state that holds the look."""

    feature: Tensor
    details: list[Tensor]
    look: Tensor | None
    look_state: State
