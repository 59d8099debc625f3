"""Frames that are compressed at one QP, every picture alone."""

from pathlib import Path

import pytest
import torch
from frame_makers import write_frames

from sdr2hdr.cli.main import main
from sdr2hdr.data.compress import compress
from sdr2hdr.media.png import png_of, read_png


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("set"), scenes=2, frames=2) / "sdr"


def test_damage_grows_with_the_qp_and_equal_pictures_are_damaged_alike(
    frames: Path, tmp_path: Path
) -> None:
    errors = []
    for qp in (4, 22, 32, 42):
        out = tmp_path / str(qp)
        assert main(["dataset", "compress", str(frames), str(out), "--qp", str(qp)]) == 0
        assert sorted(p.relative_to(out) for p in out.rglob("*.png")) == sorted(
            p.relative_to(frames) for p in frames.rglob("*.png")
        )
        first, second = (read_png(out / "s000" / f"{n:03d}.png") for n in (0, 1))
        assert torch.equal(first, second)  # a still camera: no picture leans on another
        apart = first.float() - read_png(frames / "s000/000.png").float()
        errors.append(apart.square().mean().item())
    assert errors == sorted(set(errors))


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["dataset", "compress", *map(str, words), "--qp", "32"]) != 0
    return capsys.readouterr().err


def test_what_cannot_be_compressed_is_refused_and_nothing_is_left(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/a.png").write_bytes(png_of(torch.zeros(3, 65, 64, dtype=torch.uint8)))
    (tmp_path / "none").mkdir()
    for folder, said in (
        (tmp_path / "odd", "a.png is 64x65"),
        (tmp_path / "none", "no PNG frames"),
        (frames.parent / "hdr", "16 bits"),
        (tmp_path / "gone", "cannot be read"),
    ):
        message = " ".join(refused(capsys, folder, tmp_path / "out").split())
        assert said in message
    assert "exists" in refused(capsys, frames, tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none", "odd"]


def test_frames_right_in_a_folder_stay_there(frames: Path, tmp_path: Path) -> None:
    assert compress(frames / "s000", tmp_path / "out", 27) == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000.png", "001.png"]
