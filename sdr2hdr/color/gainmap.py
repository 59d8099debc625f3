"""Gain maps: how much brighter each pixel of an SDR picture is in HDR.

Sources: ISO 21496-1:2025 (the computation of gain maps and their application), Ultra HDR image format 1.1 (Android).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

OFFSET = 1 / 64
"""What is added to the light of both pictures, so that black has a ratio (Ultra HDR's default)."""

STEPS = 1 << 16
"""Steps of a stop in which a map's limits are written."""

_LEAST_HEADROOM = 0.125
"""Stops of headroom that a picture names at least: readers divide by it."""


@dataclass(frozen=True)
class GainMap:
    """A gain map. ``samples`` is uint8 ``3,H,W``; 0 stands for ``low`` stops and 255 for ``high``. ``headroom`` is how many stops
    above SDR white the display must reach to show all of the HDR picture."""

    samples: Tensor
    low: float
    high: float
    headroom: float

    def applied(self, sdr: Tensor) -> Tensor:
        """The HDR light ``3,H,W`` (1 is SDR white) of the SDR light ``3,H,W`` 0..1, in the same primaries."""
        stops = self.samples.float().mul_((self.high - self.low) / 255).add_(self.low)
        return (sdr + OFFSET).mul_(stops.exp2_()).sub_(OFFSET)


def gain_map(sdr: Tensor, hdr: Tensor) -> GainMap:
    """The map from SDR light ``3,H,W`` 0..1 to HDR light ``3,H,W`` (1 is SDR white, 203 nits) in the same primaries."""
    stops = (hdr + OFFSET).div_(sdr + OFFSET).log2_()
    low = int(torch.floor(stops.min() * STEPS)) / STEPS
    high = int(torch.ceil(stops.max() * STEPS)) / STEPS
    samples = stops.sub_(low).mul_(255 / max(high - low, 1 / STEPS)).round_().to(torch.uint8)
    headroom = max(float(hdr.max().log2()), _LEAST_HEADROOM)
    return GainMap(samples, low, high, round(headroom * STEPS) / STEPS)
