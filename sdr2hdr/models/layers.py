"""Layers that several networks share."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.models.fused import conv
from sdr2hdr.models.look import LookReader
from sdr2hdr.models.static import MAPPINGS

CORRECTION = 0.05
"""What an output of 1 adds to a base or a frame. A codec's damage is some hundredths, and Adam moves every weight of a layer by
the learning rate: unscaled, a step of the output layer shakes the picture by more than there is to repair."""


LARGEST = 16 / 1023
"""The most that a network should change a code of the look mapping. Nearly all that can be repaired is less; without a bound dark
areas of real films lost up to 43 codes of their blue, learnt of chroma noise, which is a cast and no repair."""


class ResidualBlock(nn.Module):
    """``x + conv2(relu(conv1(x)))``, 3x3, no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return conv(self.conv2, conv(self.conv1, x, relu=True), add=x)


def spread(net: nn.Module) -> None:
    """Start every 2-D convolution so that it keeps its input's variance (fan in, gain 1), with zero biases."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, nonlinearity="linear")
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def look_at_detail(layer: nn.Conv2d) -> None:
    """Let three quarters of a layer's outputs begin as differences between places and frames, eight times as large.

    Damage is in the detail, which is a tenth of a picture's range and hides behind its brightness.
    """
    kernels = layer.weight.data[layer.out_channels // 4 :]
    kernels.sub_(kernels.mean(dim=(1, 2, 3), keepdim=True)).mul_(8.0)


def thumbnail(frames: Tensor, size: int) -> Tensor:
    """The whole picture at a fixed size: ``B,T,3,H,W`` to ``B,T,3,size,size`` by area averaging, whatever the aspect ratio."""
    b, t = frames.shape[:2]
    return F.adaptive_avg_pool2d(frames.flatten(0, 1), size).view(b, t, 3, size, size)


def on_base(
    base: str,
    codes: Tensor,
    frame: Tensor,
    reader: LookReader | None = None,
    look: Tensor | None = None,
    reach: int = 4,
    largest: float = 1.0,
) -> Tensor:
    """What a network adds to a mapping of the frame ``B,3,H,W``, in float32; the codes alone for ``none``.

    With a reader and the look ``B,V`` that it remembers, the mapping is the one that the look chooses, and what is added leaves
    greys grey (:func:`guarded`, of that ``reach``) and is no more than ``largest``. In float32, because PQ in bfloat16 is wrong
    by 0.09 code values.
    """
    if reader is not None and look is not None:
        added = CORRECTION * guarded(codes.float(), frame.float(), reach)
        return reader.codes(frame, look) + added.clamp(-largest, largest)
    return codes if base == "none" else codes.float() + pq_inverse_eotf(MAPPINGS[base](frame.float()))


def guarded(added: Tensor, frame: Tensor, reach: int = 4) -> Tensor:
    """A correction ``B,3,H,W`` of a frame that adds no colour where all is grey, and nothing to black.

    Grey is what has no colour within ``reach`` to ``2 * reach`` pixels, so that a grey pixel among others can be corrected.
    Sides are multiples of ``reach``.
    """
    brightest = frame.amax(1, keepdim=True)
    colour = F.max_pool2d(brightest - frame.amin(1, keepdim=True), reach)
    colour = F.interpolate(F.max_pool2d(colour, 3, 1, 1), scale_factor=float(reach), mode="bilinear")
    return torch.lerp(added.mean(1, keepdim=True), added, (8 * colour).clamp_max(1)) * (10 * brightest).clamp(0, 1)


@dataclass(frozen=True)
class Turn:
    """A gain and a shift a channel, ``B,C`` each; called on features ``B,C,h,w``."""

    gain: Tensor
    shift: Tensor

    def __call__(self, feature: Tensor) -> Tensor:
        return feature * self.gain[:, :, None, None] + self.shift[:, :, None, None]


def turns_of(told: Tensor, places: int) -> list[Turn]:
    """A turn a place from ``B,2*places*C``; zeros turn nothing."""
    parts = told.chunk(2 * places, dim=1)
    return [Turn(1.0 + parts[2 * i], parts[2 * i + 1]) for i in range(places)]


class GlobalContext(nn.Module):
    """What the whole picture shows, told to a network at several places as gains and shifts of its features.

    The thumbnail ``B,3,S,S`` is encoded and averaged. It starts with gains of 1 and shifts of 0.
    """

    def __init__(self, channels: int, places: int, hidden: int = 64) -> None:
        super().__init__()
        self.places = places
        sizes = (3, hidden // 2, hidden, hidden)
        self.encoder = nn.Sequential(
            *(
                layer
                for a, b in itertools.pairwise(sizes)
                for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())
            )
        )
        self.mix = nn.Linear(hidden, hidden)
        self.turns = nn.Linear(hidden, 2 * places * channels)
        nn.init.zeros_(self.turns.weight)
        nn.init.zeros_(self.turns.bias)

    def forward(self, thumb: Tensor | None) -> list[Turn]:
        if thumb is None:
            raise ValueError("this network needs thumbs: the whole picture at a small size")
        seen = self.encoder(thumb.to(self.mix.weight.dtype)).mean(dim=(2, 3))
        return turns_of(self.turns(F.relu(self.mix(seen))), self.places)
