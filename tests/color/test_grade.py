"""Brightness, highlights and saturation: what each promises, for any model's mapping of greys."""

import pytest
import torch
from torch import Tensor

from sdr2hdr.color.exposure import MID_GREY
from sdr2hdr.color.grade import Grade
from sdr2hdr.color.graded import GREYS, Curve, saturated
from sdr2hdr.color.ictcp import ictcp
from sdr2hdr.color.primaries import luminance
from sdr2hdr.color.tonemap import bt2408, bt2446a
from sdr2hdr.color.transfer import pq_code, pq_eotf, pq_inverse_eotf


def mapped(sdr: Tensor, name: str) -> Tensor:
    """PQ codes ``1,3,H,W`` of SDR codes ``1,3,H,W`` by a standard."""
    return pq_inverse_eotf({"bt2408": bt2408, "bt2446a": bt2446a}[name](sdr))


def ramp(name: str) -> Tensor:
    return mapped(GREYS.expand(1, 3, 1, -1), name)[0, 1, 0]


def graded_greys(name: str, grade: Grade, peak: float = 1000.0) -> Tensor:
    """Nits of the grey ramp through a model and a grade."""
    curve = Curve.of(grade, ramp(name), peak)
    assert curve is not None
    return curve(mapped(GREYS.expand(1, 3, 1, -1), name))[0, 1, 0]


@pytest.mark.parametrize("name", ["bt2408", "bt2446a"])
@pytest.mark.parametrize("brightness", [0.5, 1.0, 2.5, 4.5, 8.0])
@pytest.mark.parametrize("highlights", [0.0, 1.0, 2.0])
def test_a_mid_grey_comes_out_as_asked_for_and_nothing_exceeds_the_peak(
    name: str, brightness: float, highlights: float
) -> None:
    nits = graded_greys(name, Grade(brightness, highlights))
    assert float(nits[512]) == pytest.approx(brightness * MID_GREY, rel=2e-3)
    assert float(nits.max()) <= 1000.0 and float(nits[0]) < 0.001
    assert (nits.diff() > -0.05).all()


def test_highlights_of_zero_are_linear_light_above_mid_grey() -> None:
    nits = graded_greys("bt2446a", Grade(2.0, 0.0))
    linear = 200.0 * GREYS[512:].pow(2.4)
    torch.testing.assert_close(nits[512:], linear, rtol=5e-3, atol=0)


def test_highlights_of_two_raise_more_than_the_model_does() -> None:
    one, two = (graded_greys("bt2446a", Grade(1.5, h)) for h in (1.0, 2.0))
    at = int(0.8 * 1024)
    assert two[at] > 1.1 * one[at]
    torch.testing.assert_close(two[:512], one[:512], rtol=1e-4, atol=1e-4)


def test_the_standard_at_its_own_brightness_is_left_as_it_is() -> None:
    """SDR white at 203 nits is a brightness of 2.03: BT.2408."""
    assert Curve.of(Grade(2.03), ramp("bt2408"), 1000.0) is None
    assert Curve.of(Grade(), ramp("bt2446a"), 1000.0) is None


@pytest.mark.parametrize("saturation", [0.5, 0.8, 1.2, 1.5])
def test_saturation_keeps_hue_luminance_greys_and_every_channel(saturation: float) -> None:
    torch.manual_seed(0)
    nits = 300 * torch.rand(1, 3, 8, 64).pow(2)
    made = saturated(nits, saturation, 1000.0)
    assert made.max() <= 1000.001
    assert (made.amin(1) >= 0.499 * nits.amin(1) * (made.amax(1) < 999.0)).all()
    inside = made.amax(1) < 999.0
    torch.testing.assert_close(
        luminance(made)[inside], luminance(nits)[inside], rtol=1e-4, atol=1e-3
    )
    before, after = (x - luminance(x).unsqueeze(1) for x in (nits, made))
    cosine = torch.nn.functional.cosine_similarity(before, after, dim=1)
    coloured = before.norm(dim=1) > 1.0
    assert (cosine[coloured] > 0.9999).all()
    grey = torch.linspace(0, 900, 50).expand(1, 3, 1, 50)
    torch.testing.assert_close(saturated(grey, saturation, 1000.0), grey, rtol=1e-5, atol=1e-2)


def test_colours_keep_their_hue_when_the_brightness_changes() -> None:
    torch.manual_seed(1)
    sdr = torch.rand(1, 3, 4, 64) * 0.6
    codes = mapped(sdr, "bt2408")
    curve = Curve.of(Grade(3.0), ramp("bt2408"), 1000.0)
    assert curve is not None
    ratio = curve(codes) / pq_eotf(codes).clamp_min(1e-3)
    assert (ratio.amax(1) - ratio.amin(1)).abs().max() < 1e-2
    assert ictcp(curve(codes)).isfinite().all()


def test_a_peak_above_that_of_models_gives_highlights_room() -> None:
    nits = graded_greys("bt2446a", Grade(6.0, 1.0), peak=2000.0)
    assert 1000 < float(nits.max()) <= 2000.0 + 1e-2
    assert pq_code(float(nits.max())) > pq_code(1000.0)
