"""Values weighted with the softmax of their scores."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def softmax_blend(scores: list[Tensor], values: list[Tensor]) -> Tensor:
    """Three values weighted with the softmax of their scores, all of one shape.

    The third is weighted against the first two, which are blended in the same way.
    Stacking three scores for ``softmax`` costs several times as much, in copies.
    """
    (s0, s1, s2), (a0, a1, a2) = scores, values
    first_two = torch.lerp(a0, a1, torch.sigmoid(s1 - s0))
    return torch.lerp(first_two, a2, torch.sigmoid(s2 - torch.logaddexp(s0, s1)))


Blend = Callable[[list[Tensor], list[Tensor]], Tensor]
"""The kind of :func:`softmax_blend`."""


class SoftmaxBlend(nn.Module):
    """:func:`softmax_blend`, in whose place a kernel may be put."""

    def __init__(self) -> None:
        super().__init__()
        self.blend: Blend = softmax_blend

    def forward(self, scores: list[Tensor], values: list[Tensor]) -> Tensor:
        return self.blend(scores, values)
