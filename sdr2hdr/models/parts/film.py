"""FiLM (Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer): features scaled and shifted by a condition."""

import itertools
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.parts.blocks import zero


@dataclass(frozen=True)
class Film:
    """A gain and a shift per channel, ``B,C`` each; called on features ``B,C,h,w``."""

    gain: Tensor
    shift: Tensor

    def __call__(self, feature: Tensor) -> Tensor:
        return feature * self.gain[:, :, None, None] + self.shift[:, :, None, None]


def films(condition: Tensor, layers: int) -> list[Film]:
    """One :class:`Film` for each of some layers from ``B,2*layers*C``; zeros change nothing."""
    parts = condition.chunk(2 * layers, dim=1)
    return [Film(1.0 + parts[2 * i], parts[2 * i + 1]) for i in range(layers)]


class GlobalContext(nn.Module):
    """A thumbnail ``B,3,S,S``, encoded and averaged, as the condition of some layers of a network.

    It starts with gains of 1 and shifts of 0.
    """

    def __init__(self, channels: int, layers: int, hidden: int = 64) -> None:
        super().__init__()
        self.layers = layers
        sizes = (3, hidden // 2, hidden, hidden)
        self.encoder = nn.Sequential(
            *(
                layer
                for a, b in itertools.pairwise(sizes)
                for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())
            )
        )
        self.mix = nn.Linear(hidden, hidden)
        self.turns = nn.Linear(hidden, 2 * layers * channels)
        zero(self.turns)

    def forward(self, thumb: Tensor) -> list[Film]:
        encoded = self.encoder(thumb.to(self.mix.weight.dtype)).mean(dim=(2, 3))
        return films(self.turns(F.relu(self.mix(encoded))), self.layers)
