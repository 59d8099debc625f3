"""The colour prior of seven frames (section III-G), and the convolutions whose kernels it scales (section III-F)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.didnet.alignment import NEIGHBOURS
from sdr2hdr.models.parts.precision import Float32

_LEAST = 64
"""The side that six poolings bring to one position; smaller frames repeat their border."""


@dataclass(frozen=True)
class Modulation:
    """The condition of one convolution: relative changes ``B,C`` of its inputs and outputs, and a shift ``B,C``."""

    before: Tensor
    scale: Tensor
    shift: Tensor


class ConditionNet(Float32):
    """Section III-G: six modules of convolution, pooling and LeakyReLU bring the frames to one vector, the colour prior.

    ``form`` is ``3d`` (all frames), ``2d`` (the middle one) or ``middle`` (the middle one in the place of all: the network
    and its number of parameters are those of ``3d``). ``norm`` adds the paper's instance normalisation to all but the last
    module: the vector is the mean of the last one's output, and the mean of a normalised channel is the same for every
    picture. HDRTVNet's condition network, whose modules these are (Chen et al., ICCV 2021), leaves it out there, too.
    Always in float32: it is small, and sets the brightness of everything.
    """

    def __init__(
        self,
        form: str,
        norm: bool,
        channels: int,
        convolutions: int,
        dual: bool,
        leak: float = 0.1,
    ) -> None:
        super().__init__()
        self.form, self.dual, self.convolutions = form, dual, convolutions
        sizes = (3, 16, 16, 16, 16, 16, 32)
        depth = 1 if form == "2d" else 3
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(sizes), start=1):
            layers += [
                nn.Conv3d(a, b, (depth, 3, 3), padding=(depth // 2, 1, 1)),
                nn.AvgPool3d((1, 2, 2)),
            ]
            layers.append(nn.LeakyReLU(leak))
            if norm and i < len(sizes) - 1:
                layers.append(nn.InstanceNorm3d(b, affine=True))
        self.extract = nn.Sequential(*layers)
        self.tell = nn.Linear(sizes[-1], 3 * channels * convolutions)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, frames: Tensor) -> list[Modulation]:
        """One modulation per convolution, from the frames or their thumbnails, ``B,7,3,S,S``."""
        middle = frames[:, NEIGHBOURS : NEIGHBOURS + 1]
        if self.form != "3d":
            frames = middle if self.form == "2d" else middle.expand_as(frames)
        seen = frames.transpose(1, 2).float()
        low, narrow = (max(0, _LEAST - n) for n in seen.shape[-2:])
        if low or narrow:
            seen = F.pad(seen, (0, narrow, 0, low, 0, 0), mode="replicate")
        prior = self.extract(seen).mean(dim=(2, 3, 4))
        parts = self.tell(prior).unflatten(1, (self.convolutions, 3, -1))
        before = parts[:, :, 0] if self.dual else torch.zeros_like(parts[:, :, 0])
        return [
            Modulation(before[:, i], parts[:, i, 1], parts[:, i, 2])
            for i in range(self.convolutions)
        ]


class ModulatedConv(nn.Module):
    """Dual modulated convolution (section III-F, eq. 13): the vectors scale the kernel, which all positions share."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

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
        pad = self.conv.padding
        return torch.cat([F.conv2d(item, kernel, bias, padding=pad) for item, kernel, bias in each])

    def by_features(self, x: Tensor, m: Modulation) -> Tensor:
        """The same numbers, computed by scaling and shifting the features at every position (eq. 12)."""
        y: Tensor = self.conv(x * (1.0 + m.before)[:, :, None, None])
        return y * (1.0 + m.scale)[:, :, None, None] + m.shift[:, :, None, None]
