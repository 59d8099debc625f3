"""Reads from small pictures which look undoes them, at a brightness that it is told."""

import tone
import torch
from torch import Tensor, nn

from sdr2hdr.color.luma import weights
from sdr2hdr.models.base.reader import TONES, colours_by_light

_BINS = 48
_WIDTH = 256


class SceneReader(nn.Module):
    """Thumbnails and a brightness to the numbers of a look (:mod:`sdr2hdr.models.tone`). Always computes in float32.

    It sees how light is distributed and what colours go with which light (curves on R, G and B desaturate the bright ones,
    others do not), not what the picture shows: that told nothing more on scenes set aside.
    """

    keep_float32 = True

    def __init__(self) -> None:
        super().__init__()
        seen = 5 * _BINS + 6 * TONES
        self.read = nn.Sequential(
            nn.Linear(seen, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH // 2), nn.ReLU()
        )
        self.told = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, tone.NUMBERS))
        self.choose = nn.Sequential(
            nn.Linear(_WIDTH // 2 + 1, _WIDTH // 2), nn.ReLU(), nn.Linear(_WIDTH // 2, tone.NUMBERS)
        )
        for layer in (self.told[-1], self.choose[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, thumb: Tensor, brightness: Tensor) -> Tensor:
        """The look ``B,18`` of thumbnails ``B,3,S,S`` at a brightness ``B``."""
        return self.numbers(seen(thumb), brightness)

    def numbers(self, features: Tensor, brightness: Tensor) -> Tensor:
        """The look ``B,18`` of what :func:`seen` gives, ``B,432``, at a brightness ``B``."""
        told = brightness.float().log()[:, None] - 0.75
        raw = self.told(told) + self.choose(torch.cat([self.read(features), told], 1))
        return tone.bounded(torch.cat([brightness.float()[:, None], raw[:, 1:]], 1))


def seen(thumb: Tensor) -> Tensor:
    """What a reader sees of thumbnails ``B,3,S,S``: ``B,432``, histograms of light and mean colours by light."""
    x = thumb.float().clamp(0, 1)
    luma = (x * x.new_tensor(weights("bt709"))[:, None, None]).sum(1, keepdim=True)
    light = torch.cat([x, luma, x.amax(1, keepdim=True)], 1).flatten(2)
    counts = light.new_zeros(*light.shape[:2], _BINS)
    counts.scatter_add_(2, (light * (_BINS - 0.001)).long(), torch.ones_like(light))
    counts = (counts * (4096 / light.shape[2]) + 1).log() / 8
    return torch.cat([counts.flatten(1), colours_by_light(x, luma).flatten(1)], 1)
