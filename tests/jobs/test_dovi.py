"""Dolby Vision 8.1 of whole conversions, with a stub of dovi_tool that notes what it is told and numbers the pictures."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from judges import ffprobe, mediainfo
from media_makers import Planes, make_clip, moving_texture

from sdr2hdr import convert
from sdr2hdr.cli.main import main
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.errors import OutputError, UsageError
from sdr2hdr.media.probe import probe
from sdr2hdr.options import Options

FRAMES, CUT, BAR = 20, 8, 8
HOW: dict[str, Any] = {"model": "bt2446a", "preset": "fast", "chunk_frames": 6}

STUB = f"""#!{sys.executable}
import json, os, sys
words = sys.argv
assert words[1] == "generate"
told = json.load(open(words[words.index("-j") + 1]))
if os.environ.get("STUB_SAYS"):
    sys.exit(os.environ["STUB_SAYS"])
json.dump(told, open(os.environ["STUB_TOLD"], "w"))
count = sum(shot["duration"] for shot in told["shots"]) - int(os.environ.get("STUB_LACKS", 0))
with open(words[words.index("-o") + 1], "wb") as out:
    for number in range(count):
        out.write(bytes([0, 0, 0, 1, 0x19, 8, 100 + number, 0x80]))
"""


def picture(index: int) -> Planes:
    """A texture between two black bars, darker in the second scene."""
    y, u, v = moving_texture(index, [(64, 96), (32, 48), (32, 48)], 8)
    y = y if index < CUT else (16 + (y.astype(np.int32) - 16).clip(0, 219) // 2).astype(np.uint8)
    for plane, black, bar in ((y, 16, BAR), (u, 128, BAR // 2), (v, 128, BAR // 2)):
        plane[:bar] = plane[-bar:] = black
    return y, u, v


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    (folder / "cuts.txt").write_text(f"{CUT}\n")
    return make_clip(
        folder / "clip.mkv", size=(96, 64), frames=FRAMES, picture=picture, options={"crf": "4"}
    )


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installs the stub; the file in which it notes what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dovi_tool").write_text(STUB)
    (folder / "dovi_tool").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STUB_TOLD", str(tmp_path / "told.json"))
    return tmp_path / "told.json"


def rpus(film: Path) -> list[bytes]:
    """The NAL units of type 62 that FFmpeg finds with each picture, in display order."""
    found = {}
    with av.open(str(film)) as file:
        stream = file.streams.video[0]
        only = BitStreamFilterContext("filter_units=pass_types=62", stream)
        for packet in file.demux(stream):
            for kept in only.filter(packet if packet.size else None):
                found[kept.pts] = bytes(kept)
    return [unit for _, unit in sorted(found.items())]


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_every_frame_and_the_container_have_it(
    clip: Path, tmp_path: Path, told: Path, ending: str
) -> None:
    out = tmp_path / f"out.{ending}"
    report = convert(
        clip, out, **HOW, scenes=str(clip.with_name("cuts.txt")), dolby_vision=True, hdr10plus=True
    )
    assert report.dynamic[1] == (
        "Dolby Vision profile 8.1, level 1 on all 20 frames, 2 scenes, with L1, L5 and L6"
    )
    units = rpus(out)
    assert [unit[-6:] for unit in units] == [
        bytes([0x7C, 1, 0x19, 8, 100 + number, 0x80]) for number in range(FRAMES)
    ]
    frames = ffprobe(out, "-show_frames", "-select_streams", "v")["frames"]
    assert "B" in {frame["pict_type"] for frame in frames}
    (side,) = [
        data
        for data in ffprobe(out, "-show_streams", "-select_streams", "v")["streams"][0]["side_data_list"]
        if data["side_data_type"] == "DOVI configuration record"
    ]  # fmt: skip
    assert (side["dv_profile"], side["dv_level"], side["dv_bl_signal_compatibility_id"]) == (
        8,
        1,
        1,
    )
    assert (side["rpu_present_flag"], side["el_present_flag"], side["bl_present_flag"]) == (1, 0, 1)
    assert "dvhe.08" in mediainfo(out)["HDR_Format_Profile"]
    record = probe(out)["hdr10"]["container dolby_vision"]
    assert (record["profile"], record["compatible"], record["metadata"]) == (8, 1, True)


def test_the_program_is_told_what_the_meter_found(clip: Path, tmp_path: Path, told: Path) -> None:
    report = convert(
        clip, tmp_path / "out.mkv", **HOW, scenes=str(clip.with_name("cuts.txt")), dolby_vision=True, peak=800
    )  # fmt: skip
    levels = json.loads(told.read_text())
    assert levels["length"] == FRAMES
    area = levels["level5"]
    assert area["active_area_left_offset"] == area["active_area_right_offset"] == 0
    for side in ("top", "bottom"):  # colour of the texture bleeds into the bars
        assert BAR - 2 <= area[f"active_area_{side}_offset"] <= BAR
    assert levels["level6"] == {
        "max_display_mastering_luminance": 800,
        "min_display_mastering_luminance": 1,
        "max_content_light_level": report.max_cll,
        "max_frame_average_light_level": report.max_fall,
    }
    shots = levels["shots"]
    assert [(shot["start"], shot["duration"]) for shot in shots] == [(0, CUT), (CUT, FRAMES - CUT)]
    bright, dark = (shot["metadata_blocks"][0]["Level1"] for shot in shots)
    assert bright["max_pq"] == round(4095 * pq_code(report.measured_max_cll))
    assert bright["min_pq"] == dark["min_pq"] == 0  # the bars
    for level in (bright, dark):
        assert level["min_pq"] < level["avg_pq"] < level["max_pq"]
    assert dark["max_pq"] < bright["max_pq"] and dark["avg_pq"] < bright["avg_pq"]


def test_without_the_program_one_sentence_says_where_it_is(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out.mkv"
    assert main(["convert", str(clip), str(out), "--dolby-vision"]) == 4
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert "dovi_tool, which is not installed" in said and "https://" in said
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_fails_is_found_out_before_anything_is_rendered(
    clip: Path, tmp_path: Path, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_SAYS", "Error: unknown field")
    with pytest.raises(OutputError, match=r"unknown field.*install a newer dovi_tool"):
        convert(clip, tmp_path / "out.mkv", **HOW, dolby_vision=True)
    monkeypatch.setenv("STUB_SAYS", "")
    monkeypatch.setenv("STUB_LACKS", "1")
    with pytest.raises(OutputError, match="0 of 1 pictures"):
        convert(clip, tmp_path / "out.mkv", **HOW, dolby_vision=True)
    assert not list(tmp_path.glob("*out.mkv*"))


def test_what_cannot_have_it_is_refused(clip: Path, tmp_path: Path, told: Path) -> None:
    with pytest.raises(UsageError, match="av1 carries no metadata for --dolby-vision; give --codec hevc"):  # fmt: skip
        Options(codec="av1", dolby_vision=True)
    with pytest.raises(OutputError, match=r"in \.mkv or \.mp4"):
        convert(clip, tmp_path / "out.mov", **HOW, dolby_vision=True)
    assert not list(tmp_path.glob("*out*"))
