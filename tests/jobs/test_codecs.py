"""Codecs for editing go through plan, render and assembly as HEVC does."""

import json
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from handed import frames_handed
from judges import ffprobe, need
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.errors import OutputError, UsageError

FAST: dict[str, Any] = {"model": "bt2446a", "chunk_frames": 5}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("source") / "film.mkv", size=(128, 96), frames=14)


@pytest.mark.parametrize("codec", ["hevc", "av1", "ffv1"])
def test_a_picture_of_wide_pixels_keeps_its_shape_in_matroska(tmp_path: Path, codec: str) -> None:
    """With the place of chroma, of which FFmpeg leaves room in HEVC alone."""
    film = tmp_path / "pal.mp4"
    given = "testsrc2=s=180x144:r=25:d=0.2,format=yuv420p,setsar=64/45"
    command = [need("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", given, "-c:v", "libx264", film]
    subprocess.run(command, check=True)
    out = tmp_path / "out.mkv"
    preset = {} if codec == "ffv1" else {"preset": {"hevc": "ultrafast", "av1": "12"}[codec]}
    convert(film, out, "bt2408", codec=codec, **preset)
    read = subprocess.run(
        [need("mkvmerge"), "-J", out], capture_output=True, text=True, check=True
    ).stdout
    found = json.loads(read)
    properties = found["tracks"][0]["properties"]
    assert properties["display_dimensions"] == "256x144" and properties["language"] == "und"
    assert not found["warnings"] and not found["errors"]
    (stream,) = ffprobe(out, "-show_streams", "-select_streams", "v")["streams"]
    assert stream["chroma_location"] == "topleft"


@pytest.mark.parametrize("pix_fmt", ["yuv422p12", "gbrp16"])
def test_ffv1_holds_the_planes_that_were_rendered_to_the_bit(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pix_fmt: str
) -> None:
    out = tmp_path / "out.mkv"
    how = {**FAST, "codec": "ffv1", "pix_fmt": pix_fmt}
    handed = frames_handed(monkeypatch, lambda: convert(clip, out, **how))
    with av.open(str(out)) as file:
        found = [[torch.from_dlpack(p) for p in f.planes] for f in file.decode(video=0)]
    assert len(found) == len(handed) == 14
    for mine, (planes, _) in zip(found, handed, strict=True):
        if pix_fmt == "gbrp16":
            mine = [mine[2], mine[0], mine[1]]  # noqa: PLW2901 - FFmpeg keeps G', B', R'
        assert all(torch.equal(a, b) for a, b in zip(mine, planes, strict=True))


@pytest.mark.parametrize(("codec", "ending"), [("ffv1", "mkv"), ("prores", "mov")])
def test_parallel_and_straight_runs_give_the_same_file(
    clip: Path, tmp_path: Path, codec: str, ending: str
) -> None:
    one, two = (tmp_path / f"{workers}.{ending}" for workers in (1, 2))
    cuts = tmp_path / "cuts.txt"
    cuts.write_text("7")
    report = convert(clip, one, codec=codec, scenes=cuts, **FAST)
    convert(clip, two, codec=codec, scenes=cuts, workers=2, **FAST)
    assert report.chunks == 2
    assert one.read_bytes() == two.read_bytes()
    assert (report.codec, report.measured_max_cll > 0) == (codec, True)


def test_hlg_read_by_zimg_is_the_light_of_the_pq_file(clip: Path, tmp_path: Path) -> None:
    """FFmpeg's zscale takes both to linear light of the same display; FFV1 and ProRes lose next to nothing.

    Zscale applies the system gamma of HLG to each channel alone. That is undone, and BT.2100's own done, which is of luminance.
    """
    need("ffmpeg")
    light = []
    for name, how in (
        ("pq.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p10"}),
        ("hlg.mov", {"codec": "prores", "pix_fmt": "yuv444p10", "transfer": "hlg"}),
    ):
        report = convert(clip, tmp_path / name, **how, **FAST)
        to_light = "zscale=t=linear:npl=1000:p=bt2020:m=gbr:r=full,format=gbrpf32le"
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            str(tmp_path / name),
            "-frames:v",
            "3",
            "-vf",
            to_light,
        ]
        raw = subprocess.run(
            [*command, "-f", "rawvideo", "-"], check=True, capture_output=True
        ).stdout
        planes = np.frombuffer(raw, "<f4").reshape(3, 3, 96, 128)
        light.append((planes * 1000, report))
    (pq, in_pq), (hlg, in_hlg) = light
    scene = (hlg / 1000).clip(0) ** (1 / 1.2)
    green, blue, red = scene.swapaxes(0, 1)
    hlg = 1000 * scene * ((0.2627 * red + 0.678 * green + 0.0593 * blue) ** 0.2)[:, None]
    apart = np.abs(hlg - pq)
    assert apart.mean() < 0.01 * pq.mean()
    assert in_hlg.transfer == "hlg"
    assert in_hlg.measured_max_fall == pytest.approx(in_pq.measured_max_fall, rel=0.01)


def test_a_decoder_from_outside_finds_no_wrong_checksum_in_ffv1(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    convert(clip, out, codec="ffv1", pix_fmt="yuv444p10", **FAST)
    command = [need("ffmpeg"), "-v", "warning", "-err_detect", "crccheck", "-i", str(out)]
    done = subprocess.run([*command, "-f", "null", "-"], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    (stream,) = ffprobe(out, "-show_streams", "-select_streams", "v")["streams"]
    assert stream["pix_fmt"] == "yuv444p10le"


def test_what_cannot_be_is_refused_before_the_work(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="MP4 cannot hold ProRes; write MOV or MKV"):
        convert(clip, tmp_path / "out.mp4", codec="prores", **FAST)
    with pytest.raises(OutputError, match="dnxhd refuses a picture of 128x96"):
        convert(clip, tmp_path / "out.mov", codec="dnxhr", **FAST)
    with pytest.raises(UsageError, match="Encoder svtav1 does not write AV1 in yuv444p10"):
        convert(clip, tmp_path / "out.mkv", codec="av1", pix_fmt="yuv444p10", **FAST)
    assert list(tmp_path.iterdir()) == []
