"""Light in areas that an SDR picture shows as flat white, as far as what lies around each pixel tells it.

Our own: a linear filter of eight maps, whose weights ``python -m benchmarks.clipped --fit`` found; lab/training.md has what it
is worth.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.boxes import box_sums
from sdr2hdr.color.luma import weights

KR, KG, KB = weights("bt709")

WEIGHTS = {1: (0.0319, 0.1068), 2: (-0.1021, 0.0386, -0.0369), 8: (0.0230, 0.0167, -0.0183)}
"""By reach, the weights of the maps of :func:`points`, less 1, in what is added to the factor of the codes."""

OFFSET = 0.0296
"""What is added to the factor in the middle of a white area."""

RANGE = (-0.03, 0.05)
"""The least and the most that is added to the factor. With less, a brighter pixel could become darker than another."""

HIGHEST = 1.0 + RANGE[1]
"""The highest code that :func:`lit` gives."""

CLIPPED, PALE = (242 / 255, 250 / 255), (0.5, 0.8)
"""Codes of a pixel's largest and of its least channel: nothing changes up to the first, and all of the filter counts from the
second on. Light of a saturated colour cannot be told from its surroundings, and drawn pictures are full of it."""

BRIGHT, WHITE = (225 / 255, 1.0), (235 / 255, 1.0)
"""Codes of the largest and of the least channel between which ramps of the maps rise."""


def lit(sdr: Tensor) -> Tensor:
    """R'G'B' ``B,3,H,W`` 0..1 with light distributed in its white areas: codes up to :data:`HIGHEST`.

    All channels of a pixel are multiplied alike. Pixels that are not nearly white stay as they are.
    """
    added = sdr.new_full((), OFFSET)
    for reach, maps in points(sdr).items():
        weighted = [(m - 1) * w for m, w in zip(maps.unbind(1), WEIGHTS[reach], strict=True)]
        added = added + averaged(torch.stack(weighted).sum(0)[:, None], reach)
    return sdr * (1 + share(sdr) * added.clamp(*RANGE))


def points(sdr: Tensor) -> dict[int, Tensor]:
    """The maps ``B,N,H,W`` of R'G'B' ``B,3,H,W`` by the reach over which they are then averaged; 1 where it is white."""
    r, g, b = sdr.unbind(1)
    luma, least, most = KR * r + KG * g + KB * b, sdr.amin(1), sdr.amax(1)
    return {
        1: torch.stack([luma**6, least], 1),
        2: torch.stack([least, _ramp(most, *BRIGHT), luma**2.5], 1),
        8: torch.stack([_ramp(least, *WHITE), _ramp(most, *CLIPPED), least**2.5], 1),
    }


def share(sdr: Tensor) -> Tensor:
    """How much of the filter counts at each pixel of R'G'B' ``B,3,H,W``, 0..1: ``B,1,H,W``."""
    most, least = sdr.amax(1, keepdim=True), sdr.amin(1, keepdim=True)
    return _ramp(most, *CLIPPED) * _ramp(least, *PALE)


def averaged(x: Tensor, reach: int) -> Tensor:
    """The mean ``B,N,H,W`` over ``2 reach + 1`` pixels across and down, twice; a picture's border is repeated outwards."""
    count = 2 * reach + 1
    for _ in range(2):
        x = box_sums(F.pad(x, (reach,) * 4, mode="replicate"), count) / count**2
    return x


def _ramp(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to ``low``, 1 from ``high`` on, straight between."""
    return ((x - low) / (high - low)).clamp(0, 1)
