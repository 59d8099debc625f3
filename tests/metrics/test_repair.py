"""Ringing, detail and clipped areas on pictures whose answer is known."""

import math

import pytest
import torch

from sdr2hdr.metrics.repair import areas, clipped, detail_kept, ringing


def grey(y: torch.Tensor) -> torch.Tensor:
    return y.expand(3, *y.shape).clone()


def step(height: int = 32, width: int = 64) -> torch.Tensor:
    y = torch.full((height, width), 0.3)
    y[:, width // 2 :] = 0.6
    return grey(y)


def test_an_echo_of_an_edge_is_ringing_and_one_far_from_edges_is_not() -> None:
    truth = step()
    echo, far = truth.clone(), truth.clone()
    echo[:, :, 28] += 0.01
    far[:, :, 8] += 0.01
    assert ringing(truth, truth) == 0.0
    assert ringing(far, truth) == 0.0
    assert ringing(echo, truth) > 2.0
    assert math.isnan(ringing(echo, torch.full_like(truth, 0.5)))


def test_twice_the_contrast_of_detail_is_four_times_its_energy() -> None:
    noise = grey(0.01 * torch.randn(48, 48, generator=torch.Generator().manual_seed(1)))
    assert detail_kept(0.5 + 2 * noise, 0.5 + noise) == pytest.approx(4.0, rel=1e-3)


def test_areas_are_connected_and_not_small() -> None:
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[2:12, 2:12] = True
    mask[12:20, 12:20] = True  # touches the first by a corner
    mask[30:34, 30:34] = True  # 16 pixels
    mask[2:10, 30:38] = True
    assert sorted(int(a.sum()) for a in areas(mask)) == [64, 164]


def test_a_flat_patch_does_not_correlate_and_the_truth_does() -> None:
    y = torch.linspace(0.7, 0.75, 20).expand(20, 20).clone()
    truth, sdr = grey(y), torch.ones(3, 20, 20)
    flat = torch.full_like(truth, 0.72)
    same, none = clipped(truth, truth, sdr), clipped(flat, truth, sdr)
    assert same is not None
    assert none is not None
    assert same.correlation == pytest.approx(1.0, abs=1e-3)
    assert same.error == 0.0
    assert none.correlation == pytest.approx(0.0, abs=1e-3)
    assert none.std == pytest.approx(0.0, abs=1e-6)
    assert none.error == pytest.approx(0.005, abs=1e-4)
    assert clipped(truth, truth, 0.9 * sdr) is None


def test_what_the_sdr_luma_tells_does_not_count() -> None:
    sdr = torch.ones(3, 20, 20)
    sdr[0] = torch.linspace(0.5, 1.0, 20)
    truth = 0.7 + 0.05 * grey(torch.linspace(0, 1, 20).expand(20, 20).T.clone())
    by_luma = 0.7 + 0.1 * grey(sdr[0])
    found = clipped(by_luma, truth, sdr)
    assert found is not None
    assert found.correlation == pytest.approx(0.0, abs=0.05)
