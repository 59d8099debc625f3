"""The options for other encoders: those that the manual shows run, and make of a pipe's frames what ``convert`` makes."""

import io
import re
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from judges import ffprobe, need
from media_makers import Planes, make_clip, plane_shapes
from numpy.typing import NDArray

from sdr2hdr import convert
from sdr2hdr.cli.main import main
from sdr2hdr.delivery.params import encoder_params
from sdr2hdr.delivery.pipe import pipe
from sdr2hdr.errors import OutputError, UsageError

SIZE = (128, 96)
FRAMES, CUT = 36, 15
FAST = {"model": "bt2446a", "peak": 600}


def picture(index: int) -> Planes:
    """Two scenes: a random texture and tint, and another one from the cut on, which drift a little."""
    rng = np.random.default_rng(index >= CUT)
    (height, width), chroma, _ = plane_shapes("yuv420p", SIZE)
    texture = np.kron(rng.uniform(40, 210, (height // 4, width // 4)), np.ones((4, 4)))
    planes = [np.roll(texture, index // 4, axis=1)]
    planes += [np.full(chroma, rng.uniform(70, 190)) for _ in range(2)]
    return [p.round().astype(np.uint8) for p in planes]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return make_clip(path, size=SIZE, frames=FRAMES, rate=24, picture=picture, audio=["aac"])


def decoded(path: Path) -> NDArray[np.int32]:
    with av.open(str(path)) as file:
        frames = [f.to_ndarray(format="yuv420p10le") for f in file.decode(video=0)]
    return np.stack(frames).astype(np.int32)


def command_lines() -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "delivering.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    return str(block).splitlines()


@pytest.mark.parametrize(
    "tool, made",
    [("x265", "film.hevc"), ("SvtAv1EncApp", "film.ivf"), ("ffmpeg", "film-hdr.mkv")],
)
def test_the_manuals_command_lines_run(film: Path, tmp_path: Path, tool: str, made: str) -> None:
    need(tool)
    (line,) = (each for each in command_lines() if f"| {tool} " in each)
    (tmp_path / "film.mp4").symlink_to(film)
    qpfile = tmp_path / "film.qp" if tool == "x265" else None
    name = {"SvtAv1EncApp": "svtav1"}.get(tool, tool)
    found = encoder_params(film, name, qpfile=qpfile, model="bt2446a")
    (tmp_path / "params").write_text(" ".join(found.words).replace(str(qpfile), "film.qp"))
    with (tmp_path / "convert").open("wb") as frames:
        pipe(film, frames, model="bt2446a")
    command = tmp_path / "sdr2hdr"  # prints what is in the file named as the command
    command.write_text('#!/bin/sh\nexec cat "$1"\n')
    command.chmod(0o755)
    line = f'set -o pipefail; PATH="{tmp_path}:$PATH"; {line}'
    done = subprocess.run(
        ["bash", "-c", line], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    said = ffprobe(tmp_path / made, "-select_streams", "v", "-show_frames", "-show_streams")
    (stream,), frames = said["streams"], said["frames"]
    expected = {
        "pix_fmt": "yuv420p10le", "color_range": "tv", "color_space": "bt2020nc", "color_transfer": "smpte2084",
        "color_primaries": "bt2020", "chroma_location": "topleft", "width": 128, "height": 96,
    }  # fmt: skip
    assert expected.items() <= stream.items()
    assert len(frames) == FRAMES
    assert [n for n, f in enumerate(frames) if f["key_frame"]] == [0, CUT]
    told = {d["side_data_type"]: d for d in frames[0]["side_data_list"]}
    light = told["Content light level metadata"]
    assert 0 < light["max_average"] < light["max_content"] <= 1000
    display = told["Mastering display metadata"]
    numerator, denominator = map(int, display["max_luminance"].split("/"))
    assert numerator / denominator == pytest.approx(1000)
    numerator, denominator = map(int, display["green_y"].split("/"))
    assert numerator / denominator == pytest.approx(0.797, abs=1e-4)


def test_the_command_prints_the_options_alone(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qpfile = tmp_path / "film.qp"
    args = ["params", str(film), "--for", "x265", "--qpfile", str(qpfile), "--model", "bt2446a"]
    assert main(args) == 0
    shown = capsys.readouterr()
    found = encoder_params(film, "x265", qpfile=qpfile, model="bt2446a", overwrite=True)
    assert shown.out == " ".join(found.words) + "\n"
    assert "without the source's 1 audio stream" in shown.err


def test_the_same_encoder_gives_the_frames_of_convert(film: Path, tmp_path: Path) -> None:
    report = convert(film, tmp_path / "whole.mkv", **FAST, preset="faster", crf=14)
    found = encoder_params(film, "ffmpeg", **FAST, preset="faster", crf=14)
    assert (found.report.max_cll, found.report.max_fall) == (report.max_cll, report.max_fall)
    frames = io.BytesIO()
    pipe(film, frames, **FAST)
    words = dict(zip(found.words[::2], found.words[1::2], strict=True))
    frames.seek(0)
    with (
        av.open(frames, format="yuv4mpegpipe") as given,
        av.open(str(tmp_path / "own.mkv"), "w") as out,
    ):
        video = out.add_stream(
            words["-c:v"],
            rate=24,
            options={key[1:]: words[key] for key in ("-preset", "-crf", "-g", "-x265-params")},
        )
        video.width, video.height, video.pix_fmt = *SIZE, words["-pix_fmt"]
        for frame in given.decode(video=0):
            frame.pict_type = 0  # the reader marks every frame as a key frame
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    assert np.abs(decoded(tmp_path / "own.mkv") - decoded(tmp_path / "whole.mkv")).max() <= 1


def test_cuts_and_light_are_told_to_each_encoder(film: Path, tmp_path: Path) -> None:
    qpfile = tmp_path / "film.qp"
    found = {
        name: encoder_params(film, name, **FAST, **more)
        for name, more in (("x265", {"qpfile": qpfile}), ("svtav1", {}), ("ffmpeg", {}))
    }
    assert qpfile.read_text() == f"{CUT} I -1\n"
    light = f"{found['x265'].report.max_cll},{found['x265'].report.max_fall}"
    assert ["--max-cll", light, "--qpfile", str(qpfile)] == list(found["x265"].words[-4:])
    assert f"--force-key-frames {CUT}f" in " ".join(found["svtav1"].words)
    assert f"-force_key_frames {CUT / 24:.6f}" in " ".join(found["ffmpeg"].words)
    for each in found.values():
        assert light in " ".join(each.words) and each.cuts == (CUT,)
        assert each.to_json()["mastering_peak"] == 600


@pytest.mark.parametrize(
    "encoder, options, message",
    [
        ("svtav1", {"qpfile": Path("a.qp")}, "--qpfile is for x265"),
        ("x265", {"qpfile": Path("a b.qp")}, "has a space in its name"),
        ("x265", {"qpfile": Path("/nowhere/a.qp")}, "does not exist"),
        ("x265", {"preset": "very --quick"}, "refuses preset 'very --quick'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_rendered(
    film: Path, encoder: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, OutputError), match=message):
        encoder_params(film, encoder, **FAST, **options)


@pytest.mark.parametrize("pix_fmt", ["yuv422p10", "yuv444p12"])
def test_x265_reads_other_chroma_and_depths_from_the_pipe(
    film: Path, tmp_path: Path, pix_fmt: str
) -> None:
    x265 = need("x265")
    how: dict[str, Any] = {"model": "bt2446a", "pix_fmt": pix_fmt}
    found = encoder_params(film, "x265", preset="ultrafast", crf=8, **how)
    frames = io.BytesIO()
    pipe(film, frames, **how)
    out = tmp_path / "film.hevc"
    command = [x265, "--y4m", "--input", "-", *found.words, "--log-level", "error", str(out)]
    done = subprocess.run(command, input=frames.getvalue(), check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    (stream,) = ffprobe(out, "-show_streams")["streams"]
    assert (stream["pix_fmt"], stream["color_transfer"]) == (f"{pix_fmt}le", "smpte2084")
    assert stream["profile"] == "Rext"
    frames.seek(0)
    with av.open(frames, format="yuv4mpegpipe") as given, av.open(str(out)) as read:
        pairs = list(zip(given.decode(video=0), read.decode(video=0), strict=True))
    assert len(pairs) == FRAMES
    unit = 4 << (int(pix_fmt[-2:]) - 10)
    for ours, theirs in pairs[:: FRAMES - 1]:
        assert ours.format.name == theirs.format.name == f"{pix_fmt}le"
        for plane, other in zip(ours.planes, theirs.planes, strict=True):
            apart = np.from_dlpack(plane).astype(int) - np.from_dlpack(other).astype(int)
            assert np.abs(apart).mean() < unit


@pytest.mark.parametrize("pix_fmt", ["yuv422p10", "yuv444p12"])
def test_ffmpeg_is_told_the_pixel_format_and_no_siting_without_4_2_0(
    film: Path, pix_fmt: str
) -> None:
    words = " ".join(encoder_params(film, "ffmpeg", **FAST, pix_fmt=pix_fmt).words)
    assert f"-pix_fmt {pix_fmt}le" in words
    assert "chroma" not in words


def test_a_format_that_an_encoder_or_a_pipe_lacks_is_refused(film: Path) -> None:
    with pytest.raises(UsageError, match="svtav1 does not write AV1 in yuv422p10"):
        encoder_params(film, "svtav1", **FAST, pix_fmt="yuv422p10")
    with pytest.raises(UsageError, match="A pipe takes no gbrp16; give --pix-fmt yuv420p10, "):
        pipe(film, io.BytesIO(), **FAST, codec="ffv1", pix_fmt="gbrp16")
