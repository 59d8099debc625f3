"""HDR10+ of whole conversions: what FFmpeg, ffprobe and MediaInfo find in the file, and whether it is what was measured."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from judges import ffprobe, mediainfo, need
from media_makers import Planes, make_clip, moving_texture
from numpy.typing import NDArray

from sdr2hdr import convert
from sdr2hdr.cli.main import main
from sdr2hdr.errors import InputError
from sdr2hdr.media.dynamic import hdr10plus_of
from sdr2hdr.media.picture import side_data

FRAMES, CUTS = 30, (8, 24)
HOW = {"model": "bt2446a", "hdr10plus": True, "chunk_frames": 8}
KIND = "HDR Dynamic Metadata SMPTE2094-40 (HDR10+)"


def picture(index: int) -> Planes:
    """Flat squares, darker in each scene. What is brightest in them outlives an encoder, where a single pixel does not."""
    scene = sum(index >= cut for cut in CUTS)
    y, u, v = (
        plane.repeat(8, 0).repeat(8, 1)
        for plane in moving_texture(index, [(8, 12), (4, 6), (4, 6)], 8)
    )
    return [(16 + (y.astype(np.int32) - 16).clip(0, 219) // (1 + scene)).astype(np.uint8), u, v]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    (folder / "cuts.txt").write_text("".join(f"{cut}\n" for cut in CUTS))
    return make_clip(folder / "clip.mkv", size=(96, 64), frames=FRAMES, picture=picture)


@pytest.fixture(scope="module")
def film(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An HEVC film with B-frames, nearly without loss."""
    out = tmp_path_factory.mktemp("film") / "out.mkv"
    made = convert(
        clip, out, **HOW, scenes=str(clip.with_name("cuts.txt")), preset="fast", crf=0, keep_work=True
    )  # fmt: skip
    assert (made.scenes, made.chunks) == (3, 4)  # the second scene is in two chunks
    assert made.dynamic == (
        "HDR10+ profile B on all 30 frames, 3 scenes, with a curve for displays of 400 nits",
    )
    return out


def channels_of(planes: NDArray[np.uint16]) -> NDArray[np.float64]:
    """R, G and B in nits of 4:2:0 pictures: BT.2020 table 4, ST 2084 eq. 4.1, chroma co-sited top-left, linear between."""
    height = planes.shape[0] * 2 // 3
    y, rest = planes[:height].astype(np.float64), planes[height:].astype(np.float64)
    full = []
    for c in np.split(rest.reshape(2, height // 2, -1), 2):
        wide = np.pad((c[0] - 512) / 896, ((0, 1), (0, 1)), mode="edge")
        rows = np.stack([wide[:-1], (wide[:-1] + wide[1:]) / 2], 1).reshape(height, -1)
        both = np.stack([rows[:, :-1], (rows[:, :-1] + rows[:, 1:]) / 2], 2)
        full.append(both.reshape(y.shape))
    luma = (y - 64) / 876
    r, b = luma + 1.4746 * full[1], luma + 1.8814 * full[0]
    g = (luma - 0.2627 * r - 0.0593 * b) / 0.678
    p = np.stack([r, g, b]).clip(0, 1) ** (1 / 78.84375)
    light = (p - 0.8359375).clip(0) / (18.8515625 - 18.6875 * p)
    return 10000 * light ** (1 / 0.1593017578125)


def found(film: Path) -> list[dict[str, Any]]:
    """What ffprobe tells of each frame's HDR10+, in display order."""
    frames = ffprobe(film, "-show_frames", "-select_streams", "v")["frames"]
    kept = [
        [side for side in frame.get("side_data_list", []) if side["side_data_type"] == KIND]
        for frame in frames
    ]
    assert all(len(sides) == 1 for sides in kept)
    assert "B" in {frame["pict_type"] for frame in frames}
    return [sides[0] for sides in kept]


def test_every_frame_has_what_its_scene_measures(film: Path) -> None:
    told = found(film)
    with av.open(str(film)) as file:
        light = np.stack([channels_of(frame.to_ndarray()) for frame in file.decode(video=0)])
    assert len(told) == len(light) == FRAMES
    for first, last in pairwise([0, *CUTS, FRAMES]):
        assert all(each == told[first] for each in told[first:last])
        scene = hdr10plus_of(film)[first]
        brightest = light[first:last].max(1)
        assert np.array(scene.maxscl) / 10 == pytest.approx(
            light[first:last].max((0, 2, 3)), rel=0.05
        )
        assert scene.average / 10 == pytest.approx(brightest.mean(), rel=0.01)
        for percent, value in scene.percentiles:
            wanted = np.percentile(brightest, percent)
            assert value / 10 == pytest.approx(wanted, rel=0.03, abs=0.1)
        assert told[first]["average_maxrgb"] == f"{scene.average}/100000"
        assert told[first]["targeted_system_display_maximum_luminance"] == "400/1"
        assert told[first]["num_bezier_curve_anchors"] == 9
        assert scene.curve is not None
        assert told[first]["knee_point_x"] == f"{scene.curve.knee[0]}/4095"
    assert [each.average for each in hdr10plus_of(film)[:: FRAMES - 1]] == sorted(
        (each.average for each in hdr10plus_of(film)[:: FRAMES - 1]), reverse=True
    )


@pytest.mark.parametrize(("codec", "ending"), [("hevc", "mp4"), ("hevc", "mov"), ("av1", "mkv"), ("av1", "mp4")])  # fmt: skip
def test_it_is_in_every_codec_and_container(
    clip: Path, film: Path, tmp_path: Path, codec: str, ending: str
) -> None:
    out = tmp_path / f"out.{ending}"
    preset = {"hevc": "fast", "av1": "8"}[codec]
    convert(clip, out, **HOW, scenes=str(clip.with_name("cuts.txt")), preset=preset, codec=codec)
    assert hdr10plus_of(out) == hdr10plus_of(film)
    with av.open(str(out)) as file:
        assert all("DYNAMIC_HDR_PLUS" in side_data(frame) for frame in file.decode(video=0))
    if codec == "hevc":
        assert [each["average_maxrgb"] for each in found(out)] == [
            f"{each.average}/100000" for each in hdr10plus_of(film)
        ]
        assert "HDR10+ Profile B" in mediainfo(out)["HDR_Format_Compatibility"]


def test_mediainfo_names_the_profile(film: Path) -> None:
    assert "HDR10+ Profile B" in mediainfo(film)["HDR_Format_Compatibility"]


def test_a_resumed_run_writes_the_same_file(clip: Path, film: Path) -> None:
    how = {**HOW, "scenes": str(clip.with_name("cuts.txt")), "preset": "fast", "crf": 0}
    work = film.with_name(f".{film.name}.sdr2hdr-work")
    (work / "chunk-00001.json").unlink()  # half of the second scene has not been rendered
    before = film.read_bytes()
    again = convert(clip, film, **how, overwrite=True, keep_work=True)
    assert 0 < again.resumed_chunks < 4
    assert film.read_bytes() == before


def test_the_export_is_what_was_written(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--hdr10plus", "json", str(film)]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["SceneInfoSummary"] == {
        "SceneFirstFrameIndex": [0, *CUTS],
        "SceneFrameNumbers": [8, 16, 6],
    }
    assert [scene["LuminanceParameters"] for scene in out["SceneInfo"]] == [
        {
            "AverageRGB": each.average,
            "LuminanceDistributions": {
                "DistributionIndex": [1, 5, 10, 25, 50, 75, 90, 95, 99],
                "DistributionValues": [value for _, value in each.percentiles],
            },
            "MaxScl": list(each.maxscl),
        }
        for each in hdr10plus_of(film)
    ]


def test_a_film_without_it_has_no_export(clip: Path, tmp_path: Path, film: Path) -> None:
    with pytest.raises(InputError, match=r"carries no HDR10\+"):
        hdr10plus_of(clip)
    raw = tmp_path / "raw.hevc"
    command = [need("ffmpeg"), "-v", "error", "-i", film, "-c", "copy", raw]
    subprocess.run(command, check=True)
    with pytest.raises(InputError, match="when its pictures are shown"):
        hdr10plus_of(raw)
