"""Training from packed clips (``lab/gpu``): batches are those of the sampler, and the whole is rehearsed from an empty folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from frame_makers import RECIPE, write_frames

from lab.gpu.pack import large, members, small, write_pieces
from lab.gpu.resident import ResidentSampler
from sdr2hdr.data.footage import open_corpus
from sdr2hdr.data.store import Sampler, make_clips, read_clip

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips to train on and one to choose on."""
    folder = tmp_path_factory.mktemp("clips")
    corpus = write_frames(folder / "corpus")
    maker = open_corpus(corpus, "train", size=(64, 80), frames=2, seed=0)
    for part, numbers in (("train", range(3)), ("select", range(3, 4))):
        make_clips(maker, folder / part, numbers)
    return folder


def test_batches_that_are_cut_on_a_device_are_those_of_the_sampler(clips: Path) -> None:
    usual = Sampler(clips / "train", 5)
    resident = ResidentSampler(clips / "train", 5, None, torch.device("cpu"))
    for step in range(6):
        how = {"undamaged": bool(step % 2), "strong_from": 30}
        a = usual.batch(step, 4, 2, 16, 8, **how)
        b = resident.batch(step, 4, 2, 16, 8, **how)
        for name in ("sdr", "hdr", "clean", "thumbs", "place", "brightness"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=2 / 65535, rtol=0)
    assert resident.batch(0, 2, 1, 16, 0).thumbs.shape == usual.batch(0, 2, 1, 16, 0).thumbs.shape


def test_a_packed_clip_comes_back(clips: Path) -> None:
    clip = read_clip(clips / "train" / "000000.safetensors")
    packed = small(clip, crf=4)
    back = large(packed)
    for mine, theirs in zip((*clip.planes, *clip.clean), (*back.planes, *back.clean), strict=True):
        assert torch.equal(mine, theirs)
    apart = (back.codes - clip.codes).abs().float() * 1023 / 65535
    assert apart.mean() < 1.0  # of 10-bit code
    assert (back.scene, back.look, back.qp, back.brightness) == (
        clip.scene,
        clip.look,
        clip.qp,
        clip.brightness,
    )
    assert len(packed) < clip.codes.numel() * 2


def test_pieces_are_not_larger_than_asked(clips: Path, tmp_path: Path) -> None:
    found = list(members(clips, {"train": 3, "select": 1}, 20.0))
    most = max(len(data) for _, data in found) + (1 << 15)
    pieces = write_pieces(found, tmp_path, most)
    assert len(pieces) > 1 and all(p.stat().st_size <= most for p in pieces)


def test_the_rehearsal_from_an_empty_folder(clips: Path, tmp_path: Path) -> None:
    for folder in ("sdr2hdr", "lab"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "tiny.toml").write_text(RECIPE.replace("steps = 2\n", "steps = 9\n"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("lab.gpu.pack", str(clips), "pieces", "--most", "0.1")
    train = ("lab.gpu.train", "tiny.toml", "out", "--pieces", "pieces", "--device", "cpu")
    assert "beginning at step 0" in run(*train, "--minutes", "0.05")
    result = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert result["step"] > 0 and result["psnr bundled wmnet"] > 10
    assert (tmp_path / "out" / "tiny.safetensors").exists()
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
    assert f"going on at step {result['step']}" in run(*train, "--minutes", "0.01")
