"""LATM: frames and configuration out of LOAS elements, and nothing but LatmError for what is none."""

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sound_makers import run_ffmpeg, write_film

from sdr2hdr.media.latm import LatmError, LatmReader


@pytest.fixture(scope="module")
def elements(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], list[bytes], bytes]:
    """LOAS elements by FFmpeg, the raw AAC that they were made of, and its configuration."""
    folder = tmp_path_factory.mktemp("latm")
    plain = write_film(folder / "s.mkv", "-c:v", "mpeg4", "-c:a", "aac", "-t", "1")
    wrapped = run_ffmpeg(
        folder / "s.ts", "-i", str(plain), "-map", "0:a", "-c", "copy", "-mpegts_flags", "latm"
    )
    with av.open(str(plain)) as file:
        config = file.streams.audio[0].codec_context.extradata
        raw = [bytes(p) for p in file.demux(audio=0) if p.size]
    with av.open(str(wrapped)) as file:
        return [bytes(p) for p in file.demux(audio=0) if p.size], raw, config


def test_frames_are_those_that_were_wrapped(
    elements: tuple[list[bytes], list[bytes], bytes],
) -> None:
    packets, raw, config = elements
    reader = LatmReader()
    frames = [frame for packet in packets for frame in reader.frames(packet)]
    assert frames == raw
    assert config.startswith(reader.config) and reader.config


def test_joined_in_the_middle_it_waits_for_a_configuration(
    elements: tuple[list[bytes], list[bytes], bytes],
) -> None:
    packets, raw, _ = elements
    reader = LatmReader()
    assert reader.frames(packets[1]) == []
    assert reader.frames(b"".join(packets[:2])) == raw[:2]


@given(data=st.binary(max_size=64), size=st.integers(0, 0x1FFF))
def test_junk_is_refused(data: bytes, size: int) -> None:
    for junk in (
        data,
        bytes([0x56, 0xE0 | size >> 8, size & 255]) + data,
        bytes([0x56, 0xE0, len(data)]) + data,
    ):
        reader = LatmReader()
        try:
            frames = reader.frames(junk)
        except LatmError:
            continue
        assert sum(map(len, frames)) <= len(junk)
