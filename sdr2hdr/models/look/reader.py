"""Reads from small pictures which look undoes them, at a brightness that it is told."""

import torch
from torch import Tensor, nn

from sdr2hdr.models.base.reader import DISTRIBUTION, distribution
from sdr2hdr.models.look import tone
from sdr2hdr.models.parts.precision import Float32

_WIDTH = 256
_DROPPED = 0.1
_CENTRE = 0.75  # the logarithm of a brightness in the middle of 1 to 4.5


class SceneReader(Float32):
    """Thumbnails and a brightness to the numbers of a look (:mod:`sdr2hdr.models.look.tone`).

    It sees how light is distributed and what colours go with which light: curves on R, G and B desaturate the bright ones,
    others do not. It does not see what the picture shows: that told nothing more on scenes set aside.
    """

    def __init__(self) -> None:
        super().__init__()
        half = _WIDTH // 2
        self.read = nn.Sequential(
            nn.Dropout(_DROPPED),
            nn.Linear(DISTRIBUTION, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, half),
            nn.ReLU(),
        )
        self.usual = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, tone.NUMBERS))
        self.choose = nn.Sequential(
            nn.Linear(half + 1, half), nn.ReLU(), nn.Linear(half, tone.NUMBERS)
        )
        for layer in (self.usual[-1], self.choose[-1]):
            for p in layer.parameters():
                nn.init.zeros_(p)

    def forward(self, thumb: Tensor, brightness: Tensor) -> Tensor:
        """The looks ``B,18`` of thumbnails ``B,3,S,S`` at brightnesses ``B``: what is usual there, and what the scene adds."""
        told = brightness.float().log()[:, None] - _CENTRE
        raw = self.usual(told) + self.choose(torch.cat([self.read(distribution(thumb)), told], 1))
        return tone.bounded(torch.cat([brightness.float()[:, None], raw[:, 1:]], 1))
