"""DIDNet (Xu et al., "Towards Robust SDRTV-to-HDRTV via Dual Inverse Degradation Network"): seven frames in, the middle one out.

The frames are aligned by deformable convolution and fused (section III-C); the fused features give a restored SDR frame, which an
auxiliary loss trains (III-D); wavelet attention (III-E) and dual modulated convolutions, whose kernels the 3D ConditionNet scales
(III-F, III-G), then give the HDR frame. No code is published: lab/models/didnet.md lists what the paper leaves open.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.base.corrections import SCALE, bounded
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import VECTOR
from sdr2hdr.models.model import RestoringModel, Window
from sdr2hdr.models.parts.blocks import ResidualBlock, keep_variance, start_with_detail
from sdr2hdr.models.parts.deform import TAPS, deform_conv2d
from sdr2hdr.models.parts.precision import Float32
from sdr2hdr.models.spec import ModelSpec, State

NEIGHBOURS = 3
"""Frames seen before and after the one that is made."""
FRAMES = 2 * NEIGHBOURS + 1
RESTORED_BOUND = 3 / 255
"""The largest change of an SDR code by restoration. Nearly all repairs are smaller, and without a bound dark blue areas
lost 13 codes of their blue."""

_TITLE = "Seven aligned frames for compressed SDR; also restores SDR"
_PAPER = "Xu et al., Towards Robust SDRTV-to-HDRTV via Dual Inverse Degradation Network"

DIDNET_SPEC = ModelSpec(
    name="didnet",
    title=_TITLE,
    paper=_PAPER,
    past=NEIGHBOURS,
    future=NEIGHBOURS,
    block=8,
    multiple=8,
    stateful=True,
    thumb=64,
    look=VECTOR,
    state_from_thumbs=True,
    tile=512,
    overlap=96,
    margin=32,
    tolerance=0.004,
    precisions=("float32", "bfloat16"),
    bytes_per_pixel=4200,
    has_aux=True,
    tasks=("mapping", "restoration"),
    config={"base": "look", "attention": "window", "channels": 48, "offset_channels": 32},
)
DIDNET_TINY_SPEC = replace(
    DIDNET_SPEC,
    name="didnet-tiny",
    title=f"{_TITLE}, half the cost",
    paper=f"{_PAPER} (Tiny)",
    config={"base": "look", "attention": "window", "channels": 32, "offset_channels": 16},
)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.ReLU())


def _up(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1), nn.ReLU())


class OffsetNet(nn.Module):
    """The small U-net: offsets and masks of every input channel, from all frames at once. Sizes are multiples of 8.

    Depth, skips by concatenation and transposed convolutions are STDF's (Deng et al., AAAI 2020), on which the paper
    builds.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        c = channels
        self.enter = _conv(inputs, c)
        self.down1, self.down2 = (nn.Sequential(_conv(c, c, 2), _conv(c, c)) for _ in range(2))
        self.bottom = nn.Sequential(_conv(c, c, 2), _conv(c, c), _up(c))
        self.up2, self.up1 = (nn.Sequential(_conv(2 * c, c), _up(c)) for _ in range(2))
        self.leave = _conv(c, c)
        # two convolutions are STDF's one: a slice of its result would cost a copy of all gradients
        self.offset = nn.Conv2d(c, 2 * TAPS * inputs, 3, padding=1)
        self.mask = nn.Conv2d(c, TAPS * inputs, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets ``B,G*9*2,H,W`` in pixels and masks 0..1 ``B,G*9,H,W`` of frames ``B,G,H,W``."""
        full = self.enter(x)
        half = self.down1(full)
        quarter = self.down2(half)
        y = self.up2(torch.cat([self.bottom(quarter), quarter], dim=1))
        y = self.up1(torch.cat([y, half], dim=1))
        y = self.leave(y)
        return self.offset(y), self.mask(y).sigmoid()


class Alignment(nn.Module):
    """Temporal-spatial alignment and fusion (section III-C): deformable convolution of the raw frames, then residual blocks."""

    def __init__(self, channels: int, offset_channels: int, blocks: int = 2) -> None:
        super().__init__()
        inputs = 3 * FRAMES
        self.offsets = OffsetNet(inputs, offset_channels)
        self.align = nn.Conv2d(
            inputs, channels, 3, padding=1
        )  # only its kernel and bias are used; sampling is deformed
        self.fuse = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))

    def forward(self, frames: Tensor, still: bool = False) -> Tensor:
        """Fused features ``B,C,H,W`` of the frames ``B,21,H,W`` (float32, frame by frame).

        ``still`` keeps the offsets at 0 and the masks at 1/2, their initial values, which trains many times faster.
        """
        weight, bias = self.align.weight, self.align.bias
        seen = frames.to(weight.dtype, memory_format=torch.channels_last)
        if still:
            aligned = F.conv2d(seen, 0.5 * weight, bias, padding=1)
        else:
            offset, mask = self.offsets(seen)
            aligned = deform_conv2d(frames, offset, mask, weight, bias)
        out: Tensor = self.fuse(F.relu(aligned))
        return out


def haar(x: Tensor) -> Tensor:
    """The orthonormal Haar transform: ``B,C,H,W`` to low, horizontal, vertical and diagonal bands ``B,4C,H/2,W/2``."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    top, bottom, left, right = a + b, c + d, a - b, c - d
    return torch.cat([top + bottom, left + right, top - bottom, left - right], dim=1) * 0.5


def unhaar(bands: Tensor) -> Tensor:
    """Back from :func:`haar`."""
    low, across, down, diagonal = (bands * 0.5).chunk(4, dim=1)
    top, bottom, left, right = low + down, low - down, across + diagonal, across - diagonal
    corners = torch.stack([top + left, top - left, bottom + right, bottom - right], dim=2)
    return F.pixel_shuffle(corners.flatten(1, 2), 2)


class WaveletAttention(nn.Module):
    """Section III-E, eq. 8: Haar down, concatenate, reduce, channel attention, back up; added to what came in.

    ``attention`` is ``whole``, with the mean over the whole picture (or tile), or ``window``, over the nearest 33x33 positions,
    which are the same in a patch, a tile and a frame.
    """

    def __init__(self, channels: int, attention: str, reach: int = 16) -> None:
        super().__init__()
        self.reach = reach if attention == "window" else None
        self.reduce = nn.Conv2d(4 * channels, channels, 1)
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)
        self.expand = nn.Conv2d(channels, 4 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(haar(x))
        s = self.squeeze(y)  # the mean of a 1x1 convolution is the 1x1 convolution of the mean
        if self.reach is None:
            s = s.mean(dim=(2, 3), keepdim=True)
        else:
            r = self.reach
            s = F.avg_pool2d(s, (1, 2 * r + 1), stride=1, padding=(0, r), count_include_pad=False)
            s = F.avg_pool2d(s, (2 * r + 1, 1), stride=1, padding=(r, 0), count_include_pad=False)
        return x + unhaar(self.expand(y * self.excite(F.relu(s)).sigmoid()))


@dataclass(frozen=True)
class Modulation:
    """The condition of one convolution: relative changes ``B,C`` of its inputs and outputs, and a shift ``B,C``."""

    before: Tensor
    scale: Tensor
    shift: Tensor


class ConditionNet(Float32):
    """Section III-G: six modules of convolution, pooling and LeakyReLU bring the frames to one vector, the colour prior.

    ``form`` is ``3d`` (all frames) or ``2d`` (the middle one). ``norm`` adds the paper's instance normalisation to all but the
    last module, where a single position is left and nothing would remain. Always in float32: it is small, and sets the
    brightness of everything.
    """

    def __init__(self, form: str, norm: bool, channels: int, convolutions: int, dual: bool) -> None:
        super().__init__()
        self.form, self.dual, self.convolutions = form, dual, convolutions
        sizes = (3, 16, 16, 16, 16, 16, 32)
        depth = 3 if form == "3d" else 1
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(sizes), start=1):
            layers += [
                nn.Conv3d(a, b, (depth, 3, 3), padding=(depth // 2, 1, 1)),
                nn.AvgPool3d((1, 2, 2)),
            ]
            layers.append(nn.LeakyReLU(0.1))
            if norm and i < len(sizes) - 1:
                layers.append(nn.InstanceNorm3d(b, affine=True))
        self.extract = nn.Sequential(*layers)
        self.tell = nn.Linear(sizes[-1], 3 * channels * convolutions)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, thumbs: Tensor) -> list[Modulation]:
        """One modulation per convolution, from the frames' thumbnails ``B,7,3,64,64``."""
        if self.form == "2d":
            thumbs = thumbs[:, NEIGHBOURS : NEIGHBOURS + 1]
        prior = self.extract(thumbs.transpose(1, 2).float()).mean(dim=(2, 3, 4))
        parts = self.tell(prior).unflatten(1, (self.convolutions, 3, -1))
        before = parts[:, :, 0] if self.dual else torch.zeros_like(parts[:, :, 0])
        return [
            Modulation(before[:, i], parts[:, i, 1], parts[:, i, 2])
            for i in range(self.convolutions)
        ]


class ModulatedConv(nn.Module):
    """Dual modulated convolution (section III-F, eq. 13): the vectors scale the kernel, which all positions share."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, m: Modulation) -> Tensor:
        gain, bias = 1.0 + m.scale, cast(Tensor, self.conv.bias)
        kernels = (
            self.conv.weight
            * gain[:, :, None, None, None]
            * (1.0 + m.before)[:, None, :, None, None]
        )
        biases = gain * bias + m.shift
        # chunk and unbind: the gradients of slices would each be a whole batch of zeros
        each = zip(
            x.chunk(x.shape[0]),
            kernels.to(x.dtype).unbind(),
            biases.to(x.dtype).unbind(),
            strict=True,
        )
        return torch.cat([F.conv2d(item, kernel, bias, padding=1) for item, kernel, bias in each])

    def by_features(self, x: Tensor, m: Modulation) -> Tensor:
        """The same numbers, computed by scaling and shifting the features at every position (eq. 12)."""
        y: Tensor = self.conv(x * (1.0 + m.before)[:, :, None, None])
        return y * (1.0 + m.scale)[:, :, None, None] + m.shift[:, :, None, None]


class DIDNet(OnBase, RestoringModel):
    """The network. Sizes are multiples of 8; thumbnails show the ConditionNet the whole picture.

    ``base`` as :class:`OnBase` has it; it maps the restored SDR frame. With a base the restoration, too, leaves greys grey and
    changes no code by more than ``RESTORED_BOUND``. ``attention`` as in :class:`WaveletAttention`. For ablations: ``condition``
    is ``3d`` or ``2d``, ``condition_norm`` the paper's normalisation, and ``wavelet`` and ``dual`` (scaling before the
    convolution, too) may be off.
    """

    def __init__(
        self,
        base: str = "look",
        attention: str = "window",
        channels: int = 48,
        offset_channels: int = 32,
        condition: str = "3d",
        condition_norm: bool = False,
        wavelet: bool = True,
        dual: bool = True,
    ) -> None:
        super().__init__(base)
        if attention not in ("whole", "window") or condition not in ("3d", "2d"):
            raise ValueError("attention is whole or window, condition 3d or 2d")
        self.alignment = Alignment(channels, offset_channels)
        self.restore = nn.Conv2d(channels, 3, 3, padding=1)
        self.enhance = WaveletAttention(channels, attention) if wavelet else nn.Identity()
        self.condition = ConditionNet(condition, condition_norm, channels, 2, dual)
        self.modulated = nn.ModuleList(ModulatedConv(channels) for _ in range(2))
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)
        self.initialise()

    def initialise(self) -> None:
        """Nothing moved, half of every tap, and nothing added to the frame or the base.

        Features that start as noise in the result are unlearnt within a few steps, and the network stays there.
        """
        keep_variance(self.own_modules())
        nets = self.alignment.offsets
        for layer in (self.alignment.align, cast(nn.Conv2d, nets.enter[0])):
            start_with_detail(layer)
        self.alignment.align.weight.data.mul_(3.0)
        for m in nets.modules():  # each ReLU takes half of the variance, each enlargement more
            if isinstance(m, nn.ConvTranspose2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
                m.weight.data.mul_(2.0)
            elif isinstance(m, nn.Conv2d):
                m.weight.data.mul_(2**0.5)
        for layer in (nets.offset, nets.mask, self.restore, self.conv_last):
            nn.init.zeros_(layer.weight)
        for block in self.alignment.fuse:
            cast(ResidualBlock, block).conv2.weight.data.mul_(0.1)

    def restored(self, frames: Tensor, *, still: bool = False) -> Tensor:
        return self._restored(frames, still)[1]

    def _restored(self, frames: Tensor, still: bool = False) -> tuple[Tensor, Tensor]:
        """Fused features and the restored middle one of the frames ``B,7,3,H,W``; ``still`` as :class:`Alignment` has it."""
        fused = self.alignment(frames.flatten(1, 2), still)
        # the restoration is a float32 correction: SDR in bfloat16 has an error of half a code value
        middle, added = frames[:, NEIGHBOURS].float(), self.restore(fused).float()
        if self.base != "none":
            added = bounded(added, middle, scale=SCALE, reach=self.reach, bound=RESTORED_BOUND)
        return fused, middle + added

    def output(self, fused: Tensor, thumbs: Tensor) -> Tensor:
        """What is added to the base, ``B,3,H,W``, from the fused features and the thumbnails ``B,7,3,64,64`` of the frames."""
        first, second = self.condition(thumbs)
        x = self.enhance(fused)
        x = x + self.modulated[1](F.relu(self.modulated[0](x, first)), second)
        added: Tensor = self.conv_last(F.relu(x))
        return added

    def render_with_aux(self, window: Window, state: State) -> tuple[Tensor, Tensor, State]:
        count = window.frames.shape[1]
        codes, restored = [], []
        for t in window.inner:
            # at the ends of a scene the outermost frame is repeated
            near = [min(max(i, 0), count - 1) for i in range(t - NEIGHBOURS, t + NEIGHBOURS + 1)]
            look, state = self.scene_look(window, t, state)
            fused, sdr = self._restored(window.frames[:, near])
            # the base maps the restored frame, so the network adds only light; the auxiliary loss
            # alone trains the restoration
            frame = sdr.detach() + (self.base_frame(window.frames, t) - window.frames[:, t].float())
            added = self.output(fused, torch.stack([window.thumb(i) for i in near], dim=1))
            codes.append(self.corrected(added, frame.clamp(0.0, 1.0), look))
            restored.append(sdr)
        return torch.stack(codes, dim=1), torch.stack(restored, dim=1), state
