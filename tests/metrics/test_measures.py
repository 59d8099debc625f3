"""Measures against other implementations, and against what is known of made-up pictures."""

import io
import math
import sys
from pathlib import Path
from types import ModuleType

import colour
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sdr2hdr.metrics import library
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.blocks import blockiness
from sdr2hdr.metrics.flow import flow, seen_in_both, warp
from sdr2hdr.metrics.measures import MEASURES, Meter, choose, p95
from sdr2hdr.metrics.ssim import ssim, ssim_7
from sdr2hdr.metrics.temporal import e_warp, flicker, is_cut


def textured(height: int, width: int, seed: int = 0) -> Tensor:
    """A plane of soft texture at several scales, 0..1."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.zeros(height, width)
    for k in (4, 8, 16, 32):
        noise = torch.rand(1, 1, -(-height // k), -(-width // k), generator=generator)
        out += k * F.interpolate(noise, (height, width), mode="bicubic")[0, 0]
    return (out / 60).clamp(0, 1)


def picture(seed: int = 0, size: tuple[int, int] = (176, 192)) -> Tensor:
    return torch.stack([textured(*size, seed=3 * seed + c) for c in range(3)])


def noisy(x: Tensor, sigma: float, seed: int = 9) -> Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [0.003, 0.03, 0.2])
def test_psnr_and_ssim_are_piqs(sigma: float) -> None:
    truth = picture()
    result = noisy(truth, sigma)
    a, b = result.clamp(0, 1)[None].double(), truth[None].double()
    library.from_piq("ms_ssim")
    theirs = sys.modules["piq.ssim"].ssim(a, b, data_range=1.0, downsample=False)
    assert ssim(result, truth) == pytest.approx(float(theirs), abs=1e-6)
    mse = np.mean((a.numpy() - b.numpy()) ** 2)
    assert psnr(result, truth) == pytest.approx(-10 * math.log10(mse), abs=1e-3)


def test_the_uniform_ssim_and_the_mse_are_the_definitions() -> None:
    """SSIM over every 7x7 window by numpy's own means and covariances (of samples), for a range of 2."""
    truth = picture(2, (16, 20))
    result = noisy(truth, 0.05)
    a, b = (
        np.lib.stride_tricks.sliding_window_view(x.clamp(0, 1).double().numpy(), (7, 7), (1, 2))
        for x in (result, truth)
    )
    found = []
    for x, y in zip(a.reshape(-1, 49), b.reshape(-1, 49), strict=True):
        (vx, cov), (_, vy) = np.cov(x, y)
        c1, c2 = 0.02**2, 0.06**2
        top = (2 * x.mean() * y.mean() + c1) * (2 * cov + c2)
        found.append(top / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (vx + vy + c2)))
    assert ssim_7(result, truth) == pytest.approx(np.mean(found), abs=1e-9)
    assert ssim_7(truth, truth) == pytest.approx(1.0) and ssim_7(result, truth) > ssim(
        result, truth
    )
    measured = Meter(choose(["mse", "ssim_7", "psnr"]).measures).add(result, truth)
    assert measured["ssim_7"] == pytest.approx(np.mean(found), abs=1e-9)
    assert measured["mse"] == pytest.approx(10 ** (-measured["psnr"] / 10), rel=1e-6)


def test_mean_and_percentile_of_de_itp_are_those_of_colour_science() -> None:
    truth = picture(1, (40, 48)) * 0.7
    result = noisy(truth, 0.02).clamp(0, 1)

    def ictcp(codes: Tensor) -> np.ndarray:
        nits = colour.models.eotf_ST2084(codes.double().permute(1, 2, 0).numpy())
        return colour.RGB_to_ICtCp(nits, method="ITU-R BT.2100-2 PQ")

    d = ictcp(result) - ictcp(truth)
    theirs = 720 * np.sqrt(d[..., 0] ** 2 + 0.25 * d[..., 1] ** 2 + d[..., 2] ** 2)
    values = Meter(choose(["de_itp", "de_itp_p95"]).measures).add(result, truth)
    assert values["de_itp"] == pytest.approx(theirs.mean(), rel=1e-3)
    assert values["de_itp_p95"] == pytest.approx(
        np.percentile(theirs, 95, method="inverted_cdf"), rel=1e-3
    )


def test_the_percentile_is_numpys() -> None:
    x = torch.rand(1234, generator=torch.Generator().manual_seed(3))
    assert p95(x) == pytest.approx(np.percentile(x.numpy(), 95, method="inverted_cdf"))


@pytest.mark.parametrize("key", ["ms_ssim", "sr_sim", "vsi", "vifp", "haarpsi"])
def test_piqs_measures_rank_damage_without_loading_torchvision(key: str) -> None:
    measure, truth = library.from_piq(key), picture()
    values = [measure(noisy(truth, sigma).clamp(0, 1), truth) for sigma in (0.0, 0.02, 0.1)]
    assert values[0] == pytest.approx(1.0, abs=1e-3) and values[0] > values[1] > values[2]
    assert "torchvision" not in sys.modules and "piq" not in sys.modules


def test_what_is_not_installed_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    chosen = choose(["psnr", "lpips", "cvvdp"])
    assert [m.key for m in chosen.measures] == ["psnr"]
    assert (
        "pip install lpips" in chosen.absent["lpips"]
        and "pip install cvvdp" in chosen.absent["cvvdp"]
    )


def test_lpips_downloads_nothing_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Network(torch.nn.Module):
        def __init__(self, **_: object) -> None:
            super().__init__()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a - b).abs().mean()

    package = ModuleType("lpips")
    monkeypatch.setattr(package, "LPIPS", Network, raising=False)
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert "not in torch's cache" in choose(["lpips"]).absent["lpips"]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth").touch()
    meter = Meter(choose(["lpips"]).measures)
    assert meter.add(torch.full((3, 8, 8), 0.6), torch.full((3, 8, 8), 0.5))[
        "lpips"
    ] == pytest.approx(0.2)


def test_an_unknown_measure_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match=r"'psnrr'.*psnr, ssim"):
        choose(["psnrr"])
    assert {m.key for m in choose().measures} == {k for k, m in MEASURES.items() if m.quick}


@pytest.mark.parametrize("move", [(0, 0), (1, 0), (3, -2), (9, 4)])
def test_flow_finds_a_known_move(move: tuple[int, int]) -> None:
    dx, dy = move
    big = textured(240, 280)
    here, there = big[40:200, 40:240], big[40 - dy : 200 - dy, 40 - dx : 240 - dx]
    way = flow(here, there)
    error = (way - torch.tensor([dx, dy]).view(2, 1, 1)).norm(dim=0)
    seen = seen_in_both(way, flow(there, here))
    assert seen.float().mean() > 0.8 and error[seen].mean() < 0.05
    assert (error[20:-20, 20:-20] < 0.1).float().mean() > 0.99
    assert (warp(there[None], way)[0] - here)[seen].abs().mean() < 0.002


def test_flow_of_a_large_picture_is_in_its_own_pixels() -> None:
    big = F.interpolate(textured(160, 340)[None, None], scale_factor=4, mode="bicubic")[0, 0]
    way = flow(big[:, 40:1320], big[:, 32:1312])
    assert way[0, 60:-60, 60:-60].median() == pytest.approx(8.0, abs=0.2)


def test_what_is_covered_in_the_other_frame_is_not_seen_in_both() -> None:
    ground, thing = textured(160, 200), textured(60, 60, seed=7) * 0.5 + 0.5
    here, there = ground.clone(), ground.clone()
    here[50:110, 40:100] = thing
    there[50:110, 52:112] = thing
    seen = seen_in_both(flow(here, there), flow(there, here))
    assert seen[10:40].float().mean() > 0.95  # the ground far from it
    assert seen[55:105, 101:111].float().mean() < 0.5  # covered by it next


def test_warping_error_of_a_steady_result_is_nought_and_of_noise_twice_its_variance() -> None:
    big = torch.stack([textured(200, 240, seed=c) for c in range(3)])
    now, then = big[:, 20:180, 20:220], big[:, 22:182, 16:216]
    assert e_warp(now * 0.5, then * 0.5, now, then) < 2e-6
    error = e_warp(noisy(now, 0.02, 1), noisy(then, 0.02, 2), now, then)
    assert error == pytest.approx(2 * 0.02**2, rel=0.1)


def test_flicker_counts_change_beyond_the_truths_in_units_of_de_itp() -> None:
    truth = torch.full((3, 64, 64), 0.5)
    assert flicker(truth + 0.01, truth, truth, truth) == pytest.approx(
        7.2, abs=1e-2
    )  # grey .50 and .51 are 7.2 apart
    assert flicker(truth + 0.01, truth, truth + 0.01, truth) == pytest.approx(0.0, abs=1e-4)
    assert flicker(truth - 0.03, truth, truth + 0.01, truth) == pytest.approx(14.4, rel=0.01)
    assert flicker(truth + 0.01, truth) == pytest.approx(7.2, abs=1e-2)
    grain = noisy(truth, 0.02), noisy(truth, 0.02, 5)
    assert flicker(*grain, truth, truth) < 1.5


def test_nothing_temporal_is_measured_across_a_cut() -> None:
    a, b = picture(1) * 0.6, picture(2) * 0.6 + 0.3
    assert is_cut(a, b) and not is_cut(a, noisy(a, 0.02))
    meter = Meter(choose(["flicker", "e_warp"]).measures)
    seen = [set(meter.add(x, x)) for x in (a, a, b, b)]
    assert seen == [set(), {"flicker", "e_warp"}, set(), {"flicker", "e_warp"}]


def jpeg(x: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    pixels = (x.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return torch.from_numpy(np.asarray(Image.open(buffer)).copy()).permute(2, 0, 1).float() / 255


def test_blockiness_grows_as_jpeg_gets_worse_and_only_on_its_grid() -> None:
    clean = F.avg_pool2d(
        torch.rand(3, 200, 200, generator=torch.Generator().manual_seed(4)), 9, stride=1
    )
    clean = (clean - 0.5) * 3 + 0.5
    values = [blockiness(clean)] + [blockiness(jpeg(clean, q)) for q in (75, 30, 8)]
    assert values[0] == pytest.approx(1.0, abs=0.03)
    assert values[1] < values[2] < values[3] and values[3] > 1.5
    assert blockiness(jpeg(clean, 8)[:, 4:, 4:]) < 1.0
    assert blockiness(torch.full((3, 32, 32), 0.4)) == 1.0


def test_without_a_truth_only_what_needs_none_is_measured() -> None:
    meter = Meter(choose(["psnr", "blockiness", "flicker"]).measures)
    meter.add(picture(), guide=picture(5))
    assert set(meter.add(picture(), guide=picture(5))) == {"blockiness", "flicker"}


def test_colour_video_vdp_sees_runs_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], float]] = []

    def measured(result: Tensor, truth: Tensor, rate: float) -> float:
        seen.append((tuple(result.shape), rate))
        return 9.0

    monkeypatch.setattr(library, "cvvdp", lambda: measured)
    meter = Meter([MEASURES["cvvdp"]], rate=24.0)
    frame = torch.zeros(3, 16, 16)
    values = [meter.add(frame, frame) for _ in range(32)]
    assert [i for i, v in enumerate(values) if v] == [29] and meter.finish() == {"cvvdp": 9.0}
    assert seen == [((30, 3, 16, 16), 24.0), ((2, 3, 16, 16), 24.0)] and meter.finish() == {}
