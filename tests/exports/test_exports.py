"""What people take elsewhere: a look file that gives the same film, a table that FFmpeg applies as a conversion does."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from handed import codes_handed
from media_makers import make_clip, plane_shapes
from torch import Tensor

from sdr2hdr import convert
from sdr2hdr.cli.main import main
from sdr2hdr.errors import InputError, ModelError, OutputError
from sdr2hdr.exports.look import take_look
from sdr2hdr.exports.lut import take_tables
from sdr2hdr.looks.file import read_look

SIZE, FRAMES, CUT = (96, 64), 40, 18
FAST = {"model": "look", "preset": "ultrafast", "crf": 0}


def two_scenes(index: int) -> list[np.ndarray]:
    """A dim place, then a bright one; nothing moves, so that steadying changes nothing."""
    rng = np.random.default_rng(int(index >= CUT))
    planes = []
    for n, (height, width) in enumerate(plane_shapes("yuv420p", SIZE)):
        blocks = rng.uniform(20, 120, (height // 4, width // 4)) + (100 if index >= CUT else 0)
        if n:  # one colour, because FFmpeg and we place chroma between pixels in other ways
            blocks[:] = 118 + 10 * n
        planes.append(np.kron(blocks, np.ones((4, 4))).round().astype(np.uint8))
    return planes


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tags = {"color_range": 1, "colorspace": 1, "color_primaries": 1, "color_trc": 1}
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    return make_clip(
        path, codec="ffv1", pix_fmt="yuv420p", size=SIZE, frames=FRAMES, picture=two_scenes, **tags
    )


def test_a_look_file_gives_the_film_that_convert_gives_without_it(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = tmp_path / "film.look.toml"
    found = take_look(film, look)
    assert [s.first for s in found.scenes] == [0, CUT] and found.brightness == 2.5
    assert [s.look(2.5) for s in read_look(look).scenes] == [s.look(2.5) for s in found.scenes]
    plain = codes_handed(monkeypatch, lambda: convert(film, tmp_path / "plain.mkv", **FAST))
    told = codes_handed(
        monkeypatch, lambda: convert(film, tmp_path / "told.mkv", look=str(look), **FAST)
    )
    assert (plain - told).abs().max() <= 1  # the file's numbers have four digits
    assert (plain - told).abs().float().mean() < 0.1


def test_with_a_films_look_a_part_of_it_is_a_part_of_the_whole(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, part = tmp_path / "film.look.toml", tmp_path / "part.mkv"
    take_look(film, look, per="film")
    select = ["-vf", f"select=gte(n\\,{CUT})", "-fps_mode", "passthrough", "-c:v", "ffv1"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", film, *select, part], check=True)

    def made(src: Path) -> Tensor:
        out = tmp_path / f"{src.stem}-out.mkv"
        return codes_handed(monkeypatch, lambda: convert(src, out, look=str(look), **FAST))

    whole, alone = made(film), made(part)
    assert whole[CUT:].shape == alone.shape
    assert (whole[CUT:] - alone).abs().max() <= 1  # dither follows each frame's time


def test_an_edited_look_changes_the_film_and_starts_a_begun_one_anew(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, out = tmp_path / "film.look.toml", tmp_path / "out.mkv"
    take_look(film, look, per="film")
    before = codes_handed(
        monkeypatch, lambda: convert(film, out, look=str(look), keep_work=True, **FAST)
    )
    look.write_text(look.read_text().replace("brightness = 2.5", "brightness = 1.5"))
    after = codes_handed(
        monkeypatch, lambda: convert(film, out, look=str(look), overwrite=True, **FAST)
    )
    assert after.shape == before.shape  # every frame was made anew
    assert after.float().mean() < before.float().mean() - 10


@pytest.mark.parametrize("model", ["look", "bt2408", "bt2446a"])
def test_ffmpeg_applies_a_table_as_convert_maps(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    (table,) = take_tables(film, tmp_path, model=model)
    assert table.name == "film.cube"
    # without scenes both give every frame the look of the whole film
    options = {**FAST, "model": model, "scenes": "none"}
    ours = codes_handed(monkeypatch, lambda: convert(film, tmp_path / "ours.mkv", **options))
    # zscale, because scale is off by half a code
    chain = (
        "zscale=min=709:rin=limited:m=gbr:r=full,format=gbrp16le,"
        f"lut3d={table.name}:interp=tetrahedral,"
        "zscale=min=gbr:rin=full:m=2020_ncl:r=limited,format=yuv420p16le"
    )
    command = ["ffmpeg", "-v", "error", "-i", film, "-vf", chain, "-f", "rawvideo", "theirs.yuv"]
    subprocess.run(command, check=True, cwd=tmp_path)
    data = np.fromfile(tmp_path / "theirs.yuv", np.uint16).reshape(FRAMES, -1) / 64.0
    apart = (ours - torch.from_numpy(data)).abs()
    assert apart[:, : SIZE[0] * SIZE[1]].mean() < 0.5


def test_a_table_for_each_scene_says_which_in_its_comments(film: Path, tmp_path: Path) -> None:
    tables = take_tables(film, tmp_path, model="look", per="scene", size=33)
    assert [t.name for t in tables] == ["film-0001.cube", "film-0002.cube"]
    text = tables[1].read_text()
    assert "LUT_3D_SIZE 33" in text and "BT.2020 PQ" in text and "brightness 2.5" in text
    assert tables[0].read_text() != text


def test_what_no_table_can_hold_is_refused(film: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="surroundings of a pixel"):
        take_tables(film, tmp_path, model="wmnet")
    with pytest.raises(InputError, match="does not exist"):
        take_tables(tmp_path / "none.mp4", tmp_path, model="look")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a folder"):
        take_tables(film, tmp_path / "file", model="look")
    with pytest.raises(OutputError, match="cannot be made"):
        take_tables(film, "/proc/luts", model="look")


def test_a_table_that_exists_is_refused_before_the_film_is_read(film: Path, tmp_path: Path) -> None:
    (tmp_path / "film.cube").touch()
    seen: list[str] = []
    with pytest.raises(OutputError, match="exists"):
        take_tables(film, tmp_path, progress=lambda stage, *_: seen.append(stage))
    assert seen == []


def test_what_is_assumed_of_a_film_is_told(tmp_path: Path) -> None:
    tags = {"color_range": 1, "colorspace": 1, "color_primaries": 12, "color_trc": 9}
    clip = make_clip(tmp_path / "p3.mkv", codec="ffv1", size=(32, 32), frames=9, **tags)
    told: list[str] = []
    take_look(clip, tmp_path / "p3.toml", note=told.append)
    clipped, unknown = told
    assert "clipped to BT.709" in clipped
    assert "log100" in unknown and "--input-transfer" in unknown
    take_tables(clip, tmp_path, note=told.append, size=33, input_transfer="srgb")
    assert told[2] == clipped
    assert "srgb" in told[3] and "p3-d65" in told[3] and "before you apply" in told[3]


def test_the_commands_write_what_they_say(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["look", str(film), "-o", str(tmp_path / "a.toml")]) == 0
    assert "2 scenes and of the whole film" in capsys.readouterr().err.replace("\n", " ")
    assert main(["lut", str(film), "-o", str(tmp_path / "luts"), "--size", "33"]) == 0
    assert (tmp_path / "luts" / "film.cube").exists()
    assert main(["looks"]) == 0
    assert "phone" in capsys.readouterr().out
    assert main(["look", str(film), "-o", str(tmp_path / "a.toml")]) == 4
    data = film.read_bytes()
    assert main(["look", str(film), "-o", str(film), "-y"]) == 4
    assert film.read_bytes() == data
