"""What a network is told of how strongly its source was compressed."""

import torch
from torch import Tensor, nn

from sdr2hdr.models.parts.blocks import zero
from sdr2hdr.models.parts.film import Film, films

_MIDDLE, _RANGE = 32.0, 10.0
_HIDDEN = 32


class Compression(nn.Module):
    """A scene's QP as the condition of a layer of ``channels``: it scales and shifts that layer's features.

    It starts with gains of 1 and shifts of 0. A QP that is not known is a case of its own, learnt like the others.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(2, _HIDDEN)
        self.turns = nn.Linear(_HIDDEN, 2 * channels)
        self.start()

    def start(self) -> None:
        """Begin as a layer that changes nothing."""
        self.first.reset_parameters()
        zero(self.turns)

    def forward(self, qp: Tensor) -> Film:
        """The condition for QPs ``B``, NaN where unknown."""
        unknown = torch.isnan(qp)
        facts = torch.stack([(qp - _MIDDLE) / _RANGE, unknown], dim=1)
        facts = torch.where(unknown[:, None], facts.new_tensor([0.0, 1.0]), facts)
        return films(self.turns(torch.tanh(self.first(facts.to(self.first.weight.dtype)))), 1)[0]
