"""Scores as tables, CSV, JSON, charts and sheets."""

import csv
import io
import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdr2hdr.errors import OutputError
from sdr2hdr.evaluation.report import check_folder, write_report
from sdr2hdr.evaluation.scores import Score, groups, summary, to_csv, to_json
from sdr2hdr.evaluation.worst import TOP, Worst, error_map
from sdr2hdr.metrics.measures import MEASURES, choose

MEASURED = (MEASURES["psnr"], MEASURES["de_itp"])


def made() -> list[Score]:
    out = []
    for i, (look, qp) in enumerate([("graded", 22), ("graded", 42), ("clip", 22), ("clip", 42)]):
        for model, lead in (("a", 0.0), ("b", 3.0)):
            values = {"psnr": 30.0 + lead - i, "de_itp": 10.0 + 2 * i - lead}
            out.append(Score(model, f"scene{i}", 2, values, "Clips", look, qp))
    return [*out, Score("a", "photo", 0, {"psnr": 20.0}, "Pairs")]


def test_means_and_deviations_are_over_frames() -> None:
    mine = [s for s in made() if s.model == "a" and s.qp]
    found = summary(mine)
    values = [s.values["de_itp"] for s in mine]
    assert found.frames == 4 and found.mean["de_itp"] == statistics.fmean(values)
    assert found.std["de_itp"] == pytest.approx(np.std(values)) and "ssim" not in found.mean


def test_groups_hold_all_first_and_then_each() -> None:
    by_qp = groups(made(), "qp")
    assert list(by_qp) == ["all", "22", "42"]
    assert by_qp["22"]["b"].mean["psnr"] == 32.0 and by_qp["all"]["a"].mean["psnr"] == 28.5
    assert groups(made()[-1:], "scene") == {}


def test_csv_holds_every_score() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(made(), MEASURED))))
    assert len(rows) == 9 and rows[1]["model"] == "b" and float(rows[1]["psnr"]) == 33.0
    assert rows[-1]["part"] == "Pairs" and rows[-1]["qp"] == rows[-1]["de_itp"] == ""


def test_json_keeps_parts_apart_and_knows_no_infinity() -> None:
    scores = [*made(), Score("a", "equal", 1, {"psnr": math.inf}, "Pairs")]
    data = json.loads(to_json(scores, MEASURED, {"lpips": "not here"}), parse_constant=pytest.fail)
    assert data["parts"]["Clips"]["summary"]["a"]["mean"]["psnr"] == 28.5
    assert data["parts"]["Clips"]["by_look"]["clip"]["b"]["frames"] == 2
    assert data["parts"]["Pairs"]["summary"]["a"]["mean"]["psnr"] is None and data["absent"] == {
        "lpips": "not here"
    }
    assert len(data["scores"]) == 10 and data["scores"][0]["values"]["psnr"] == 30.0


def test_error_maps_grow_brighter_with_the_error() -> None:
    colours = error_map(torch.linspace(0, 1.5 * TOP, 30)[None])
    light = (colours * torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)).sum(0)[0]
    assert (light.diff() >= 0).all() and light[0] < 0.02 and light[-1] > 0.9
    assert torch.equal(colours[:, 0, 20], colours[:, 0, 29])


def frame(level: float) -> torch.Tensor:
    return torch.full((3, 24, 32), level)


def test_the_worst_frames_are_kept_one_a_scene() -> None:
    worst = Worst(2)
    truth = frame(0.5)
    for scene, bad in (("x", 5.0), ("x", 9.0), ("x", 7.0), ("y", 3.0), ("z", 6.0), ("w", 1.0)):
        worst.offer(
            Score("m", scene, int(bad), {"de_itp": bad, "psnr": 30.0}),
            truth + bad / 100,
            truth,
            truth,
        )
    assert [name for name, _ in worst.pictures()] == ["m_1", "m_2"]
    result = np.asarray(worst.pictures()[0][1])
    assert result.shape[1] > 4 * 240  # SDR source, result, truth, map
    none = Worst(0)
    none.offer(Score("m", "x", 0, {"de_itp": 5.0}), truth, truth)
    assert none.pictures() == []


def reported(folder: Path) -> list[str]:
    worst = Worst(1)
    worst.offer(made()[0], frame(0.5), frame(0.4))
    return write_report(folder, made(), MEASURED, {}, worst)


def test_a_report_is_a_folder_of_figures_charts_and_pictures(tmp_path: Path) -> None:
    out = tmp_path / "new" / "report"
    check_folder(out, overwrite=False)
    assert reported(out) == []
    names = {p.name for p in out.iterdir()}
    assert names == {
        "scores.csv",
        "scores.json",
        "by_look.png",
        "by_qp.png",
        "by_scene.png",
        "worst_a_1.png",
    }
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert picture.width > 400
    with pytest.raises(OutputError, match="holds files already"):
        check_folder(out, overwrite=False)
    check_folder(out, overwrite=True)


def test_without_matplotlib_the_figures_are_written_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (note,) = reported(tmp_path)
    assert "matplotlib is not installed" in note and not list(tmp_path.glob("by_*"))
    assert (tmp_path / "scores.csv").exists()


def test_ms_ssim_takes_pictures_a_row_too_low_and_leaves_out_small_ones() -> None:
    from sdr2hdr.metrics.measures import Meter

    generator = torch.Generator().manual_seed(2)
    big = torch.rand(3, 161, 176, generator=generator)
    noise = 0.1 * torch.rand(3, 161, 176, generator=generator)
    meter = Meter(choose(["ms_ssim"]).measures)
    whole, cut = meter.add(big + noise, big), meter.add((big + noise)[:, :160], big[:, :160])
    assert cut["ms_ssim"] == pytest.approx(whole["ms_ssim"], abs=2e-3)
    assert meter.add(big[:, :64], big[:, :64]) == {}
