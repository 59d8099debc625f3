"""FMSTFNet (Zhang et al., "Feature-Modulation Spatio-Temporal Fusion Network for HDR Video Reconstruction").

A picture is taken apart into a small picture and the detail of the sizes above it. The small picture is modulated by what the
whole picture shows (CGLFM, eq. 1 and 2) and meets the frame after it, the frame before it and what was made of that (STFM);
its features grow back through the sizes, each adding its own detail (AHM, eq. 3). No code was published; lab/models/fmstfnet.md
lists what the paper leaves open and what is chosen here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.errors import ModelError
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import LOOK_STATE, VECTOR
from sdr2hdr.models.base.steady import STEADY_REACH
from sdr2hdr.models.fmstfnet.fourier import Conditions, at_place
from sdr2hdr.models.fmstfnet.hashing import HashedAttention, attend
from sdr2hdr.models.model import Window
from sdr2hdr.models.parts.blocks import ResidualBlock, keep_variance, zero
from sdr2hdr.models.parts.fused import conv
from sdr2hdr.models.parts.pyramid import larger, take_apart
from sdr2hdr.models.spec import ModelSpec, State

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
)

_WINDOW = 8
_HEADS = 4
_DETAIL = (
    12.0  # scales detail to the size of the other features, without which training uses it too late
)


class Modulation(nn.Module):
    """CGLFM: two convolutions, FiLM for the whole picture (eq. 1), then for every position (eq. 2)."""

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

    def __init__(self, channels: int, parts: Sequence[str]) -> None:
        super().__init__()
        self.near = HashedAttention(channels) if "near" in parts else None
        self.alone = HashedAttention(channels) if "transformer" in parts else None
        self.transformer = TransformerBlock(channels) if "transformer" in parts else None
        self.memory = HashedAttention(channels) if "memory" in parts else None

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


class FMSTFNet(OnBase):
    """The network. Sides are multiples of ``2**len(high)``.

    ``base`` as :class:`OnBase` has it. ``channels`` are those of the small picture's features, ``high`` those of the sizes above
    it, smallest first, so their number is the paper's s. ``blocks`` residual blocks treat the detail of each size. ``parts`` are
    those of :data:`PARTS` that are there.
    """

    scale = 1.0  # as the bundled weight was trained; a zero-initialised sum over sizes starts small enough

    def __init__(
        self,
        base: str = "look",
        parts: Sequence[str] = PARTS,
        channels: int = 64,
        high: Sequence[int] = (64, 32),
        blocks: int = 2,
    ) -> None:
        super().__init__(base)
        if set(parts) - set(PARTS) or not high or channels % 16:
            raise ValueError(
                f"parts are some of {', '.join(PARTS)}, high one number per size, channels a multiple of 16"
            )
        self.levels, self.channels = len(high), channels
        self.reach = 2**self.levels
        self.modulation = Modulation(channels, VECTOR if base == "look" else 0, "local" in parts)
        self.fusion = Fusion(channels, parts)
        self.detail = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, c, 3, padding=1), *(ResidualBlock(c) for _ in range(blocks)))
            for c in high
        )
        sizes = (channels, *high)
        self.hybrid = nn.ModuleList(
            Hybrid(a, b, "ahm" in parts) for a, b in zip(sizes, high, strict=False)
        )
        self.conv_last = nn.ModuleList(nn.Conv2d(c, 3, 3, padding=1) for c in sizes)
        self.initialise()

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

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
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
            out.append(
                self.corrected(
                    self._output(made, now.details), self.base_frame(frames, t), now.look
                )
            )
        kept = {**now.look_state, "before": now.feature, "made": cast(Tensor, made)}
        return torch.stack(out, dim=1), kept

    def _features(self, window: Window, t: int, state: State) -> "_Features":
        """The features of the small picture of frame ``t``, and its detail."""
        low, details = take_apart(window.frames[:, t].float(), self.levels)
        look, look_state = self.scene_look(
            window, t, {k: v for k, v in state.items() if k in LOOK_STATE}
        )
        return _Features(
            self.modulation(low, window.thumb(t), look, window.place), details, look, look_state
        )

    def _output(self, made: Tensor, details: list[Tensor]) -> Tensor:
        """The correction of the base, ``B,3,H,W`` in float32, summed over the sizes."""
        y, added = made, conv(cast(nn.Conv2d, self.conv_last[0]), made).float()
        for detail, treat, hybrid, last in zip(
            details, self.detail, self.hybrid, self.conv_last[1:], strict=True
        ):
            y = hybrid(y, treat((_DETAIL * detail).to(y.dtype, memory_format=torch.channels_last)))
            added = larger(added) + conv(cast(nn.Conv2d, last), y).float()
        return added

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


@dataclass(frozen=True)
class _Features:
    """A frame on its own: F^t, the detail of each size, the look of the scene up to it, and the state that holds the look."""

    feature: Tensor
    details: list[Tensor]
    look: Tensor | None
    look_state: State
