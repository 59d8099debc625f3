"""Frames that are compressed at one QP, every picture alone."""

import sys
from collections.abc import Callable
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


def test_the_frames_of_a_film_lean_on_each_other(tmp_path: Path) -> None:
    """A noisy still picture, coded as a film, is made of its first frame: what repeats costs nothing and stays as it is."""
    picture = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    for n in range(5):
        path = tmp_path / f"set/film/{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_of(picture.roll(2 * n, 2)))
    command = ["dataset", "compress", str(tmp_path / "set")]
    assert main([*command, str(tmp_path / "film"), "--qp", "40", "--films"]) == 0
    assert main([*command, str(tmp_path / "alone"), "--qp", "40"]) == 0
    whole = [read_png(tmp_path / f"film/film/{n}.png").float().roll(-2 * n, 2) for n in range(5)]
    alone = [read_png(tmp_path / f"alone/film/{n}.png").float().roll(-2 * n, 2) for n in range(5)]
    inner = (..., slice(16, -16))

    def apart(frames: list[torch.Tensor]) -> float:
        return sum((f - frames[0])[inner].abs().mean().item() for f in frames[1:])

    assert apart(whole) < 0.8 * apart(alone)


STUB = """#!{python}
import sys
source, result, width, height, frames, qp = sys.argv[1:]
data = open(source, "rb").read()
size = int(width) * int(height) * 3 // 2
assert len(data) == size * int(frames) and qp == "32"
open(result, "wb").write(bytes(255 - b for b in data)[: {kept}])
"""


def stub(folder: Path, kept: str = "None", head: str = "") -> Path:
    path = folder / "program"
    path.write_text(
        STUB.format(python=sys.executable, kept=kept).replace("import sys", head + "import sys")
    )
    path.chmod(0o755)
    return path


def test_a_program_takes_the_place_of_x265(frames: Path, tmp_path: Path) -> None:
    """The stub turns black to white: what comes out is what the program wrote, under the names of what went in."""
    program = stub(tmp_path)
    assert compress(frames, tmp_path / "out", 32, program=program) == 4
    before = read_png(frames / "s001/000.png").float()
    after = read_png(tmp_path / "out/s001/000.png").float()
    assert (before.mean((1, 2)) + after.mean((1, 2)) - 255).abs().max() < 8


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: stub(f, "-1"), "did not write 2 pictures of 112x80"),
        (
            lambda f: stub(f, head="raise SystemExit('no licence')\n"),
            "its last words were 'no licence'",
        ),
        (lambda f: f / "gone", "cannot be run"),
    ],
)
def test_a_program_that_fails_is_named(
    make: Callable[[Path], Path],
    said: str,
    frames: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = make(tmp_path)
    assert said in " ".join(refused(capsys, frames, tmp_path / "out", "--program", program).split())
    assert not (tmp_path / "out").exists()


def test_films_have_folders_and_one_size(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "of no film" in refused(capsys, frames / "s000", tmp_path / "out", "--films")
    (tmp_path / "set/a").mkdir(parents=True)
    for n in (64, 66):
        (tmp_path / f"set/a/{n}.png").write_bytes(png_of(torch.zeros(3, n, 64, dtype=torch.uint8)))
    assert "of several sizes" in refused(capsys, tmp_path / "set", tmp_path / "out", "--films")


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
