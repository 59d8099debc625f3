"""Gradients lose their steps, and nothing else is touched."""

import pytest
import torch
from torch import Tensor

from sdr2hdr.color.deband import MOST, STRENGTHS, debanded, smoothed
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.color.yuv import YuvLayout

AUTO = STRENGTHS["auto"]
LAYOUT = YuvLayout("bt709", depth=8)


def shown(luma: Tensor) -> Tensor:
    """Ten-bit PQ codes of limited 8-bit luma on a display of 250 nits (BT.1886)."""
    return pq_inverse_eotf(250.0 * ((luma - 16) / 219).clamp(0, 1).pow(2.4)) * 1023


@pytest.mark.parametrize("begin", [30, 60, 120, 190])
@pytest.mark.parametrize("turned", [False, True])
def test_every_jump_of_a_gradient_becomes_one_code(begin: int, turned: bool) -> None:
    line = begin + 35 * torch.arange(1920.0) / 1919
    plane = line.round().expand(96, -1)
    out = smoothed(plane.T.contiguous(), AUTO).T if turned else smoothed(plane, AUTO)
    raw, mapped, ideal = shown(plane)[48, 64:-64], shown(out)[48, 64:-64], shown(line)[64:-64]
    assert raw.round().diff().abs().max() >= 2
    assert mapped.round().diff().abs().max() <= 1
    assert (mapped.round() - ideal).square().mean().sqrt() < 0.36
    assert (mapped - ideal).square().mean() < 0.05 * (raw - ideal).square().mean()


def test_grain_and_texture_stay_as_they_are() -> None:
    torch.manual_seed(0)
    grain = (100 + 1.5 * torch.randn(128, 128)).round()
    assert torch.equal(smoothed(grain, AUTO), grain)
    x, y = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    cloth = (100 + 2 * torch.sin(x * 1.3) + 2 * torch.sin(y * 0.9)).round()
    assert torch.equal(smoothed(cloth, AUTO), cloth)


def test_a_gradient_does_not_smear_into_an_edge() -> None:
    sky = (100 + 35 * torch.arange(960.0) / 1919).round().expand(96, -1).clone()
    sky[:, 480:] = 30.0
    out = smoothed(sky, AUTO)
    assert (out - sky).abs().max() <= 1.0
    assert torch.equal(out[:, 480:], sky[:, 480:])
    assert torch.equal(out[:, 474:480], sky[:, 474:480])


def test_black_stays_black_and_nothing_moves_far() -> None:
    dark = (16 + 3 * torch.arange(640.0) / 639).round().expand(64, -1).to(torch.uint8)
    chroma = torch.full((32, 320), 128, dtype=torch.uint8)
    for strength in STRENGTHS:
        out = debanded((dark, chroma, chroma), LAYOUT, strength)
        assert (out[0][dark == 16] == 16).all() and (out[1] == 128).all()
        assert (out[0] - dark.float()).abs().max() <= MOST


def test_sizes_that_are_no_multiple_of_a_block() -> None:
    for size in ((1, 1), (3, 5), (17, 33)):
        flat = torch.full(size, 77.0)
        assert torch.equal(smoothed(flat, AUTO), flat)
