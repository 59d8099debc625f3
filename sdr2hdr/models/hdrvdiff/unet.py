"""HDR-LDM's denoising network as printed: the time-conditioned U-Net of Rombach et al. 2022, with MaxViT blocks for attention.

It predicts the noise (eq. 3 and 5) on their schedule of 1000 steps; DDIM (Song et al. 2020) takes fewer.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.hdrvdiff.maxvit import MaxViTBlock

TIMES = 1000
_FIRST, _LAST = 0.00085, 0.012
"""The variances beta of the first and the last step in Stable Diffusion, between whose roots the others lie evenly."""


@cache
def kept() -> Tensor:
    """The share of the latent's variance that is left after each step: the products of all alpha (eq. 2), ``1000``."""
    beta = torch.linspace(
        _FIRST**0.5, _LAST**0.5, TIMES, dtype=torch.float64, device="cpu"
    ).square()
    return (1 - beta).cumprod(0).float()


def noised(z: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Latents ``B,C,h,w`` after the steps ``time B`` (whole numbers from 0): eq. 2, all steps at once."""
    a = kept().to(z.device)[time][:, None, None, None]
    return a.sqrt() * z + (1 - a).sqrt() * noise


def sample(epsilon: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """A latent from noise by DDIM in ``steps`` steps, evenly spaced among the 1000; ``epsilon(z, time)`` is the network."""
    z, batch = noise, noise.shape[0]
    times = [1 + i * (TIMES // steps) for i in range(steps)]
    for now, then in zip(reversed(times), [*reversed(times[:-1]), None], strict=True):
        a = float(kept()[now])
        b = 1.0 if then is None else float(kept()[then])
        found = epsilon(z, torch.full((batch,), now, device=z.device))
        clean = (z - (1 - a) ** 0.5 * found) / a**0.5
        z = b**0.5 * clean + (1 - b) ** 0.5 * found
    return z


def time_embedding(time: Tensor, size: int) -> Tensor:
    """Sines and cosines ``B,size`` of times ``B``, as Rombach's."""
    rates = torch.exp(torch.arange(size // 2, device=time.device) * (-2 * math.log(10000) / size))
    angles = time.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def exposure_embedding(exposure: Tensor, size: int) -> Tensor:
    """Eq. 4 as printed, ``B,size`` of exposures ``B``: sines at 2n, cosines at 2n + 1, each with the rate of its own number."""
    number = torch.arange(size, device=exposure.device)
    angles = exposure.float()[:, None] * torch.pow(10000.0, -number / size)
    return torch.where(number % 2 == 0, angles.sin(), angles.cos())


class ResidualBlock(nn.Module):
    """Two convolutions of group-normalised features; the embedding is added between them."""

    def __init__(self, channels: int, out: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, channels), nn.GroupNorm(groups, out)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.embed = nn.Linear(embedding, out)
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x))) + self.embed(F.silu(embedding))[:, :, None, None]
        out: Tensor = self.skip(x) + self.conv2(F.silu(self.norm2(y)))
        return out


class Level(nn.Module):
    """A residual block, and a MaxViT block after it if ``attends``."""

    def __init__(self, channels: int, out: int, embedding: int, groups: int, attends: bool) -> None:
        super().__init__()
        self.residual = ResidualBlock(channels, out, embedding, groups)
        self.attention = MaxViTBlock(out, groups=groups) if attends else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        out: Tensor = self.attention(self.residual(x, embedding))
        return out


class UNet(nn.Module):
    """The noise in ``z B,latent,h,w`` at times ``B``, told the latent ``seen`` of the LDR frame and its exposures ``B``.

    ``channels`` and ``multipliers`` are those of Rombach's LDM-4 for faces, 224 and four levels, of which all but the largest
    attend. Without ``embedding`` it is told no exposure (Table 3).
    """

    def __init__(
        self,
        latent: int = 4,
        channels: int = 224,
        multipliers: Sequence[int] = (1, 2, 3, 4),
        blocks: int = 2,
        groups: int = 32,
        *,
        embedding: bool = True,
    ) -> None:
        super().__init__()
        size, self.channels = 4 * channels, channels
        self.time, exposure = (
            nn.Sequential(nn.Linear(channels, size), nn.SiLU(), nn.Linear(size, size))
            for _ in range(2)
        )
        self.exposure = exposure if embedding else None
        self.enter = nn.Conv2d(2 * latent, channels, 3, padding=1)
        widths = [channels * m for m in multipliers]
        self.down, self.smaller, self.up, self.larger = (nn.ModuleList() for _ in range(4))
        at, skips = channels, [channels]
        for i, width in enumerate(widths):
            for _ in range(blocks):
                self.down.append(Level(at, width, size, groups, i > 0))
                at = width
                skips.append(at)
            if i < len(widths) - 1:
                self.smaller.append(nn.Conv2d(at, at, 3, stride=2, padding=1))
                skips.append(at)
        self.middle = nn.ModuleList(
            [Level(at, at, size, groups, True), Level(at, at, size, groups, False)]
        )
        for i, width in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(Level(at + skips.pop(), width, size, groups, i > 0))
                at = width
            if i:
                self.larger.append(nn.Conv2d(at, at, 3, padding=1))
        self.blocks = blocks
        self.norm_last, self.last = (
            nn.GroupNorm(groups, at),
            nn.Conv2d(at, latent, 3, padding=1),
        )

    def forward(self, z: Tensor, seen: Tensor, exposure: Tensor, time: Tensor) -> Tensor:
        dtype = self.enter.weight.dtype
        told = self.time(time_embedding(time, self.channels).to(dtype))
        if self.exposure is not None:
            told = told + self.exposure(exposure_embedding(exposure, self.channels).to(dtype))
        x = self.enter(torch.cat([z, seen], dim=1).to(dtype))
        skips = [x]
        for i, level in enumerate(self.down, start=1):
            x = level(x, told)
            skips.append(x)
            if i % self.blocks == 0 and i < len(self.down):
                x = self.smaller[i // self.blocks - 1](x)
                skips.append(x)
        for level in self.middle:
            x = level(x, told)
        for i, level in enumerate(self.up, start=1):
            x = level(torch.cat([x, skips.pop()], dim=1), told)
            if i % (self.blocks + 1) == 0 and skips:
                wide = F.interpolate(x, scale_factor=2.0)[
                    ..., : skips[-1].shape[2], : skips[-1].shape[3]
                ]
                x = self.larger[i // (self.blocks + 1) - 1](wide)
        out: Tensor = self.last(F.silu(self.norm_last(x)))
        return out.float()
