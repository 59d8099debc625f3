"""WMNet (Zhang et al., "Wavelet-Domain Masked Image Modeling for Color-Consistent HDR Video Reconstruction"), phase II.

An encoder of 15 residual blocks at half size, T-MoE over three depths and three frames (eq. 10, 11), the dynamic memory
module DMM (eq. 12, 13) and a decoder with pixel shuffle. Parameter names are the published ones.

The frames of a window are visited one by one, in training too, so that memory holds the features of five frames and not of
a window, and the memory module sees them in order.
"""

from collections import deque

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.fused import conv, conv_shuffle
from sdr2hdr.models.layers import LARGEST, ResidualBlock, look_at_detail, on_base
from sdr2hdr.models.look import VECTOR, LookReader
from sdr2hdr.models.spec import ModelSpec, State
from sdr2hdr.models.static import MAPPINGS
from sdr2hdr.models.steady import steadied

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
    tile=768,
    overlap=72,
    tolerance=0.004,
    precisions=("float32", "bfloat16", "float16"),
    bytes_per_pixel=1600,
    config={"attention": "tokens", "base": "look", "edges": "repeat", "memory_size": 2},
)


def _shifted(taps: nn.Conv3d, window: tuple[Tensor | None, Tensor, Tensor | None], repeat: bool) -> Tensor:
    """A 3x1x1 Conv3d at one frame: a 1x1 convolution over the frames before, at and after it.

    A missing one counts as zero, as published, or as a repetition of the frame itself (``repeat``).
    """
    w = taps.weight[..., 0, 0]
    held = [(x, w[:, :, k]) for k, x in enumerate(window) if x is not None]
    if repeat and len(held) < 3:
        at = w[:, :, 1] + sum(w[:, :, k] for k, x in enumerate(window) if x is None)
        held = [(x, at if x is window[1] else k) for x, k in held]
    kernel = torch.cat([k for _, k in held], dim=1)[..., None, None]
    return F.conv2d(torch.cat([x for x, _ in held], dim=1), kernel, taps.bias)


def softmax_blend(scores: list[Tensor], values: list[Tensor]) -> Tensor:
    """Three values weighted with the softmax of their scores: the third against the first two, which are blended alike.

    Stacking three scores for ``softmax`` costs several times as much, in copies.
    """
    (s0, s1, s2), (a0, a1, a2) = scores, values
    first_two = torch.lerp(a0, a1, torch.sigmoid(s1 - s0))
    return torch.lerp(first_two, a2, torch.sigmoid(s2 - torch.logaddexp(s0, s1)))


class TemporalExperts(nn.Module):
    """T-MoE (eq. 10, 11): softmax over three experts, each a 3x1x1 convolution of one depth's features, then a fusion."""

    def __init__(self, channels: int, repeat: bool = False) -> None:
        super().__init__()
        self.repeat = repeat
        self.fc_a, self.fc_b, self.fc_c, self.fuse = (
            nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0)) for _ in range(4)
        )

    def mix(self, before: list[Tensor] | None, at: list[Tensor], after: list[Tensor] | None) -> Tensor:
        """The weighted sum at one frame from the three depths' features ``B,C,h,w`` of it and its neighbours."""
        scores = [
            _shifted(expert, (before[d] if before else None, at[d], after[d] if after else None), self.repeat)
            for d, expert in enumerate((self.fc_a, self.fc_b, self.fc_c))
        ]
        return softmax_blend(scores, at)

    def fuse_at(self, before: Tensor | None, at: Tensor, after: Tensor | None) -> Tensor:
        return at + _shifted(self.fuse, (before, at, after), self.repeat)


class PublishedMemory(nn.Module):
    """DMM as published: one dot product a position and slot, softmax over positions, values of the current frame.

    The softmax sums to 1 over all positions, so its effect fades as the picture grows.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        c = channels // 2
        self.size = size
        self.mq, self.mk, self.mv = (nn.Linear(c, c, bias=False) for _ in range(3))
        self.proj = nn.Linear(c, channels)
        self.feat_prepare = nn.Sequential(nn.Conv2d(channels, c, 3, padding=1, groups=8), nn.ReLU())
        self.mem_prepare = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=8),
            nn.ReLU(),
            nn.Conv2d(channels, c, 3, padding=1, groups=8),
        )

    def read(self, feature: Tensor, state: State) -> Tensor | None:
        """What attention adds to ``feature B,C,h,w`` from the slots ``B,n,c,h,w`` in the state; none for a new scene."""
        slots = state.get("slots")
        if slots is None:
            return None
        b, _, h, w = feature.shape
        flat = self.feat_prepare(feature).flatten(2).transpose(1, 2)  # B,m,c
        q, v = self.mq(flat), self.mv(flat)
        k = self.mk(slots.to(flat.dtype).flatten(3).transpose(2, 3))  # B,n,m,c
        scores = (q[:, None] * k).sum(dim=-1)  # B,n,m
        gate = scores.softmax(dim=-1).sum(dim=1)  # over positions, then added over slots
        out: Tensor = self.proj(gate[..., None] * v)
        return out.transpose(1, 2).reshape(b, -1, h, w)

    def write(self, feature: Tensor, state: State) -> State:
        """The state with this frame's result appended and the oldest slot beyond ``size`` dropped."""
        new = self.mem_prepare(feature).detach()[:, None]
        slots = state.get("slots")
        kept = new if slots is None else torch.cat([slots.to(new.dtype), new], dim=1)
        return {**state, "slots": kept[:, -self.size :]}


class TokenMemory(nn.Module):
    """DMM whose effect does not depend on the picture's size: eq. 12 and 13 over a fixed grid of pooled tokens.

    The whole picture's thumbnail is encoded to ``grid x grid`` tokens. Memory holds the tokens of the frame and of the
    ``size`` frames before it; every position's query attends to all of them. Keys and values both come from memory, so that
    what is remembered can enter the picture (also as a gain on the features), and the frame's own tokens are in it, so that
    a scene's first frame is treated as the others are.
    """

    def __init__(self, channels: int, size: int, grid: int = 8) -> None:
        super().__init__()
        c = channels // 2
        self.size, self.grid = size, grid
        self.encoder = nn.Sequential(
            nn.Conv2d(3, c, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
        )
        self.mix = nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, c))
        self.mq, self.mk, self.mv = (nn.Linear(c, c, bias=False) for _ in range(3))
        self.proj = nn.Linear(c, channels)
        self.feat_prepare = nn.Sequential(nn.Conv2d(channels, c, 1), nn.ReLU())
        last = nn.Linear(channels, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.gain = nn.Sequential(nn.Linear(c, channels), nn.ReLU(), last)

    def tokens(self, thumb: Tensor) -> Tensor:
        """Tokens ``B,grid*grid,c`` of a thumbnail ``B,3,S,S``: each knows its place's features and the picture's mean."""
        thumb = thumb.to(self.proj.weight.dtype)
        f = F.adaptive_avg_pool2d(self.encoder(thumb), self.grid).flatten(2).transpose(1, 2)
        whole = f.mean(dim=1, keepdim=True).expand_as(f)
        out: Tensor = self.mix(torch.cat([f, whole], dim=-1))
        return out

    def read(self, feature: Tensor, state: State) -> Tensor:
        """``feature B,C,h,w`` with what memory knows: scaled by a gain of the tokens' mean, plus what attention finds in them.

        The tokens are ``B,n,g*g,c`` in the state. A tone curve is a product of a pixel's features and of the scene's, which
        attention alone, a sum, has to build from many layers.
        """
        b, _, h, w = feature.shape
        memory = state["tokens"].to(feature.dtype).flatten(1, 2)
        scale = 1.0 + self.gain(memory.mean(dim=1))[:, :, None, None]
        seen = self.feat_prepare(feature).flatten(2).transpose(1, 2)
        # a query times a key is what is seen times the key turned back: there are many positions and few keys
        keys = self.mk(memory) @ self.mq.weight
        out = F.scaled_dot_product_attention(seen[:, None], keys[:, None], self.mv(memory)[:, None])[:, 0]
        added = self.proj(out).transpose(1, 2).reshape(b, -1, h, w)
        result: Tensor = feature * scale + added
        return result

    def write(self, thumb: Tensor, state: State) -> State:
        """The state with a frame's tokens appended; gradients stop at what was there before."""
        new = self.tokens(thumb)[:, None]
        old = state.get("tokens")
        kept = new if old is None else torch.cat([old.to(new.dtype).detach(), new], dim=1)
        return {**state, "tokens": kept[:, -(self.size + 1) :]}


class WMNet(nn.Module):
    """The network. ``attention`` is ``published`` or ``tokens``; ``base`` a mapping added in float32, or ``none``.

    With ``attention="published", base="none"`` it equals the published network to rounding. A base lets the network learn
    what the mapping lacks; it is added in float32, because PQ in bfloat16 is wrong by 0.09 code values. The base ``look`` is
    the mapping that a :class:`~sdr2hdr.models.look.LookReader` chooses, of frames that are steadied
    (:func:`~sdr2hdr.models.steady.steadied`); its vector scales and shifts the features as well.
    For ablations ``experts`` is False without T-MoE (the deepest features go on), and ``attention`` is ``none`` without DMM.
    ``edges`` says what T-MoE sees beyond a scene's first and last frame: ``zero`` as published, or ``repeat``, with which a
    scene's ends (and single frames) look like its middle.
    """

    def __init__(
        self,
        attention: str = "tokens",
        base: str = "bt2408",
        memory_size: int = 2,
        channels: int = 64,
        blocks: int = 15,
        edges: str = "zero",
        experts: bool = True,
    ) -> None:
        super().__init__()
        if edges not in ("zero", "repeat"):
            raise ValueError("edges is zero or repeat")
        if attention not in ("published", "tokens", "none") or base not in ("none", "look", *MAPPINGS) or blocks % 3:
            raise ValueError(
                "attention is published, tokens or none, base none, look, bt2408 or bt2446a, blocks a multiple of 3"
            )
        self.state_from_thumbs = attention != "published"
        self.base = base
        self.look = LookReader() if base == "look" else None
        self.modulate = nn.Linear(VECTOR, 2 * channels) if base == "look" else None
        if self.modulate is not None:
            nn.init.zeros_(self.modulate.weight)
            nn.init.zeros_(self.modulate.bias)
        self.conv_first = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.recon_trunk_res = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.propagation = TemporalExperts(channels, repeat=edges == "repeat") if experts else None
        self.memory: PublishedMemory | TokenMemory | None = None
        if attention != "none":
            self.memory = (TokenMemory if attention == "tokens" else PublishedMemory)(channels, memory_size)
            self.mlp = nn.Sequential(
                nn.Conv2d(channels, channels // 4, 1), nn.ReLU(), nn.Conv2d(channels // 4, channels, 1)
            )
        self.upconv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.HRconv = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    def initialise(self) -> None:
        """Weights to begin training with: residual blocks that change little, and nothing added to the base.

        The published code scales every 2-D convolution by 0.1, which costs the first thousands of steps of a short schedule.
        """
        for name, m in self.named_modules():
            if isinstance(m, nn.Conv3d):  # single frames, which training begins with, teach the middle tap alone
                m.weight.data[:, :, 0] = 0.0
                m.weight.data[:, :, 2] = 0.0
            if isinstance(m, nn.Conv2d) and not name.startswith("look."):
                nn.init.kaiming_normal_(m.weight)
                if "recon_trunk_res" in name:
                    m.weight.data.mul_(0.1)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
        if self.base != "none":
            # noise at the output would be unlearnt fastest by killing the layer before it
            nn.init.zeros_(self.conv_last.weight)
            look_at_detail(self.conv_first)

    def new_state(self, size: tuple[int, int]) -> State:
        return {}

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

    def _mixed(self, before: list[Tensor] | None, at: list[Tensor], after: list[Tensor] | None) -> Tensor:
        return at[-1] if self.propagation is None else self.propagation.mix(before, at, after)

    def decode(self, feature: Tensor) -> Tensor:
        """Codes ``B,3,H,W`` from features ``B,C,H/2,W/2``."""
        return conv(self.conv_last, conv(self.HRconv, conv_shuffle(self.upconv, feature), relu=True))

    def reconstruct(self, pictures: Tensor) -> Tensor:
        """Phase I: pictures ``B,3,H,W`` from their masked low bands, by encoder and decoder alone."""
        return self.decode(self.encode(pictures)[-1])

    def remember(self, feature: Tensor, thumb: Tensor | None, state: State) -> tuple[Tensor, State]:
        """DMM at one frame: attention, the MLP residual, and the state after it."""
        if self.memory is None:
            return feature, state
        if isinstance(self.memory, TokenMemory):
            if thumb is None:
                raise ValueError("WMNet with token memory needs thumbs")
            state = self.memory.write(thumb, state)
            feature = self.memory.read(feature, state)
            return feature + self.mlp(feature), state
        added = self.memory.read(feature, state)
        feature = feature if added is None else feature + added
        feature = feature + self.mlp(feature)
        return feature, self.memory.write(feature, state)

    def forward(
        self, frames: Tensor, state: State, *, past: int = 0, future: int = 0, thumbs: Tensor | None = None
    ) -> tuple[Tensor, State]:
        count = frames.shape[1]
        # Three frames of encoder features and three of mixed features are held, whatever the window's length.
        depths: deque[list[Tensor] | None] = deque([None, None, None], maxlen=3)
        mixed: deque[Tensor | None] = deque([None, None, None], maxlen=3)
        out = []
        for t in range(count + 2):
            depths.append(self.encode(frames[:, t]) if t < count else None)
            at = depths[1]  # frame t - 1
            mixed.append(self._mixed(depths[0], at, depths[2]) if at is not None else None)
            centre, i = mixed[1], t - 2
            if centre is None or not past <= i < count - future:
                continue
            feature = centre if self.propagation is None else self.propagation.fuse_at(mixed[0], centre, mixed[2])
            feature, state = self.remember(feature, None if thumbs is None else thumbs[:, i], state)
            look = None
            if self.look is not None and self.modulate is not None:
                if thumbs is None:
                    raise ValueError("the look is read from thumbs")
                look, state = self.look.remember(thumbs[:, i], state)
                scale, shift = self.modulate(look.to(feature.dtype))[:, :, None, None].chunk(2, 1)
                feature = feature * (1 + scale) + shift
            codes = self.decode(feature)
            frame = frames[:, i] if self.look is None else steadied(frames, i)
            out.append(on_base(self.base, codes, frame, self.look, look, reach=2, largest=LARGEST))
        return torch.stack(out, dim=1), state
