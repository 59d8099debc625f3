"""Inputs that are not a file with a film in it."""

import io
import subprocess
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from judges import ffprobe, need
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.errors import InputError
from sdr2hdr.media.inputs import as_film
from sdr2hdr.media.source import Source


def numbered(folder: Path, name: str = "%05d.png", *, first: int = 1, count: int = 5) -> Path:
    """Pictures that grow brighter; returns the name with the number left open."""
    folder.mkdir(exist_ok=True)
    for n in range(count):
        picture = av.VideoFrame.from_ndarray(
            np.full((64, 80, 3), 20 * (n + 1), np.uint8), format="rgb24"
        )
        picture.to_image().save(folder / (name % (first + n)))
    return folder / name


def greys(path: Path) -> list[float]:
    return [float(picture.rgb().mean() * 255) for picture in Source(path).pictures()]


def test_hidden_files_beside_pictures_are_no_pictures(tmp_path: Path) -> None:
    """macOS writes ._00001.png beside 00001.png on drives of other systems."""
    folder = numbered(tmp_path / "in").parent
    (folder / "._00001.png").write_bytes(b"\0\5\x16\7" * 20)
    with as_film(folder, tmp_path, "25") as film:
        assert greys(film.path) == pytest.approx([20, 40, 60, 80, 100], abs=0.6)


@pytest.mark.parametrize("name", ["%05d.png", "shot_%d.png", "a.%03d.tif", "%04d.bmp"])
def test_numbered_pictures_are_a_film(tmp_path: Path, name: str) -> None:
    pattern = numbered(tmp_path / "in", name, first=8)
    with as_film(pattern, tmp_path, "24000/1001") as film:
        assert greys(film.path) == pytest.approx([20, 40, 60, 80, 100], abs=0.6)
        info = Source(film.path).info
        assert info.rate == Fraction(24000, 1001)
        assert info.layout.full_range
        made = film.path
    assert not made.exists()


def test_a_folder_of_pictures_is_a_film_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    numbered(tmp_path / "in", "f%d.png", first=8)  # 8, 9, 10, 11, 12
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    with as_film(tmp_path / "in", tmp_path, "25") as film:
        assert greys(film.path) == pytest.approx([20, 40, 60, 80, 100], abs=0.6)


def test_pictures_are_converted_with_their_times(tmp_path: Path) -> None:
    pattern = numbered(tmp_path / "in")
    report = convert(
        pattern, tmp_path / "out.mp4", model="bt2408", scenes="none", preset="ultrafast", fps="30"
    )
    frames = ffprobe(tmp_path / "out.mp4", "-show_entries", "frame=pts_time")["frames"]
    assert [round(float(f["pts_time"]) * 30, 3) for f in frames] == [0, 1, 2, 3, 4]
    assert "5 pictures at 30 a second" in report.notes and report.source == Path(pattern)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.mp4"]


def test_what_pictures_lack_is_told(tmp_path: Path) -> None:
    pattern = numbered(tmp_path / "in")
    with (
        pytest.raises(InputError, match="say how many a second with --fps"),
        as_film(pattern, tmp_path, None),
    ):
        pass
    with (
        pytest.raises(InputError, match="not a number of pictures a second"),
        as_film(pattern, tmp_path, "1/0"),
    ):
        pass
    (tmp_path / "in" / "00003.png").unlink()
    with pytest.raises(InputError, match="lacks number 3"), as_film(pattern, tmp_path, "25"):
        pass
    (tmp_path / "in" / "00003.png").write_bytes(b"not a picture")
    with (
        pytest.raises(InputError, match=r"00003\.png is not a picture"),
        as_film(pattern, tmp_path, "25"),
    ):
        pass
    av.VideoFrame(64, 64, "rgb24").to_image().save(tmp_path / "in" / "00003.png")
    with (
        pytest.raises(InputError, match=r"00003\.png is png 64x64 rgb24"),
        as_film(pattern, tmp_path, "25"),
    ):
        pass
    with (
        pytest.raises(InputError, match="names no picture"),
        as_film(tmp_path / "in" / "x%d.png", tmp_path, "25"),
    ):
        pass
    clip = make_clip(tmp_path / "a.mkv", frames=3)
    with pytest.raises(InputError, match="leave --fps out"), as_film(clip, tmp_path, "25"):
        pass


def test_a_pipe_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "a.mkv", size=(80, 64), frames=6)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(clip.read_bytes())))
    report = convert("-", tmp_path / "out.mkv", model="bt2408", scenes="none", preset="ultrafast")
    assert report.frames == 6 and str(report.source) == "-"
    assert any(note.startswith("standard input: ") for note in report.notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "out.mkv"]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
    with pytest.raises(InputError, match="Standard input is empty"):
        convert("-", tmp_path / "b.mkv", model="bt2408")


@pytest.mark.parametrize(
    "address", ["https://example.org/a.mp4", "rtsp://example.org/a", "file:///a.mp4"]
)
def test_an_address_gets_a_sentence_of_its_own(address: str) -> None:
    with pytest.raises(InputError, match="is an address; download the video"):
        Source(address)


@pytest.mark.parametrize(
    ("colours", "siting"),
    [("420jpeg", "center"), ("420mpeg2", "left"), ("420paldv", "topleft"), ("420", "center")],
)
def test_y4m_keeps_its_siting_and_range(tmp_path: Path, colours: str, siting: str) -> None:
    path = tmp_path / "a.y4m"
    command = [need("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=0.2"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", path], check=True)
    head, _, rest = path.read_bytes().partition(b"\n")
    words = [word for word in head.split() if word[:1] not in {b"C", b"X"}]
    for word, full in ((b"XCOLORRANGE=FULL", True), (b"XCOLORRANGE=LIMITED", False)):
        path.write_bytes(b" ".join([*words, b"C" + colours.encode(), word]) + b"\n" + rest)
        layout = Source(path).info.layout
        assert (layout.siting, layout.full_range) == (siting, full)
