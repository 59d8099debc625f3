"""The facts of files, against the tools that know them."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from judges import ffprobe, mediainfo
from media_makers import make_clip

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
    stream = next(s for s in ffprobe(clip, "-show_streams")["streams"] if s["codec_type"] == "video")
    video = facts["video"]
    assert facts["kind"] == "SDR" and "hdr10" not in facts
    assert video["codec"] == stream["codec_name"]
    assert video["stored_size"] == f"{stream['width']}x{stream['height']}"
    assert video["size"] == f"{stream['height']}x{stream['width']}"
    assert (video["rate"], video["time_base"]) == (stream["avg_frame_rate"], stream["time_base"])
    assert video["frames"] == int(stream["nb_frames"])
    assert video["sample_aspect_ratio"] == "3:4" and stream["sample_aspect_ratio"] == "4:3"  # theirs lies on its side
    assert video["rotation"] == 90 and stream["side_data_list"][0]["rotation"] == -90
    assert facts["colour"]["pix_fmt"] == stream["pix_fmt"]
    assert (facts["colour"]["matrix"], facts["colour"]["transfer"]) == (stream["color_space"], stream["color_transfer"])
    assert facts["colour"]["siting"] == stream["chroma_location"]
    assert facts["other"]["audio"] == ["aac"]


def test_hdr10_metadata_of_the_bitstream_is_mediainfos(tmp_path: Path) -> None:
    """x265 writes it into the bitstream and no muxer copies it to the container."""
    options = {
        "preset": "ultrafast",
        "x265-params": "log-level=none:hdr10=1:repeat-headers=1:max-cll=987,123:"
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
    }
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    clip = make_clip(tmp_path / "a.mkv", codec="libx265", pix_fmt="yuv420p10le", frames=3, options=options, **tags)
    facts = json.loads(json.dumps(probe(clip)))
    judge = mediainfo(clip)
    assert facts["kind"] == "PQ"
    light, mastering = facts["hdr10"]["bitstream light"], facts["hdr10"]["bitstream mastering"]
    assert f"{light['max_cll']} cd/m2" == judge["MaxCLL"] and f"{light['max_fall']} cd/m2" == judge["MaxFALL"]
    assert mastering["max_nits"] == pytest.approx(1000) and "max: 1000" in judge["MasteringDisplay_Luminance"]
    assert judge["MasteringDisplay_ColorPrimaries"] == "Display P3"
    assert mastering["red"] == pytest.approx([0.68, 0.32])
    assert facts["hdr10"]["container light"] is None


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        probe(tmp_path / "no.mkv")
