"""Transfer curves, primaries, ICtCp and static mappings against the standards' numbers and colour-science."""

import colour
import numpy as np
import pytest
import torch

from sdr2hdr.color import ictcp, primaries, tonemap, transfer
from sdr2hdr.color.hlg import hlg_of_pq


@pytest.mark.parametrize(
    ("nits", "code"), [(100, 509), (203, 573), (600, 674), (1000, 723), (4000, 855)]
)
def test_pq_anchors_of_bt2408(nits: float, code: int) -> None:
    ten_bit = 64 + 876 * transfer.pq_inverse_eotf(torch.tensor([float(nits)]))
    assert round(ten_bit.item()) == code
    assert round(64 + 876 * transfer.pq_code(nits)) == code


def test_pq_agrees_with_colour_science() -> None:
    codes = torch.linspace(0, 1, 1001)
    assert np.allclose(
        transfer.pq_eotf(codes),
        colour.models.eotf_ST2084(codes.double().numpy()),
        rtol=2e-4,
        atol=1e-4,
    )
    back = transfer.pq_inverse_eotf(transfer.pq_eotf(codes))
    assert torch.allclose(back[1:], codes[1:], atol=2e-5)
    assert transfer.pq_nits(0.5) == pytest.approx(92.24570899406527, rel=1e-9)


def test_pq_of_negative_light_and_codes_is_black() -> None:
    assert transfer.pq_eotf(torch.tensor([-0.5])).item() == 0.0
    assert transfer.pq_inverse_eotf(torch.tensor([-3.0])).item() < 1e-5


def test_sdr_is_decoded_with_the_display_gamma() -> None:
    v = torch.linspace(0, 1, 65)
    assert np.allclose(
        transfer.bt1886_eotf(v), colour.models.eotf_BT1886(v.double().numpy()), atol=1e-6
    )
    assert torch.allclose(transfer.bt1886_inverse_eotf(transfer.bt1886_eotf(v)), v, atol=1e-6)
    assert np.allclose(
        transfer.srgb_eotf(v), colour.models.eotf_sRGB(v.double().numpy()), atol=1e-6
    )


def test_hlg_reference_white() -> None:
    # BT.2408 table 1: HLG 75 % is 203 nits on a 1000-nit display
    white = transfer.hlg_eotf(torch.full((3, 1, 1), 0.75))
    assert white.mean().item() == pytest.approx(203.0, abs=1.0)


@pytest.mark.parametrize("peak", [400.0, 600.0, 1000.0, 2000.0])
def test_hlg_is_that_of_colour_science(peak: float) -> None:
    """Greys and colours on displays of several peaks, both ways."""
    rng = torch.Generator().manual_seed(3)
    nits = peak * torch.rand(3, 40, 50, generator=rng).pow(3)
    nits[:, 0] = nits[1, 0]
    there = np.moveaxis(nits.double().numpy(), 0, -1)
    expected = colour.models.eotf_inverse_BT2100_HLG(there, L_W=peak)
    codes = transfer.hlg_inverse_eotf(nits, peak)
    assert np.allclose(np.moveaxis(codes.numpy(), 0, -1), expected, atol=2e-5)
    assert torch.allclose(transfer.hlg_eotf(codes, peak), nits, rtol=1e-3, atol=1e-3)
    back = colour.models.eotf_BT2100_HLG(expected, L_W=peak)
    assert np.allclose(
        np.moveaxis(transfer.hlg_eotf(codes, peak).numpy(), 0, -1), back, rtol=2e-3, atol=1e-2
    )


def test_hlg_of_pq_puts_white_at_75_percent_and_the_peak_at_100() -> None:
    """BT.2408-7 table 1; BT.2390-11 6.2 for the gamma of displays beyond 2000 nits."""
    nits = torch.tensor([203.0, 1000.0, 2000.0, 0.0]).expand(3, 1, 4)
    codes = hlg_of_pq(transfer.pq_inverse_eotf(nits), 1000.0)[:, 0]
    assert codes[0].tolist() == pytest.approx([0.75, 1.0, 1.0, 0.0], abs=2e-4)
    assert transfer.hlg_gamma(4000.0) == pytest.approx(1.2 * 1.111**2)


def test_bt709_to_bt2020_is_bt2087s_matrix() -> None:
    expected = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    assert torch.allclose(
        primaries.rgb_matrix("bt709", "bt2020"), torch.tensor(expected), atol=6e-5
    )


@pytest.mark.parametrize("name", sorted(primaries.PRIMARIES))
def test_white_stays_white(name: str) -> None:
    assert torch.allclose(primaries.rgb_matrix(name, "bt2020").sum(dim=1), torch.ones(3), atol=1e-6)


# BT.2124 through the field's convention: PQ codes in BT.2020, difference in dE_ITP
PAIRS = [
    ((0.5, 0.4, 0.3), (0.52, 0.4, 0.3), 20.545312905410043),
    ((0.5, 0.5, 0.5), (0.51, 0.51, 0.51), 7.2),
    ((0.1, 0.1, 0.1), (0.12, 0.1, 0.1), 17.51156040547383),
    ((0.75, 0.6, 0.6), (0.7, 0.6, 0.6), 52.57606477200643),
]


@pytest.mark.parametrize(("a", "b", "difference"), PAIRS)
def test_delta_e_itp(a: tuple[float, ...], b: tuple[float, ...], difference: float) -> None:
    x, y = (torch.tensor(v)[:, None, None] for v in (a, b))
    assert ictcp.delta_e_itp(x, y).item() == pytest.approx(difference, abs=0.02)


def test_direct_mapping_against_colour_science_on_a_chart() -> None:
    chart = np.random.default_rng(1).random((24, 3))
    light = colour.models.eotf_BT1886(chart) * 203.0
    matrix = colour.matrix_RGB_to_RGB(
        colour.RGB_COLOURSPACES["ITU-R BT.709"], colour.RGB_COLOURSPACES["ITU-R BT.2020"]
    )
    truth = colour.models.eotf_inverse_ST2084(np.clip(light @ matrix.T, 0, None))
    sdr = torch.from_numpy(chart.T.copy()).float()[..., None]
    ours = transfer.pq_inverse_eotf(tonemap.bt2408(sdr))
    difference = ictcp.delta_e_itp(ours, torch.from_numpy(truth.T.copy()).float()[..., None])
    assert difference.max() < 0.1


def test_graded_expansion_reaches_1000_nits_and_stays_grey() -> None:
    grey = torch.linspace(0, 1, 101).expand(3, 1, 101)
    nits = tonemap.bt2446a(grey)
    assert nits[0, 0, -1].item() == pytest.approx(1000, rel=2e-3)
    assert nits[0, 0, 0].item() < 0.01
    assert (nits[0, 0].diff() > 0).all()
    assert (nits.amax(0) - nits.amin(0)).max() < 0.5


def test_method_a_down_undoes_method_a_up_about() -> None:
    # the report's two directions are fits of each other: on greys they meet within a few hundredths of code
    grey = torch.linspace(0.05, 0.95, 50).expand(3, 1, 50)
    back = transfer.bt1886_inverse_eotf(tonemap.bt2446a_down(tonemap.bt2446a(grey)))
    assert (back - grey).abs().max() < 0.04


def test_method_c_down_is_continuous_and_keeps_colour_ratios_without_crosstalk() -> None:
    ramp = torch.logspace(0, 3, 2000).expand(3, 1, 2000)
    sdr = tonemap.bt2446c_down(ramp)[0, 0]
    assert (sdr.diff() > 0).all() and sdr.diff().max() < 0.01
    colour_ = torch.tensor([300.0, 200.0, 100.0])[:, None, None]
    out = tonemap.bt2446c_down(colour_, crosstalk=0.0).flatten()
    assert torch.allclose(out / out[2], torch.tensor([3.0, 2.0, 1.0]), atol=1e-4)


def test_roll_off_leaves_the_dark_alone_and_ends_at_the_peak() -> None:
    ramp = torch.logspace(-2, 3, 500).expand(3, 1, 500)
    out = tonemap.bt2390_eetf(ramp, 1000.0, 400.0)
    assert torch.equal(out[..., ramp[0, 0] < 50], ramp[..., ramp[0, 0] < 50])
    assert out.max().item() == pytest.approx(400.0, rel=1e-3)
    assert (out[0, 0].diff() >= 0).all()  # flat at the very end, where the spline has no slope
    tinted = torch.tensor([900.0, 450.0, 90.0])[:, None, None]
    kept = tonemap.bt2390_eetf(tinted, 1000.0, 400.0).flatten()
    assert torch.allclose(kept / kept[0], tinted.flatten() / 900.0, atol=1e-4)


def test_gamut_compression_keeps_luminance_and_hue_side() -> None:
    outside = torch.tensor([0.6, -0.1, 0.3])[:, None, None]
    out = tonemap.gamut_compress(outside)
    assert out.min() >= 0.0
    assert primaries.luminance(out, "bt709").item() == pytest.approx(
        primaries.luminance(outside, "bt709").item(), abs=1e-5
    )
