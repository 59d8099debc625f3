"""How a darker display shows a scene: a straight line up to a knee and a Bezier curve above it, as HDR10+ describes it.

Sources: SMPTE ST 2094-40 (knee point, Bezier curve), BT.2390-11 5.4.1 (the roll-off that the curve follows).
"""

from dataclasses import dataclass
from math import comb
from typing import Self

import torch
from torch import Tensor

from sdr2hdr.color.tonemap import bt2390_eetf
from sdr2hdr.color.transfer import pq_code, pq_nits

ANCHORS = 9
"""Anchors of the curve, between a first one of 0 and a last one of 1: what profile B of HDR10+ has."""

KNEE_STEPS, ANCHOR_STEPS = 4095, 1023
_SAMPLES = 256
_HEAVY, _ENOUGH, _NOTHING = 1e3, 1e-9, 1e-12


@dataclass(frozen=True)
class GuidedCurve:
    """The curve in whole steps: ``knee`` x of 4095 parts of the scene's peak, y of the target; ``anchors`` of 1023 parts."""

    knee: tuple[int, int]
    anchors: tuple[int, ...]

    @classmethod
    def of(cls, peak: float, target: float) -> Self:
        """The curve for a scene that reaches ``peak`` nits on a display that reaches ``target``.

        Up to the knee of BT.2390 light stays as it is. Above it, the anchors are those whose curve has the smallest squared
        distance from BT.2390's among all that rise ever more slowly. A scene that the display can show is not changed.
        """
        degree = ANCHORS + 1
        if peak <= target:
            return cls((0, 0), tuple(round(ANCHOR_STEPS * i / degree) for i in range(1, degree)))
        start = 1.5 * pq_code(target) - 0.5 * pq_code(peak)
        x = round(KNEE_STEPS * pq_nits(start) / peak)
        y = round(x * peak / target)
        t = torch.linspace(0.0, 1.0, _SAMPLES + 1, dtype=torch.float64)[1:-1]
        nits = peak * (x / KNEE_STEPS + (1 - x / KNEE_STEPS) * t)
        shown = bt2390_eetf(nits.float().expand(3, 1, -1), peak, target)[0, 0].double()
        above = (shown / target - y / KNEE_STEPS) / (1 - y / KNEE_STEPS)
        basis = torch.stack(
            [comb(degree, i) * t**i * (1 - t) ** (degree - i) for i in range(1, degree + 1)], dim=1
        )
        # polygons that rise in a straight line to 1 at an anchor and stay there: every concave one is a mean of these
        corners = [[min(1.0, i / j) for i in range(1, degree + 1)] for j in range(1, degree + 1)]
        polygons = torch.tensor(corners, dtype=torch.float64)
        shares = _mean(basis @ polygons.T, above)
        points = shares @ polygons
        return cls((x, y), tuple(round(ANCHOR_STEPS * float(p)) for p in points[:-1]))


def _mean(curves: Tensor, wanted: Tensor) -> Tensor:
    """The shares, none negative and 1 in all, with which the mean of curves ``N,K`` is closest to ``wanted`` ``N``.

    Non-negative least squares by Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23).
    """
    count = curves.shape[1]
    a = torch.cat([curves, torch.full((1, count), _HEAVY, dtype=curves.dtype)])
    b = torch.cat([wanted, torch.tensor([_HEAVY], dtype=wanted.dtype)])
    shares = torch.zeros(count, dtype=a.dtype)
    used = torch.zeros(count, dtype=torch.bool)
    for _ in range(3 * count):
        gain = (a.T @ (b - a @ shares)).masked_fill(used, 0.0)
        if float(gain.max()) < _ENOUGH:
            break
        used[gain.argmax()] = True
        while True:
            best = torch.zeros_like(shares)
            best[used] = torch.linalg.lstsq(a[:, used], b[:, None]).solution[:, 0]
            low = used & (best <= 0)
            if not low.any():
                break
            step = (shares[low] / (shares[low] - best[low])).min()
            shares += step * (best - shares)
            used &= shares > _NOTHING
        shares = best
    return shares / shares.sum()
