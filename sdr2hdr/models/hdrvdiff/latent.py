"""The autoencoder of HDR-LDM: a tone-mapped picture to a latent of an eighth of its size, and back with features at each size."""

from abc import ABC, abstractmethod
from typing import NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.errors import ModelError
from sdr2hdr.models import inputs
from sdr2hdr.models.model import Window
from sdr2hdr.models.parts.blocks import ResidualBlock

CELL = 8
"""The side, in pixels, of the square that one position of the latent stands for."""


def starting_noise(window: Window, channels: int) -> Tensor:
    """The noise ``B,channels,H/8,W/8`` that diffusion starts with: by default that of the picture's upper left corner.

    Raises ModelError for sides that are no multiples of ``CELL``.
    """
    height, width = window.frames.shape[-2:]
    if height % CELL or width % CELL:
        raise ModelError(
            f"HDR-V-Diff takes sides that are multiples of {CELL}, not {width}x{height}; rendering pads a picture."
        )
    noise = window.noise
    if noise is None:
        noise = inputs.field(channels, (height // CELL, width // CELL))
    return noise.to(window.frames.device).expand(len(window.frames), -1, -1, -1)


class Decoded(NamedTuple):
    """A picture ``B,3,H,W`` in the mu-law domain, and features at 1/8, 1/4 and 1/2 of its size."""

    picture: Tensor
    features: tuple[Tensor, ...]


class LatentAutoencoder(nn.Module, ABC):
    """Pictures ``B,3,H,W`` 0..1 to latents ``B,latent,H/8,W/8`` of about unit variance, and back; sides are multiples of 8.

    ``channels`` are those of the features at 1/2, 1/4 and 1/8 of the size.
    """

    channels: tuple[int, int, int]
    latent: int

    @abstractmethod
    def encode(self, picture: Tensor) -> Tensor:
        """The latent of a picture."""

    @abstractmethod
    def decode(self, z: Tensor) -> Decoded:
        """The picture of a latent, and features at each size."""


class Autoencoder(LatentAutoencoder):
    """Our own, small. Nothing is normalised over the picture, so tiles agree."""

    def __init__(self, channels: tuple[int, int, int] = (24, 48, 64), latent: int = 4) -> None:
        super().__init__()
        a, b, c = channels
        self.channels, self.latent = channels, latent
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, a, 3, padding=1), ResidualBlock(a),
            nn.Conv2d(a, b, 3, stride=2, padding=1), ResidualBlock(b),
            nn.Conv2d(b, c, 3, stride=2, padding=1), ResidualBlock(c), ResidualBlock(c),
            nn.Conv2d(c, latent, 1),
        )  # fmt: skip
        self.small = nn.Sequential(
            nn.Conv2d(latent, c, 3, padding=1), ResidualBlock(c), ResidualBlock(c)
        )
        self.middle = nn.Sequential(nn.Conv2d(c, b, 3, padding=1), ResidualBlock(b))
        self.large = nn.Sequential(nn.Conv2d(b, a, 3, padding=1), ResidualBlock(a))
        self.last = nn.Conv2d(a, 12, 3, padding=1)

    def encode(self, picture: Tensor) -> Tensor:
        return cast(Tensor, self.encoder(2 * picture.to(self.last.weight.dtype) - 1))

    def decode(self, z: Tensor) -> Decoded:
        small = self.small(z.to(self.last.weight.dtype))
        middle = self.middle(F.interpolate(small, scale_factor=2.0))
        large = self.large(F.interpolate(middle, scale_factor=2.0))
        picture = F.pixel_shuffle(self.last(large), 2).float() * 0.5 + 0.5
        return Decoded(picture, (small, middle, large))
