"""Scene light from frames of known exposures: eq. 1 of HDR-V-Diff, how far to trust each, and the weighted merge.

Exposures are relative times; a frame of exposure 1 is clipped at SDR white (203 nits). Light is in nits, BT.709 primaries.
"""

import torch
from torch import Tensor

from sdr2hdr.color.transfer import CAMERA_GAMMA, WHITE


def linear(frames: Tensor, exposures: Tensor) -> Tensor:
    """Light over SDR white of frames ``B,T,3,H,W`` 0..1 with exposures ``B,T``: the second half of eq. 1."""
    return frames.float().clamp(0, 1).pow(CAMERA_GAMMA) / exposures.float()[..., None, None, None]


def six_channels(frames: Tensor, exposures: Tensor) -> Tensor:
    """Eq. 1: frames ``B,T,3,H,W`` of exposures ``B,T`` and their light, ``B,T,6,H,W``."""
    return torch.cat([frames.float(), linear(frames, exposures)], dim=2)


def trust(frames: Tensor) -> Tensor:
    """The confidence ``...,1,H,W`` in frames ``...,3,H,W``: the square of the code, and 0 if a channel is clipped.

    Noise and rounding weigh about the same on every code, so the light's relative precision grows with the code; a clipped
    channel gives only a lower limit.
    """
    brightest = frames.float().amax(-3, keepdim=True)
    return ((0.985 - brightest) / 0.07).clamp(0, 1) * (brightest.square() + 1e-4)


def sureness(weight: Tensor) -> Tensor:
    """The logarithm of a sum of confidences, as a number from 0 to about 1."""
    return (weight.clamp_min(1e-6).log10() / 6 + 1).clamp(0, 1.2)


def merge(frames: Tensor, exposures: Tensor, also: Tensor | None = None) -> Tensor:
    """Nits ``B,3,H,W`` of frames ``B,T,3,H,W`` laid over each other, weighed by :func:`trust` (times ``also B,T,1,H,W``).

    Where all are clipped the shortest exposure counts, where all are black the longest.
    """
    weight = trust(frames) if also is None else trust(frames) * also
    light = linear(frames, exposures)
    total = weight.sum(1)
    merged = (weight * light).sum(1) / total.clamp_min(1e-9)
    order = exposures.float()[..., None, None, None]
    shortest = torch.take_along_dim(light, order.argmin(1, keepdim=True), 1)[:, 0]
    # all exposures clipped: fades to the shortest, which is the most reliable
    sure = (total / 0.01).clamp(0, 1)
    bright = frames.float().amax(2, keepdim=True).amin(1) > 0.5
    merged = torch.where(bright, sure * merged + (1 - sure) * shortest, merged)
    return merged * WHITE


def at_exposure(frame: Tensor, exposure: Tensor, wanted: Tensor) -> Tensor:
    """A frame ``B,3,H,W`` as it would be with a longer exposure ``B``: brighter, and clipped where that clips."""
    gain = (wanted / exposure).float()[:, None, None, None]
    return (frame.float() * gain.pow(1 / CAMERA_GAMMA)).clamp(0, 1)
