"""Fields: what is combed is deinterlaced, what is not is left alone, telecine is told and undone."""

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from judges import ffprobe, need
from numpy.typing import NDArray

from sdr2hdr import convert
from sdr2hdr.errors import InputError
from sdr2hdr.media import deinterlace
from sdr2hdr.media.combing import Combing, Lines, combing
from sdr2hdr.media.source import Source

SIZE = (320, 240)
CARRIER = "-c:v libx264 -qp 10 -flags +ilme+ildct -x264-params keyint=12"
PLAIN = "-c:v libx264 -qp 10 -x264-params keyint=12"
SECONDS = 2


def clip(path: Path, rate: str, filters: str, encoder: str = CARRIER) -> Path:
    """A moving test picture at ``rate``, through filters that make fields of it."""
    source = f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r={rate}:d={SECONDS},scroll=h=0.0125"
    command = [
        need("ffmpeg"),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-vf",
        filters,
        "-pix_fmt",
        "yuv420p",
    ]
    subprocess.run([*command, *encoder.split(), path], check=True)
    return path


def luma(rate: str) -> NDArray[np.uint8]:
    """The pictures that :func:`clip` made fields of, ``T,H,W``."""
    source = f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r={rate}:d={SECONDS},scroll=h=0.0125"
    command = [
        need("ffmpeg"),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-pix_fmt",
        "yuv420p",
        "-f",
        "rawvideo",
        "-",
    ]
    raw = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8)
    return raw.reshape(-1, SIZE[1] * 3 // 2, SIZE[0])[:, : SIZE[1]]


def pictures(source: Source) -> list[tuple[int, torch.Tensor]]:
    return [(p.pts, p.planes[0].clone()) for p in source.pictures()]


def error(picture: torch.Tensor, truth: NDArray[np.uint8]) -> float:
    return float(np.abs(picture.numpy().astype(int) - truth.astype(int)).mean())


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("flagged", [True, False])
def test_interlaced_pictures_are_deinterlaced(tmp_path: Path, order: str, flagged: bool) -> None:
    """Of 50 pictures a second each frame holds two; the one of its first field is wanted."""
    woven = f"tinterlace=interleave_{'top' if order == 'tff' else 'bottom'}"
    if flagged:
        path = clip(tmp_path / "a.mkv", "50", f"{woven},setfield={order}")
    else:
        path = clip(tmp_path / "a.mkv", "50", f"{woven},setfield=prog", PLAIN)
    source = Source(path)
    made = pictures(source)
    (note,) = source.notes
    count = 50 if note.startswith("all 50") else int(note.split()[0])
    assert count >= 45
    assert "deinterlaced" in note
    truth = luma("50")[::2]
    plain = pictures(Source(path, deinterlace="off"))
    better = [
        error(a, t) < 0.6 * error(b, t)
        for (_, a), (_, b), t in zip(made, plain, truth, strict=True)
    ]
    assert sum(better) >= 45


@pytest.mark.parametrize("rate", ["25", "30000/1001"])
def test_whole_pictures_in_an_interlaced_carrier_are_left_alone(tmp_path: Path, rate: str) -> None:
    path = clip(tmp_path / "a.mkv", rate, "setfield=tff")
    field_order = ffprobe(path, "-show_entries", "stream=field_order")["streams"][0]["field_order"]
    assert field_order in {"tt", "tb"}
    source = Source(path)
    made = pictures(source)
    off = pictures(Source(path, deinterlace="off"))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(made, off, strict=True))
    assert "flagged interlaced but show no combing" in source.notes[0]


@pytest.mark.parametrize("size", ["96x64", "160x96", "320x240"])
def test_progressive_pictures_are_never_touched(tmp_path: Path, size: str) -> None:
    """Small test pictures move by whole lines, which looks most like combing."""
    path = tmp_path / "a.mkv"
    source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=3", "-pix_fmt", "yuv420p"]
    subprocess.run([need("ffmpeg"), "-v", "error", *source, *PLAIN.split(), path], check=True)
    read = Source(path)
    assert len(pictures(read)) == 75
    assert read.notes == ()


def test_grain_is_not_combing(tmp_path: Path) -> None:
    source = Source(clip(tmp_path / "a.mkv", "25", "noise=alls=24:allf=t:all_seed=3,setfield=tff"))
    pictures(source)
    assert "show no combing" in source.notes[0]


@pytest.mark.parametrize(
    ("mode", "words"), [("tff", "top field first"), ("bff", "bottom field first")]
)
def test_everything_is_deinterlaced_where_that_is_asked(
    tmp_path: Path, mode: str, words: str
) -> None:
    path = clip(tmp_path / "a.mkv", "25", "setfield=prog", PLAIN)
    source = Source(path, deinterlace=mode)
    made = pictures(source)
    assert source.notes == (f"all 50 pictures were deinterlaced, {words}",)
    off = pictures(Source(path, deinterlace="off"))
    assert not any(torch.equal(a, b) for (_, a), (_, b) in zip(made[1:-1], off[1:-1], strict=True))


def test_off_is_told(tmp_path: Path) -> None:
    source = Source(
        clip(tmp_path / "a.mkv", "50", "tinterlace=interleave_top,setfield=tff"), deinterlace="off"
    )
    pictures(source)
    assert source.notes == (
        "50 of 50 pictures are flagged interlaced; none was deinterlaced, as asked",
    )


def test_telecined_film_is_told(tmp_path: Path) -> None:
    source = Source(clip(tmp_path / "a.mkv", "24000/1001", "telecine,setfield=tff"))
    pictures(source)
    assert any("telecined film; --detelecine" in note for note in source.notes)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_telecine_is_undone(tmp_path: Path, name: str) -> None:
    path = clip(tmp_path / name, "24000/1001", "telecine,setfield=tff")
    source = Source(path, detelecine=True)
    made = pictures(source)
    truth = luma("24000/1001")
    assert len(made) == 48
    assert source.info.rate == Fraction(24000, 1001)
    assert source.info.frames is None or abs(source.info.frames - 48) <= 1
    assert (
        sorted(error(picture, one) for (_, picture), one in zip(made, truth, strict=True))[-3] < 1
    )
    times = [float(pts * source.info.time_base) for pts, _ in made]
    steps = np.diff(times)
    assert steps.min() > 0.040
    assert steps.max() < 0.0433
    assert any("48 pictures at 23.976 a second of 60 frames" in note for note in source.notes)
    for first in (0, 7, 20, 33):
        for (pts, picture), again in zip(
            made[first : first + 3], source.pictures(made[first][0]), strict=False
        ):
            assert again.pts == pts
            assert torch.equal(again.planes[0], picture)


def test_telecine_is_not_undone_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"25\.000 frames a second, and telecined film 29\.97"):
        Source(clip(tmp_path / "a.mkv", "25", "null"), detelecine=True)


@pytest.mark.parametrize(
    ("filters", "combed"),
    [("setfield=tff", False), ("tinterlace=interleave_top,setfield=tff", True)],
)
def test_a_conversion_looks_again_only_where_its_survey_found_combing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: str, combed: bool
) -> None:
    path = clip(tmp_path / "a.mkv", "50", filters)
    source, looked = Source(path), []
    count = len(pictures(source))

    def counted(before: Lines | None, lines: Lines, after: Lines | None) -> Combing:
        looked.append(lines)
        return combing(before, lines, after)

    monkeypatch.setattr(deinterlace, "combing", counted)
    report = convert(path, tmp_path / "out.mkv", "bt2408", preset="ultrafast", device="cpu")
    assert report.frames == count
    assert (len(looked) > count) == combed
    assert any("were deinterlaced" in note for note in report.notes) == combed


def test_a_deinterlaced_picture_is_the_same_wherever_reading_starts(tmp_path: Path) -> None:
    source = Source(clip(tmp_path / "a.ts", "50", "tinterlace=interleave_top,setfield=tff"))
    made = pictures(source)
    for first in (1, 13, 24, 40, 49):
        again = next(iter(source.pictures(made[first][0])))
        assert torch.equal(again.planes[0], made[first][1])
