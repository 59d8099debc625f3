"""Simulated footage of alternating exposures: an 8-bit camera's pictures of known light.

Light is clipped where an exposure is too long, noise is that of photons and of reading out (relative to the sensor, so that
short exposures are the noisier ones), and codes are a power of 1 / 2.2, rounded to 8 bits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import CAMERA_GAMMA, WHITE, pq_eotf, pq_inverse_eotf
from sdr2hdr.data.objects import with_object

Cycles = tuple[tuple[float, ...], ...]

CYCLES: Cycles = (
    (1.0, 0.25),
    (2.0, 0.25),
    (4.0, 0.25),
    (1.0, 0.125),
    (4.0, 1.0, 0.25),
    (1.0, 0.25, 0.0625),
)
"""Relative exposure times that alternate; 1 clips at SDR white, 203 nits."""

PEAK = 1000.0
MOVING = 0.5
"""The share of drawn shots with an independently moving object."""


@dataclass(frozen=True)
class Shot:
    """Frames ``B,T,3,H,W`` 0..1 with their exposures ``B,T`` (on the CPU, because they are read there), and the truth: PQ codes
    of the same shape."""

    frames: Tensor
    exposures: Tensor
    truth: Tensor


def shoot(
    codes: Tensor, cycle: tuple[float, ...], phase: int, generator: torch.Generator | None = None
) -> Shot:
    """A camera's frames of a master's PQ codes ``B,T,3,H,W``, starting ``phase`` frames into the cycle.

    The truth is the master clipped to BT.709 and 1000 nits, because a camera's gamut is not judged. Random numbers are drawn
    on the CPU, so that they are the same on every device.
    """
    nits = convert(pq_eotf(codes).clamp_max(PEAK), "bt2020", "bt709").clamp_min(0.0)
    (b, t), there = codes.shape[:2], codes.device
    times = [cycle[(i + phase) % len(cycle)] for i in range(t)]
    exposures = torch.tensor(times).expand(b, t)
    photons, reading = (
        (low * (high / low) ** torch.rand((b, 1, 1, 1, 1), generator=generator)).to(there)
        for low, high in ((2e-4, 1e-3), (5e-4, 2e-3))
    )
    signal = nits / WHITE * exposures.to(there)[..., None, None, None]
    noise = torch.randn(signal.shape, generator=generator).to(there)
    signal = signal + noise * (photons * signal.clamp(0, 1) + reading.square()).sqrt()
    frames = (signal.clamp(0, 1).pow(1 / CAMERA_GAMMA) * 255).round() / 255
    return Shot(frames, exposures, pq_inverse_eotf(convert(nits, "bt709", "bt2020")))


def drawn(
    codes: Tensor, generator: torch.Generator, moving: float = MOVING, cycles: Cycles = CYCLES
) -> Shot:
    """A shot of one of the ``cycles``, beginning anywhere in it. The share ``moving`` of them has an independently
    moving object: a piece of the next clip's middle frame (of its own if there is one clip)."""
    if bool(torch.rand((), generator=generator) < moving):
        codes, _ = with_object(codes, codes[:, codes.shape[1] // 2].roll(1, 0), generator)
    cycle = cycles[int(torch.randint(len(cycles), (), generator=generator))]
    return shoot(codes, cycle, int(torch.randint(len(cycle), (), generator=generator)), generator)
