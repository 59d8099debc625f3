"""A frame with the noise that a steeper mapping would make visible averaged over its neighbours, where nothing moves."""

import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.boxes import box_sums

STEADY_REACH = 2
"""Neighbouring frames on each side that a frame is averaged with."""

UNLIKE = 3.5 / 255
"""Pixels whose 5x5 neighbourhoods differ by this or more in the mean are not averaged: noise of one code differs by less, and
motion by more."""


def steadied(frames: Tensor, at: int) -> Tensor:
    """Frame ``at`` of ``B,T,3,H,W`` (SDR codes 0..1), averaged with its neighbours: ``B,3,H,W`` in float32.

    At most two frames before it and as many after it count, at every pixel by how alike they are there. HDR has more
    contrast than SDR, so changes by sensor and codec in a still picture would show as flicker. Neighbours count in pairs,
    so that a fade is not held back; a scene's first and last frames stay as they are.
    """
    now = frames[:, at].float()
    total, weights = now.clone(), now.new_ones(now.shape[0], 1, *now.shape[2:])
    for step in range(1, min(STEADY_REACH, at, frames.shape[1] - 1 - at) + 1):
        for other in (frames[:, at - step].float(), frames[:, at + step].float()):
            far = (other - now).abs_().amax(1, keepdim=True)
            apart = box_sums(F.pad(far, (2, 2, 2, 2), mode="replicate"), 5).div_(25 * UNLIKE)
            weight = (1 - apart.square_()).clamp_min_(0.0).square_()  # Tukey's biweight
            total.addcmul_(weight, other)
            weights += weight
    return total.div_(weights)
