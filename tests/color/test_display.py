"""Displays of SDR pictures, and brightness, against the standards' numbers."""

import colour
import numpy as np
import pytest
import torch

from sdr2hdr.color.display import USUAL, Display, light
from sdr2hdr.color.exposure import MID_GREY, brightness_between, exposed
from sdr2hdr.color.names import DISPLAY_PRIMARIES, TRANSFERS
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.tonemap import bt2408
from sdr2hdr.color.transfer import bt1886_eotf


def patch(*codes: float) -> torch.Tensor:
    return torch.tensor(codes).view(3, 1, 1)


def test_curves_of_displays() -> None:
    codes = torch.linspace(0, 1, 65)
    assert np.allclose(
        light(codes, "srgb"), colour.models.eotf_sRGB(codes.double().numpy()), atol=1e-6
    )
    for name, power in (
        ("bt1886", 2.4),
        ("gamma22", 2.2),
        ("gamma26", 2.6),
        ("gamma28", 2.8),
        ("linear", 1.0),
    ):
        assert torch.allclose(light(codes, name), codes.pow(power), atol=1e-6)


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("primaries", DISPLAY_PRIMARIES)
def test_the_same_light_comes_from_the_codes_of_a_bt1886_display(
    transfer: str, primaries: str
) -> None:
    grey = torch.linspace(0.05, 0.95, 19).expand(3, 1, -1)
    shown = bt1886_eotf(Display(transfer, primaries).as_bt709(grey))
    assert torch.allclose(shown, light(grey, transfer), rtol=2e-4)  # all whites are shown as D65
    inside = patch(0.55, 0.5, 0.45)
    wanted = convert(light(inside, transfer), primaries, "bt709")
    assert torch.allclose(
        bt1886_eotf(Display(transfer, primaries).as_bt709(inside)), wanted, rtol=1e-3
    )


def test_the_usual_display_changes_nothing() -> None:
    codes = torch.rand(3, 4, 4)
    assert USUAL.as_bt709(codes) is codes


def test_dci_p3_and_linear_patches() -> None:
    """A patch of 0xC04040 as coded, in nits of a display with white at 203: DCI-P3 with gamma 2.6, and linear BT.709."""
    codes = patch(0.7453, 0.2454, 0.2439)
    p3 = bt2408(Display("gamma26", "p3-dci").as_bt709(codes)).flatten().tolist()
    assert p3 == pytest.approx([72.6, 9.4, 5.1], rel=0.01)
    linear = bt2408(Display("linear", "bt709").as_bt709(codes)).flatten().tolist()
    assert linear == pytest.approx([113.5, 56.8, 51.2], rel=0.002)


def test_brightness_1_is_an_sdr_display_of_100_nits() -> None:
    assert pytest.approx(18.95, abs=0.01) == MID_GREY
    sdr = torch.rand(3, 64, 64)
    assert brightness_between(sdr, bt2408(sdr, white=250.0)) == pytest.approx(2.5, rel=1e-3)
    dark = 0.2 * sdr
    assert brightness_between(dark, bt2408(dark, white=130.0)) == pytest.approx(1.3, rel=1e-3)


@pytest.mark.parametrize("factor", [0.5, 1.3, 3.0])
def test_exposed_light_is_linear_below_the_roll_off_and_keeps_the_peak(factor: float) -> None:
    nits = torch.tensor([0.0, 1.0, 20.0, 100.0]).expand(3, 1, -1)
    assert torch.allclose(exposed(nits, factor, 1000.0), nits * factor, rtol=1e-3)
    bright = (
        torch.linspace(0, 1000, 200).expand(3, 1, -1) * torch.tensor([1.0, 0.7, 0.2])[:, None, None]
    )
    out = exposed(bright, factor, 1000.0)
    assert out.max() <= 1000.01 and (out[0, 0].diff() > -0.05).all()
    hue = out[1, 0, 1:] / out[0, 0, 1:]
    assert torch.allclose(hue, torch.full_like(hue, 0.7), rtol=1e-3)
