"""Conditions that know the whole picture: fast Fourier convolutions over its thumbnail, down to one vector and up to a map."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.parts.precision import Float32


class SpectralTransform(nn.Module):
    """A 1x1 convolution of the picture's spectrum: every position then depends on all (Chi et al., Fast Fourier Convolution)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.spectrum = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.enter(x))
        waves = torch.fft.rfft2(x, norm="ortho")
        parts = F.relu(self.spectrum(torch.cat([waves.real, waves.imag], dim=1)))
        real, imaginary = parts.chunk(2, dim=1)
        everywhere = torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[-2:], norm="ortho")
        out: Tensor = self.leave(x + everywhere)
        return out


class FourierConv(nn.Module):
    """Half of the channels are local, half cover the whole picture; each half also feeds the other."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        a, b = channels // 2, out // 2
        self.near, self.near_to_far, self.far_to_near = (
            nn.Conv2d(a, b, 3, padding=1) for _ in range(3)
        )
        self.far = SpectralTransform(a)
        self.widen = nn.Conv2d(a, b, 1) if a != b else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        near, far = x.chunk(2, dim=1)
        return F.relu(
            torch.cat(
                [
                    self.near(near) + self.far_to_near(far),
                    self.near_to_far(near) + self.widen(self.far(far)),
                ],
                dim=1,
            )
        )


class Conditions(Float32):
    """The condition generators of CGLFM: five Fourier convolutions with pooling; the mean is C^G, the way back up C^L.

    They read the thumbnail of the whole picture, so every tile of a frame gets the same. Always in float32: there is no
    transform in bfloat16, and the thumbnail is small.
    """

    GLOBAL = 64
    LOCAL = 32

    def __init__(self, local: bool) -> None:
        super().__init__()
        sizes = (16, 16, 32, 32, 64, 64)
        self.enter = nn.Conv2d(3, sizes[0], 3, padding=1)
        self.down = nn.ModuleList(FourierConv(a, b) for a, b in itertools.pairwise(sizes))
        self.up = nn.ModuleList()
        self.skip = nn.ModuleList()
        if local:
            back = (64, 64, 32, self.LOCAL)
            self.up = nn.ModuleList(
                nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(back)
            )
            self.skip = nn.ModuleList(
                nn.Conv2d(a, b, 1) for a, b in zip((64, 32, 32), back[1:], strict=True)
            )

    def forward(self, thumb: Tensor) -> tuple[Tensor, Tensor | None]:
        """C^G ``B,64`` and, if asked for, C^L ``B,32,S/4,S/4`` of thumbnails ``B,3,S,S``."""
        x = F.relu(self.enter(thumb.float() - 0.5))
        sizes = []
        for stage in self.down:
            x = F.avg_pool2d(stage(x), 2)
            sizes.append(x)
        vector = x.mean(dim=(2, 3))
        if not len(self.up):
            return vector, None
        for up, skip, before in zip(self.up, self.skip, reversed(sizes[1:-1]), strict=True):
            x = F.interpolate(x, size=before.shape[-2:], mode="bilinear", align_corners=False)
            x = F.relu(up(x) + skip(before))
        return vector, x


class FeatureConditions(Float32):
    """The condition generators as printed: of features, down five times, and from there up five times to their size.

    How a Fourier convolution's channels are split is not in the paper; all are as wide as the features here. Float32, as
    :class:`Conditions`.
    """

    DEPTH = 5

    def __init__(self, channels: int, local: bool) -> None:
        super().__init__()
        self.down = nn.ModuleList(FourierConv(channels, channels) for _ in range(self.DEPTH))
        self.up = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(self.DEPTH if local else 0)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """C^G ``B,C`` and, if asked for, C^L ``B,C,h,w`` of features ``B,C,h,w``."""
        x, sizes = features.float(), []
        for stage in self.down:
            sizes.append(x.shape[-2:])
            x = F.avg_pool2d(stage(x), 2, ceil_mode=True)
        vector = x.mean(dim=(2, 3))
        if not len(self.up):
            return vector, None
        for up, size in zip(self.up, reversed(sizes), strict=True):
            x = F.relu(up(F.interpolate(x, size=size, mode="bilinear", align_corners=False)))
        return vector, x


def at_place(whole: Tensor, place: Tensor | None, size: tuple[int, int]) -> Tensor:
    """The part ``place B,4`` of a map ``B,C,a,b`` of whole pictures, bilinear, as ``B,C,*size``.

    A place is top, left, bottom, right as shares of the picture; None is all of it.
    """
    b = whole.shape[0]
    if place is None:
        place = whole.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(b, 4)
    place = place.to(whole.dtype)
    rows, columns = (
        (torch.arange(n, device=whole.device, dtype=whole.dtype) + 0.5) / n for n in size
    )
    y = 2 * (place[:, :1] + rows * (place[:, 2:3] - place[:, :1])) - 1
    x = 2 * (place[:, 1:2] + columns * (place[:, 3:] - place[:, 1:2])) - 1
    grid = torch.stack([x[:, None, :].expand(b, *size), y[:, :, None].expand(b, *size)], dim=-1)
    return F.grid_sample(whole, grid, mode="bilinear", padding_mode="border", align_corners=False)
