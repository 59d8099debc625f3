"""The papers' measures: against a wavelet library, against their definitions written out, and through stubs of libraries."""

import math
import stat
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import pywt
import torch
from torch import Tensor

from sdr2hdr.color.mulaw import mu_law
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.errors import InputError
from sdr2hdr.metrics import library
from sdr2hdr.metrics.detail import hf_psnr, msrl_psnr
from sdr2hdr.metrics.measures import MEASURES, Meter, choose
from sdr2hdr.metrics.program import VARIABLES, hdr_vdp
from sdr2hdr.metrics.temporal import e_warp


def frame(seed: int, size: tuple[int, int] = (20, 26)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, *size, generator=generator)


def test_hf_psnr_is_that_of_a_wavelet_librarys_high_subbands() -> None:
    result, truth = frame(1), frame(2)
    bands = []
    for a, b in zip(result.double().numpy(), truth.double().numpy(), strict=True):
        high = (pywt.dwt2(x, "haar")[1] for x in (a, b))
        bands.append(np.stack([x - y for x, y in zip(*high, strict=True)]))
    mse = np.mean(np.square(bands))
    assert hf_psnr(result, truth) == pytest.approx(-10 * math.log10(mse), abs=1e-9)
    assert hf_psnr(truth, truth) == math.inf
    flat = truth * 0.5
    assert hf_psnr(flat + 0.25, flat) > 120  # a change of brightness has no high frequencies


def test_msrl_psnr_is_its_definition_sample_by_sample() -> None:
    result, before, truth, truth_before = (frame(s, (9, 11)) for s in range(4))
    a, b = (result - before).double().numpy(), (truth - truth_before).double().numpy()

    def mean(plane: np.ndarray, y: int, x: int, k: int) -> float:
        r = k // 2
        padded = np.pad(plane, r)
        return float(padded[y : y + k, x : x + k].sum() / k**2)

    squares = []
    for c in range(3):
        for y in range(9):
            for x in range(11):
                pairs = [(mean(a[c], y, x, k), mean(b[c], y, x, k)) for k in (1, 3, 5, 7)]
                mine, theirs = min(pairs, key=lambda p: abs(p[0]))
                squares.append((mine - theirs) ** 2)
    wanted = -10 * math.log10(np.mean(squares))
    assert msrl_psnr(result, before, truth, truth_before) == pytest.approx(wanted, abs=1e-6)


def test_a_constant_error_leaves_the_relation_of_frames_as_it_is() -> None:
    truth, then = frame(1) * 0.5, frame(2) * 0.5
    assert msrl_psnr(truth + 0.1, then + 0.1, truth, then) > 120
    shaken = msrl_psnr(truth + 0.1, then - 0.1, truth, then)
    assert shaken < 20


def test_the_deviation_of_a_sequence_is_told_once_at_its_end() -> None:
    meter = Meter(choose(["de_itp", "de_itp_std"]).measures)
    found = []
    for n, error in enumerate((0.01, 0.03, 0.02)):
        truth = frame(n) * 0.5 + 0.2
        values = meter.add(truth + error, truth)
        assert "de_itp_std" not in values
        found.append(values["de_itp"])
    assert meter.finish()["de_itp_std"] == pytest.approx(float(np.std(found)))
    assert meter.finish() == {}


def test_sequence_measures_are_those_of_neighbouring_frames() -> None:
    meter = Meter(choose(["msrl_psnr", "hf_psnr"]).measures)
    truths = [frame(n, (48, 48)) * 0.02 + 0.4 for n in range(2)]
    results = [t + 0.01 * frame(n + 5, (48, 48)) for n, t in enumerate(truths)]
    first, second = (meter.add(r, t) for r, t in zip(results, truths, strict=True))
    assert set(first) == {"hf_psnr"}
    assert second["msrl_psnr"] == msrl_psnr(results[1], results[0], truths[1], truths[0])
    meter.forget()
    assert "msrl_psnr" not in meter.add(results[0], truths[0])


def program(
    folder: Path, body: str, monkeypatch: pytest.MonkeyPatch, variable: str = "SDR2HDR_HDRVDP"
) -> None:
    path = folder / "hdr vdp.py"
    path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(variable, str(path))


@pytest.mark.parametrize(
    ("key", "variable", "degree"),
    [("hdr_vdp", "SDR2HDR_HDRVDP", 50), ("hdr_vdp_2", "SDR2HDR_HDRVDP2", 30)],
)
def test_hdr_vdp_hands_a_program_both_frames_as_pq_codes(
    key: str, variable: str, degree: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
def mean(path):
    data = open(path, "rb").read()
    assert data.startswith(b"P6 26 20 65535\\n")
    values = memoryview(data[len(b"P6 26 20 65535\\n"):])
    assert len(values) == 2 * 3 * 20 * 26
    return sum(256 * values[i] + values[i + 1] for i in range(0, len(values), 2)) / len(values) * 2
print("HDR-VDP says", sys.argv[3])
print("Q =", int(sys.argv[3]) + (mean(sys.argv[1]) - mean(sys.argv[2])) / 65535)
"""
    program(tmp_path, body, monkeypatch, variable)
    result, truth = frame(1), frame(2)
    wanted = degree + float(result.mean() - truth.mean())
    (measure,) = choose([key]).measures
    assert Meter([measure]).add(result, truth)[key] == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("body", ["print('no number')", "pass", "sys.exit(3)"])
def test_a_program_that_fails_is_named(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, body, monkeypatch)
    with pytest.raises(InputError, match=r"hdr vdp\.py"):
        hdr_vdp()(frame(1), frame(2))


def test_without_a_program_hdr_vdp_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, (variable, _) in VARIABLES.items():
        monkeypatch.delenv(variable, raising=False)
        assert variable in choose([key]).absent[key]
        monkeypatch.setenv(variable, "/nowhere/hdrvdp")
        assert "no program here" in choose([key]).absent[key]


def test_lpips_t_and_musiq_see_tone_mapped_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def distance(a: Tensor, b: Tensor) -> float:
        seen.extend((a, b))
        return 0.25

    monkeypatch.setattr(library, "lpips", lambda: distance)

    def create_metric(name: str, device: str) -> object:
        assert (name, device) == ("musiq", "cpu")

        def quality(pictures: Tensor) -> Tensor:
            seen.append(pictures[0])
            return torch.tensor([[61.0]])

        return quality

    pyiqa = ModuleType("pyiqa")
    pyiqa.create_metric = create_metric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", pyiqa)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert "not in torch's cache" in choose(["musiq"]).absent["musiq"]
    (tmp_path / "pyiqa").mkdir()
    (tmp_path / "pyiqa/musiq_koniq_ckpt-e95806b9.pth").touch()
    result, truth = frame(1) * 0.8, frame(2) * 0.8
    values = Meter(choose(["lpips_t", "musiq"]).measures).add(result, truth)
    assert values == {"lpips_t": 0.25, "musiq": 61.0}
    for picture, codes in zip(seen, (result, truth, result), strict=True):
        assert torch.equal(picture, mu_law(pq_eotf(codes)).clamp(0, 1))
    assert not MEASURES["musiq"].truth


def test_raft_finds_the_flow_where_torchvision_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raft_large(weights: str, progress: bool) -> SimpleNamespace:
        def network(here: Tensor, there: Tensor) -> list[Tensor]:
            assert here.shape == there.shape == (1, 3, 128, 136) and -1 <= here.min() < 0
            way = torch.zeros_like(here[:, :2])
            way[0, 0] = 2.0 if float(here.mean()) < float(there.mean()) else -2.0
            return [torch.zeros_like(way), way]

        return SimpleNamespace(eval=lambda: network)

    module = ModuleType("torchvision.models.optical_flow")
    module.raft_large = raft_large  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", module)
    for name in ("torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert "not in torch's cache" in choose(["e_warp_raft"]).absent["e_warp_raft"]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/raft_large_C_T_SKHT_V2-ff5fadd5.pth").touch()
    wide = frame(3, (64, 134)) * 0.05 + 0.4
    now, then = wide[..., 4:], wide[..., 2:-2]  # what is at x now was at x + 2
    guide, guide_before = now - 0.01, then
    error = e_warp(now, then, guide, guide_before, library.raft())
    assert error < 1e-10
    (measure,) = choose(["e_warp_raft"]).measures
    meter = Meter([measure])
    meter.add(then, None, guide_before)
    assert meter.add(now, None, guide)["e_warp_raft"] == pytest.approx(error, abs=1e-12)
