"""A grade changes a picture by a curve on the brightest channel. The curve follows from what the model makes of greys."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sdr2hdr.color.exposure import MID_GREY
from sdr2hdr.color.grade import Grade
from sdr2hdr.color.primaries import luminance
from sdr2hdr.color.tonemap import bt2390_eetf
from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf

_ENTRIES = 1024
_SAME = 1e-4  # of a brightness: less is not worth a pass over the picture
_KEPT = 0.5  # saturation takes at most this share of the least channel, as in the model look

GREYS = torch.linspace(0.0, 1.0, _ENTRIES + 1)
"""The SDR codes of the ramp that :meth:`Curve.of` is told."""


@dataclass(frozen=True)
class Curve:
    """Gains ``1025`` by the PQ code of the brightest channel, from 0 up to ``top``; light ends at ``peak`` nits."""

    gains: Tensor
    top: float
    peak: float

    @classmethod
    def of(cls, grade: Grade, greys: Tensor, peak: float) -> Self | None:
        """What a grade makes of a model that maps :data:`GREYS` to PQ codes ``1025``; None if it changes nothing.

        Light that comes to more than ``peak`` nits rolls off to it (BT.2390).
        """
        ramp = pq_eotf(greys.float().cpu()).cummax(0).values
        middle = float(ramp[_ENTRIES // 2])
        factor = 1.0
        if grade.brightness is not None:
            factor = grade.brightness * MID_GREY / max(middle, 1e-3)
        if abs(factor - 1) < _SAME and grade.highlights == 1.0:
            return None
        top = float(pq_inverse_eotf(torch.tensor(max(peak, float(ramp[-1])))))
        nits = pq_eotf(torch.linspace(0.0, top, _ENTRIES + 1))
        found = nits * factor
        if grade.highlights != 1.0:
            found = _raised(found, ramp * factor, grade.highlights)
        most = float(found[-1])
        found = bt2390_eetf(found.expand(3, 1, -1), max(most, peak), peak)[0, 0]
        gains = found / nits.clamp_min(1e-6)
        gains[0] = gains[1]
        return cls(gains.to(greys.device), top, peak)

    def __call__(self, codes: Tensor) -> Tensor:
        """BT.2020 nits ``N,3,H,W`` of PQ codes of that shape."""
        place = codes.amax(1, keepdim=True) * (_ENTRIES / self.top)
        place = place.clamp(0, _ENTRIES)
        below = place.long().clamp_max(_ENTRIES - 1)
        gain = torch.lerp(self.gains[below], self.gains[below + 1], place - below)
        return (pq_eotf(codes) * gain).clamp_max(self.peak)


def saturated(nits: Tensor, saturation: float, peak: float) -> Tensor:
    """BT.2020 light ``N,3,H,W`` with its distance from grey multiplied; no channel above ``peak``, hue kept.

    A colour keeps at least half of its least channel, and with it the detail in saturated areas.
    """
    grey = luminance(nits).unsqueeze(1)
    least = nits.amin(1, keepdim=True)
    room = _KEPT * least / (grey - least).clamp_min(1e-6)
    nits = nits + (nits - grey) * room.clamp_max(saturation - 1)
    return nits.clamp_min(0.0) * (peak / nits.amax(1, keepdim=True).clamp_min(peak))


def _raised(nits: Tensor, ramp: Tensor, power: float) -> Tensor:
    """Light whose gain over linear light, above what SDR code 0.5 becomes, is raised to a power; ``ramp`` is that of greys."""
    at = GREYS[_ENTRIES // 2 :]
    mine = ramp[_ENTRIES // 2 :]
    gains = (mine / (mine[0] * (at / 0.5).pow(2.4)).clamp_min(1e-6)).log()
    changes = gains * (power - 1)
    rising = mine + torch.arange(len(mine)) * 1e-6  # so that each light has one place
    i = torch.searchsorted(rising, nits).clamp(1, len(mine) - 1)
    part = ((nits - rising[i - 1]) / (rising[i] - rising[i - 1])).clamp(0, 1)
    return nits * torch.lerp(changes[i - 1], changes[i], part).exp()
