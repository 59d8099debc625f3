"""The curve of HDR10+, evaluated as ST 2094-40 has it, against the roll-off of BT.2390."""

from math import comb

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sdr2hdr.color.guided import GuidedCurve
from sdr2hdr.color.tonemap import bt2390_eetf
from sdr2hdr.color.transfer import pq_inverse_eotf


def shown(
    curve: GuidedCurve, nits: NDArray[np.float64], peak: float, target: float
) -> NDArray[np.float64]:
    """Nits that a display of ``target`` nits shows of a scene's nits: a line to the knee, a Bezier curve above it."""
    x, (knee_x, knee_y) = nits / peak, (step / 4095 for step in curve.knee)
    points = [0.0, *(anchor / 1023 for anchor in curve.anchors), 1.0]
    t = np.clip((x - knee_x) / (1 - knee_x), 0, 1)
    degree = len(points) - 1
    bezier = sum(comb(degree, i) * t**i * (1 - t) ** (degree - i) * p for i, p in enumerate(points))
    line = x * knee_y / knee_x if knee_x else np.zeros_like(x)
    return target * np.where(x < knee_x, line, knee_y + (1 - knee_y) * bezier)


@pytest.mark.parametrize(
    ("peak", "codes"), [(401, 0.1), (500, 0.1), (1000, 0.1), (2000, 0.3), (4000, 12)]
)
def test_the_curve_follows_bt2390(peak: int, codes: float) -> None:
    curve = GuidedCurve.of(peak, 400)
    nits = np.linspace(0.01, peak, 3000)
    got = shown(curve, nits, peak, 400)
    light = torch.from_numpy(nits).float().expand(3, 1, -1)
    wanted = pq_inverse_eotf(bt2390_eetf(light, float(peak), 400.0)[0, 0])
    apart = (pq_inverse_eotf(torch.from_numpy(got)) - wanted).abs() * 1023
    assert float(apart.max()) < codes
    assert (np.diff(got) >= 0).all() and got[-1] == pytest.approx(400)
    assert len(curve.anchors) == 9 and all(0 <= anchor <= 1023 for anchor in curve.anchors)


@pytest.mark.parametrize("peak", [0.0, 3.0, 203.0, 400.0])
def test_a_scene_that_the_display_can_show_is_not_changed(peak: float) -> None:
    curve = GuidedCurve.of(peak, 400)
    x = np.linspace(0, 1, 100)
    assert shown(curve, x, 1.0, 1.0) == pytest.approx(x, abs=1e-3)
