"""The facts of files, against the tools that know them."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from judges import ffprobe, mediainfo, need
from media_makers import SRT, make_clip

from sdr2hdr import convert
from sdr2hdr.errors import InputError
from sdr2hdr.media.probe import probe


def test_facts_of_an_sdr_file_are_ffprobes(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "a.mp4",
        frames=50,
        rate=Fraction(30000, 1001),
        rotation=90,
        aspect=Fraction(4, 3),
        audio=["aac"],
        colorspace=1,
        color_primaries=1,
        color_trc=1,
        color_range=1,
    )
    facts = json.loads(json.dumps(probe(clip)))
    stream = next(
        s for s in ffprobe(clip, "-show_streams")["streams"] if s["codec_type"] == "video"
    )
    video = facts["video"]
    assert facts["kind"] == "SDR" and "hdr10" not in facts
    assert video["codec"] == stream["codec_name"]
    assert video["stored_size"] == f"{stream['width']}x{stream['height']}"
    assert video["size"] == f"{stream['height']}x{stream['width']}"
    assert (video["rate"], video["time_base"]) == (stream["avg_frame_rate"], stream["time_base"])
    assert video["frames"] == int(stream["nb_frames"])
    assert (
        video["sample_aspect_ratio"] == "3:4" and stream["sample_aspect_ratio"] == "4:3"
    )  # theirs lies on its side
    assert video["rotation"] == 90 and stream["side_data_list"][0]["rotation"] == -90
    assert facts["colour"]["pix_fmt"] == stream["pix_fmt"]
    assert (facts["colour"]["matrix"], facts["colour"]["transfer"]) == (
        stream["color_space"],
        stream["color_transfer"],
    )
    assert facts["colour"]["siting"] == stream["chroma_location"]
    assert [(row["kind"], row["codec"]) for row in facts["streams"]] == [
        ("video", "h264"),
        ("audio", "aac"),
    ]


def test_hdr10_metadata_of_the_bitstream_is_mediainfos(tmp_path: Path) -> None:
    """x265 writes it into the bitstream and no muxer copies it to the container."""
    options = {
        "preset": "ultrafast",
        "x265-params": "log-level=none:hdr10=1:repeat-headers=1:max-cll=987,123:"
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
    }
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    clip = make_clip(
        tmp_path / "a.mkv",
        codec="libx265",
        pix_fmt="yuv420p10le",
        frames=3,
        options=options,
        **tags,
    )
    facts = json.loads(json.dumps(probe(clip)))
    judge = mediainfo(clip)
    assert facts["kind"] == "PQ"
    light, mastering = facts["hdr10"]["bitstream light"], facts["hdr10"]["bitstream mastering"]
    assert (
        f"{light['max_cll']} cd/m2" == judge["MaxCLL"]
        and f"{light['max_fall']} cd/m2" == judge["MaxFALL"]
    )
    assert (
        mastering["max_nits"] == pytest.approx(1000)
        and "max: 1000" in judge["MasteringDisplay_Luminance"]
    )
    assert judge["MasteringDisplay_ColorPrimaries"] == "Display P3"
    assert mastering["red"] == pytest.approx([0.68, 0.32])
    assert facts["hdr10"]["container light"] is None


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        probe(tmp_path / "no.mkv")


def test_headers_and_the_fate_of_each_stream_are_told(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", size=(64, 64), frames=5, audio=["aac"])
    (tmp_path / "s.srt").write_bytes(SRT)
    (tmp_path / "f.txt").write_text("a font")
    parts = [
        "--stereo-mode",
        "0:1",
        "--language",
        "1:pt-BR",
        clip,
        "--commentary-flag",
        "0:1",
        tmp_path / "s.srt",
    ]
    extra = ["--attach-file", tmp_path / "f.txt", "--timestamp-scale", "1000000"]
    film = tmp_path / "film.mkv"
    subprocess.run([need("mkvmerge"), "-q", "-o", film, *map(str, [*extra, *parts])], check=True)
    facts = json.loads(json.dumps(probe(film)))
    picture, sound, text, attached = facts["streams"]
    assert facts["video"]["stereo"] == "side by side, left eye first"
    assert sound["language"] == "pt-BR"
    assert "comment" in text["flags"] and "comment" not in sound["flags"]
    told = [row["convert"] for row in (picture, sound, text, attached)]
    assert told == ["converted to HDR10", "copied", "copied", "attached"]
    assert facts["convert"]["notes"] == []
    facts = probe(film, "mp4")
    _, sound, text, attached = (row["convert"] for row in facts["streams"])
    assert sound == "copied"
    assert text.startswith("converted to mov_text")
    assert attached == "left out: MP4 cannot hold attachments"
    assert any("two views" in note for note in facts["convert"]["notes"])
    made = convert(film, tmp_path / "out.mp4", model="bt2408", scenes="none", preset="ultrafast")
    assert set(facts["convert"]["notes"]) <= set(made.notes)


def test_fields_are_told_by_the_first_pictures(tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    lavfi = "testsrc2=s=160x96:r=50:d=0.6,interlace"
    coded = ["-c:v", "libx264", "-flags", "+ildct+ilme", "-pix_fmt", "yuv420p"]
    subprocess.run(
        [need("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", lavfi, *coded, clip], check=True
    )
    told = probe(clip)["convert"]
    assert told["pictures_seen"] == 15
    assert any("combing and were deinterlaced" in note for note in told["first_pictures"])


def test_what_is_hdr_already_is_told(tmp_path: Path) -> None:
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 18, "color_range": 1}
    clip = make_clip(tmp_path / "a.mkv", codec="libx265", pix_fmt="yuv420p10le", frames=3, **tags)
    facts = probe(clip)
    assert "is HDR already (HLG)" in facts["convert"]["refused"]
    assert "convert" not in facts["streams"][0]


def test_a_clock_is_told(tmp_path: Path) -> None:
    parts = []
    for name, start in (("a.ts", "20"), ("b.ts", "100")):
        lavfi = [
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=64x64:r=25:d=2",
            "-c:v",
            "mpeg2video",
            "-output_ts_offset",
            start,
        ]
        subprocess.run([need("ffmpeg"), "-v", "error", *lavfi, tmp_path / name], check=True)
        parts.append((tmp_path / name).read_bytes())
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    clock = probe(tmp_path / "joined.ts")["clock"]
    assert 20 < clock["picture_start_seconds"] < 22
    (jump,) = clock["jumps"]
    assert jump["at"].startswith("0:00:0") and 77 < jump["seconds"] < 79
