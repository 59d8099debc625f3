"""HDR-LDM's denoising network: a time-conditioned U-Net on latents, with MaxViT blocks where others have self-attention.

Time and exposure enter alike, as sinusoids (eq. 4) through a small network, as gains and shifts of features. DDIM (Song et al.
2020) takes noise to a latent in any number of steps.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIMES = 1000
_EMBED = 64


def sinusoids(value: Tensor, size: int = _EMBED) -> Tensor:
    """Eq. 4: sines and cosines ``B,size`` of numbers ``B``, with wavelengths from 2 pi to 10000 times that."""
    rates = torch.exp(
        torch.arange(size // 2, device=value.device) * (-math.log(10000.0) * 2 / size)
    )
    angles = value.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def even(x: Tensor) -> Tensor:
    """Features ``B,C,h,w`` with a root mean square of 1 over the channels of each position."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)


class Residual(nn.Module):
    """Two convolutions of normalised features; the condition scales and shifts the second convolution's input (FiLM)."""

    def __init__(self, channels: int, out: int, condition: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(channels, out, 3, padding=1),
            nn.Conv2d(out, out, 3, padding=1),
        )
        self.turn = nn.Linear(condition, 2 * out)
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.conv1(F.silu(even(x)))
        gain, shift = self.turn(condition)[:, :, None, None].chunk(2, dim=1)
        y = self.conv2(F.silu(even(y) * (1 + gain) + shift))
        out: Tensor = self.skip(x) + y
        return out


class Attention(nn.Module):
    """Attention within windows of ``window`` x ``window`` positions: neighbours (block), or every second position (grid)."""

    def __init__(self, channels: int, window: int, grid: bool, heads: int = 4) -> None:
        super().__init__()
        self.window, self.grid, self.heads = window, grid, heads
        self.qkv, self.leave = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )
        self.places = nn.Parameter(torch.zeros(heads, window**2, window**2))

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        w = self.window
        region = 2 * w
        padded = F.pad(x, (0, -width % region, 0, -height % region), mode="replicate")
        rows, columns = padded.shape[2] // region, padded.shape[3] // region
        split = (
            padded.view(b, c, rows, w, 2, columns, w, 2)
            if self.grid
            else padded.view(b, c, rows, 2, w, columns, 2, w)
        )
        order = (0, 2, 5, 4, 7, 3, 6, 1) if self.grid else (0, 2, 5, 3, 6, 4, 7, 1)
        tokens = split.permute(order).reshape(-1, w * w, c)
        q, k, v = (
            self.qkv(_even(tokens))
            .view(*tokens.shape[:2], 3, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        read = (
            F.scaled_dot_product_attention(q, k, v, self.places.to(q.dtype))
            .transpose(1, 2)
            .reshape_as(tokens)
        )
        tokens = tokens + self.leave(read)
        tokens = tokens + self.mlp(_even(tokens))
        shape = (b, rows, columns, 2, 2, w, w, c)
        back = (0, 7, 1, 5, 3, 2, 6, 4) if self.grid else (0, 7, 1, 3, 5, 2, 4, 6)
        joined = tokens.view(shape).permute(back).reshape(b, c, rows * region, columns * region)
        out: Tensor = joined[..., :height, :width].contiguous(memory_format=torch.channels_last)
        return out


def _even(tokens: Tensor) -> Tensor:
    return F.rms_norm(tokens, tokens.shape[-1:], eps=1e-4)


class MaxViT(nn.Module):
    """Tu et al. 2022: an inverted bottleneck convolution, attention in blocks, attention in grids.

    Their grid spans the whole picture, and their convolution is weighed by its mean; here the grid spans two blocks each way and
    nothing is averaged over the picture, so that tiles agree.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.conv = nn.Sequential(
            nn.Conv2d(channels, wide, 1), nn.GELU(), nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.GELU(),
            nn.Conv2d(wide, channels, 1),
        )  # fmt: skip
        self.block, self.grid = (
            Attention(channels, window, False),
            Attention(channels, window, True),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.conv(even(x))
        out: Tensor = self.grid(self.block(x))
        return out


class Denoiser(nn.Module):
    """Predicts ``v`` (Salimans and Ho 2022), from which the clean latent and the noise in a noisy latent follow.

    ``z`` and ``seen`` (the latent of the LDR frame) are ``B,latent,h,w``, time ``B`` from 0 to 1000, exposures ``B``; 0 stands
    for a graded picture, which has none, and without ``embedding`` for every picture. Windows lie on a grid of 8 positions.
    """

    def __init__(
        self,
        latent: int = 4,
        channels: tuple[int, int] = (64, 96),
        windows: tuple[int, int] = (4, 2),
        *,
        embedding: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        a, b = channels
        size = 2 * _EMBED
        self.time = nn.Sequential(nn.Linear(_EMBED, size), nn.SiLU(), nn.Linear(size, size))
        self.exposure = nn.Sequential(nn.Linear(_EMBED, size), nn.SiLU(), nn.Linear(size, size))
        self.enter = nn.Conv2d(2 * latent, a, 3, padding=1)
        self.down, self.down_attention = Residual(a, a, size), MaxViT(a, windows[0])
        self.smaller = nn.Conv2d(a, b, 3, stride=2, padding=1)
        self.first, self.attention, self.second = (
            Residual(b, b, size),
            MaxViT(b, windows[1]),
            Residual(b, b, size),
        )
        self.larger = nn.Conv2d(b, a, 3, padding=1)
        self.up, self.up_attention = Residual(2 * a, a, size), MaxViT(a, windows[0])
        self.leave = nn.Conv2d(a, latent, 3, padding=1)

    def forward(self, z: Tensor, seen: Tensor, exposure: Tensor, time: Tensor) -> Tensor:
        dtype = self.enter.weight.dtype
        if not self.embedding:
            exposure = torch.zeros_like(exposure)
        condition = F.silu(
            self.time(sinusoids(time).to(dtype)) + self.exposure(sinusoids(16 * exposure).to(dtype))
        )
        x = self.enter(torch.cat([z, seen], 1).to(dtype, memory_format=torch.channels_last))
        x = self.down_attention(self.down(x, condition))
        y = F.pad(x, (0, -x.shape[3] % 2, 0, -x.shape[2] % 2), mode="replicate")
        y = self.second(self.attention(self.first(self.smaller(y), condition)), condition)
        y = F.interpolate(self.larger(y), scale_factor=2.0)[..., : x.shape[2], : x.shape[3]]
        x = self.up_attention(self.up(torch.cat([x, y], 1), condition))
        out: Tensor = self.leave(even(x))
        return out.float()


def share(time: Tensor) -> tuple[Tensor, Tensor]:
    """The shares of latent and noise in a noisy latent at times ``B`` (0..1000), ``B,1,1,1``: a cosine and a sine."""
    angle = (time.float() / TIMES).clamp(0.0, 1.0)[:, None, None, None] * (math.pi / 2)
    return angle.cos(), angle.sin()


def noisy(z: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """The latent at a time (what eq. 2 comes to), and the v that the network is to find there."""
    a, s = share(time)
    return a * z + s * noise, a * noise - s * z


def ddim(v: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """A latent from noise in ``steps`` steps, evenly spaced in time; ``v(z, time)`` is the network. Deterministic (eta is 0)."""
    z = noise
    for step in range(steps, 0, -1):
        now, then = (
            torch.full((z.shape[0],), TIMES * s / steps, device=z.device) for s in (step, step - 1)
        )
        found = v(z, now)
        a, s = share(now)
        clean, noise = a * z - s * found, s * z + a * found
        a, s = share(then)
        z = a * clean + s * noise
    return z
