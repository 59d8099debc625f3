"""Closed captions in the picture: FFmpeg finds on each picture of the film made the bytes that it finds in the source's."""

from collections.abc import Container
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sdr2hdr import convert
from sdr2hdr.media.captions import placed
from sdr2hdr.media.hdr10 import escape
from sdr2hdr.media.info import read_info
from sdr2hdr.media.picture import side_data

FRAMES = 12


def cc_data(number: int) -> bytes:
    """Two triplets that no other picture has, with bytes that H.264 must escape."""
    return bytes([0xFC, 0x80 | number % 64, 0x00, 0xFD, 0x00, 0x00])


def captioned(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = FRAMES,
    b_frames: int = 2,
    silent: Container[int] = frozenset(),
) -> Path:
    """An H.264 or MPEG-2 film with captions on every picture but the ``silent`` ones."""
    options = {"bf": str(b_frames)} | ({"preset": "fast"} if codec == "libx264" else {})
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.time_base = Fraction(1, 25)
        packets = []
        for n in range(frames):
            grey = np.full((96, 96), 60 + 8 * (n % 16), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode()]:
            number = round(packet.pts * packet.time_base * 25)
            new = av.Packet(
                bytes(packet) if number in silent else with_caption(bytes(packet), codec, number)
            )
            new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
            new.is_keyframe, new.stream = packet.is_keyframe, stream
            out.mux(new)
    return path


def with_caption(data: bytes, codec: str, number: int) -> bytes:
    """A coded picture with :func:`cc_data` before its first slice."""
    body = b"GA94\x03\xc2\xff" + cc_data(number) + b"\xff"
    if codec == "mpeg2video":
        at, added = data.index(b"\0\0\1\1"), b"\0\0\1\xb2" + body
    else:
        starts = (i for i in range(len(data) - 4) if data[i : i + 3] == b"\0\0\1")
        at = next(i for i in starts if data[i + 3] & 31 in (1, 5))
        at -= data[at - 1 : at] == b"\0"
        sei = b"\xb5\x00\x31" + body
        added = b"\0\0\0\1\x06" + escape(bytes([4, len(sei)]) + sei + b"\x80")
    return data[:at] + added + data[at:]


def heard(path: Path) -> list[bytes]:
    """The captions that FFmpeg's decoder gives each picture, in the order they are shown."""
    with av.open(str(path)) as file:
        return [side_data(frame).get("A53_CC", b"") for frame in file.decode(video=0)]


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.mp4"])
@pytest.mark.parametrize(
    ("codec", "target"), [("hevc", "out.mkv"), ("hevc", "out.mp4"), ("av1", "out.mkv")]
)
def test_captions_stay_on_their_pictures(
    tmp_path: Path, name: str, codec: str, target: str
) -> None:
    source = captioned(tmp_path / name, silent=frozenset({3, 4}))
    wanted = heard(source)
    assert [b for b in wanted if b] == [cc_data(n) for n in range(FRAMES) if n not in (3, 4)]
    assert read_info(source).headers.captions
    preset = "ultrafast" if codec == "hevc" else "12"
    report = convert(source, tmp_path / target, model="bt2408", codec=codec, preset=preset)
    assert heard(tmp_path / target) == wanted
    assert any("closed captions" in note and "10 pictures" in note for note in report.notes)


def test_captions_may_begin_late_in_a_film(tmp_path: Path) -> None:
    source = captioned(tmp_path / "a.mkv", frames=330, silent=range(320))
    assert not read_info(source).headers.captions  # nothing shows it at the beginning
    report = convert(source, tmp_path / "out.mkv", model="bt2408", preset="ultrafast")
    assert heard(tmp_path / "out.mkv") == heard(source)
    assert any("closed captions" in note and "10 pictures" in note for note in report.notes)


def test_captions_of_mpeg2_are_kept_by_workers(tmp_path: Path) -> None:
    source = captioned(tmp_path / "a.ts", codec="mpeg2video", frames=24)
    wanted = heard(source)
    assert sum(map(bool, wanted)) == 24
    convert(
        source, tmp_path / "out.mkv", model="bt2408", preset="ultrafast", workers=2, chunk_frames=8
    )
    assert heard(tmp_path / "out.mkv") == wanted


def test_captions_of_pictures_that_are_not_written_come_with_the_one_before() -> None:
    found = {0: b"abc", 5: b"def", 7: b"ghi", 30: b"x" * 120}
    out = placed(found, [0, 4, 8, 20, 40])
    assert out == {0: b"abc", 4: b"defghi", 20: b"x" * 93, 40: b"x" * 27}
