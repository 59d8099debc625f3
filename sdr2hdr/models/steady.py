"""A frame with the noise that a steeper mapping would make visible averaged over its neighbours, where nothing moves."""

import torch.nn.functional as F
from torch import Tensor

REACH = 2
"""Neighbouring frames on each side."""

ALIKE = 2 / 255
"""Two frames whose 5x5 pixels differ by this in the mean are averaged with a weight of 1/e; noise of one code differs by less,
and what moves, by more."""


def steadied(frames: Tensor, at: int) -> Tensor:
    """Frame ``at`` of ``B,T,3,H,W`` (SDR codes 0..1), ``B,3,H,W`` in float32: its mean with as many frames before as after it, at
    most two each, every place weighted by how alike they are there.

    HDR has more contrast than SDR, and shows as flicker what sensor and codec change from frame to frame where the picture
    stands still. Neighbours count in pairs, so that a fade is not held back; a scene's first and last frames stay as they are.
    """
    now = frames[:, at].float()
    total, weights = now.clone(), now.new_ones(now.shape[0], 1, *now.shape[2:])
    for step in range(1, min(REACH, at, frames.shape[1] - 1 - at) + 1):
        for other in (frames[:, at - step].float(), frames[:, at + step].float()):
            apart = F.avg_pool2d((other - now).abs().amax(1, keepdim=True), 5, 1, 2, count_include_pad=False)
            weight = (apart / ALIKE).square().neg().exp()
            total.addcmul_(weight, other)
            weights += weight
    return total / weights
