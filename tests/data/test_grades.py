"""Real grades and ACES as training material, against measured greys."""

from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch

from sdr2hdr.color.exposure import MID_GREY
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.data import aces, grades
from sdr2hdr.data.clips import ClipMaker
from sdr2hdr.data.damage import Damage
from sdr2hdr.data.grading import Mix, brightness_of, rendition
from sdr2hdr.data.store import read_clip, write_clip

CODES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
MEASURED = {
    "aces13": [0.63, 3.2, 8.4, 16, 26, 41, 61, 75, 95, 127, 181, 289],
    "aces20": [0.52, 2.8, 7.7, 16, 31, 54, 94, 125, 169, 235, 341, 532],
}


@pytest.mark.parametrize("version", aces.PEAKS)
def test_greys_through_aces_are_the_measured_ones(version: str) -> None:
    grey = torch.logspace(-4, 2, 4000).expand(3, 1, -1)
    sdr, nits = aces.to_sdr(grey, version)[1, 0], pq_eotf(aces.to_hdr(grey, version, 1000))[1, 0]
    assert np.interp(CODES, sdr, nits) == pytest.approx(MEASURED[version], rel=0.02, abs=0.06)
    assert aces.brightness(version, 1000) == pytest.approx(
        MEASURED[version][4] / MID_GREY, rel=0.02
    )


@pytest.mark.parametrize("brightness", [1.0, 2.2, 4.5])
def test_drawn_grades_have_the_brightness_asked_for_and_end_below_the_peak(
    brightness: float,
) -> None:
    nits = torch.logspace(-3, 3, 3000)
    for seed in range(10):
        codes = grades.curve(np.random.default_rng(seed), brightness, 1000.0)(nits).pow(1 / 2.4)
        assert np.interp(0.5, codes, nits) / MID_GREY == pytest.approx(brightness, rel=0.02)
        assert (codes.diff() >= 0).all()
        assert 450 < np.interp(0.999, codes, nits) <= 1000


def test_the_brightness_of_a_rendition_is_where_its_grey_comes_from() -> None:
    render = rendition("grades", np.random.default_rng(3), 1000.0, 1.7)
    assert brightness_of(render, 1000.0) == pytest.approx(1.7, rel=0.02)
    assert brightness_of(
        lambda nits: (nits / 203).clamp(0, 1).pow(1 / 2.4), 1000.0
    ) == pytest.approx(2.03, rel=0.01)


def test_clips_hold_their_brightness_and_need_not_be_damaged(tmp_path: Path) -> None:
    light = np.random.default_rng(0).uniform(0.01, 2.0, (64, 96, 3)).astype(np.float32)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    for name in ("one", "two", "three"):
        OpenEXR.File(header, {"RGB": light}).write(str(tmp_path / f"{name}.exr"))
    mix, damage = Mix(aces=0.94, pairs=0.0), Damage(undamaged=0.5)
    maker = ClipMaker(tmp_path, "train", size=(48, 64), frames=1, seed=1, mix=mix, damage=damage)
    made = [maker.train_clip(n) for n in range(8)]
    assert {c.look for c in made} >= set(aces.PEAKS)
    for c in made:
        assert c.look not in aces.PEAKS or 1.3 < c.brightness < 1.8
        same = all(torch.equal(a, b) for a, b in zip(c.planes, c.clean, strict=True))
        assert same == (c.qp == 0)
    assert {c.qp == 0 for c in made} == {True, False}
    write_clip(made[0], tmp_path / "clip.safetensors")
    assert read_clip(tmp_path / "clip.safetensors").brightness == made[0].brightness
