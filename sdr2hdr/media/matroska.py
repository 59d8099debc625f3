"""The part of Matroska (RFC 9559) that PyAV neither writes nor shows: colour facts, display size, whether the file is
whole.

Identifiers are kept with their length marker, as the specification writes them.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.media.ebml import (
    CRC32,
    VOID,
    Elements,
    children,
    element,
    elements,
    filler,
    number,
    real,
    variable,
    whole,
)
from sdr2hdr.media.hdr10 import ContainerHdr

MAGIC = b"\x1aE\xdf\xa3"
STEP = Fraction(1, 1000)
"""Seconds in a step of the times that FFmpeg writes."""

_SEGMENT, _TRACKS, _CLUSTER = 0x18538067, 0x1654AE6B, 0x1F43B675
# What lies in a segment (seek head, info, tracks, cues, attachments, chapters, tags) or in a cluster (timestamp, silent tracks,
# position, previous size, blocks and groups of them), or in both.
_PASSED = {0x114D9B74, 0x1549A966, _TRACKS, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
_PASSED |= {0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, VOID, CRC32}
_TRACK_ENTRY, _TRACK_TYPE, _VIDEO, COLOUR, _MASTERING = 0xAE, 0x83, 0xE0, 0x55B0, 0x55D0
_MAX_BLOCK_ADDITION = 0x55EE
LANGUAGE = 0x22B59C
ROOM = 16
"""Bytes that :func:`complete_tracks` may need for the picture: where chroma sits, which FFmpeg writes of HEVC alone."""
_ADDITION_MAPPING, _ADDITION_TYPE, _ADDITION_EXTRA = 0x41E4, 0x41E7, 0x41ED
_PIXEL_WIDTH, _PIXEL_HEIGHT, _DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = (
    0xB0,
    0xBA,
    0x54B0,
    0x54BA,
    0x54B2,
)
_MATRIX, _BITS, _SUBSAMPLED_H, _SUBSAMPLED_V = 0x55B1, 0x55B2, 0x55B3, 0x55B4
SITING_H, SITING_V, _RANGE, _TRANSFER, _PRIMARIES = 0x55B7, 0x55B8, 0x55B9, 0x55BA, 0x55BB
_MAX_CLL, _MAX_FALL = 0x55BC, 0x55BD
_INFO, _TIMESTAMP_SCALE, _TIMESTAMP = 0x1549A966, 0x2AD7B1, 0xE7
_TRACK_NUMBER, _CODEC, _PRIVATE, _CODEC_DELAY = 0xD7, 0x86, 0x63A2, 0x56AA
_AUDIO, _SAMPLE_RATE, _CHANNELS = 0xE1, 0xB5, 0x9F
# Red, green, blue and white x, y: 0x55D1 to 0x55D8; then LuminanceMax and LuminanceMin. ``mdcv`` wants G, B, R, white.
_POINTS = (0x55D3, 0x55D4, 0x55D5, 0x55D6, 0x55D1, 0x55D2, 0x55D7, 0x55D8)
_LUMINANCES = (0x55D9, 0x55DA)


def tracks_of(file: BinaryIO) -> tuple[int, bytes]:
    """Where the body of Tracks starts, and the body; (0, empty) if there is none before the first cluster."""
    end = file.seek(0, 2)
    file.seek(0)
    for name, size in elements(file, end):
        if name == _SEGMENT:
            for inner, n in elements(file, file.tell() + size):
                if inner == _CLUSTER:
                    break
                if inner == _TRACKS:
                    return file.tell(), file.read(n)
    return 0, b""


def is_whole(path: Path) -> bool:
    """Whether the elements of the segment, and the blocks of its clusters, follow each other without a gap to the end.

    Where they do not, a stretch of the file is damaged, has gone or was never written; FFmpeg goes on at the next cluster
    and says nothing of the pictures between.
    """
    found = False
    with path.open("rb") as file:
        last = file.seek(0, 2)
        file.seek(0)
        for name, size in elements(file, last):
            if name == _SEGMENT:
                found = True
                if not _is_filled(file, file.tell(), file.tell() + size, last):
                    return False
    return found


def segments(path: Path) -> int:
    """How many segments, films that is, the file holds: more than one where files were joined byte by byte."""
    with path.open("rb") as file:
        last = file.seek(0, 2)
        file.seek(0)
        return sum(name == _SEGMENT for name, _ in elements(file, last))


def _is_filled(file: BinaryIO, at: int, end: int, last: int) -> bool:
    fence = end  # where the cluster ends whose blocks are being passed, if it says so
    while at < end <= last:
        fence = end if at == fence else fence
        file.seek(at)
        try:
            name, size = variable(file, keep_marker=True), variable(file, keep_marker=False)
        except EOFError:
            return False
        at = file.tell()
        if name == _CLUSTER:
            fence = at + size if size >= 0 else fence
        elif name in _PASSED and size >= 0:
            at += size
        else:
            return False
        if at > fence or fence > end:
            return False
    return at == end


def matroska_hdr(path: Path) -> ContainerHdr:
    """What the Tracks element says of the first video track; empty if it cannot be found."""
    track = _first_video(path)
    facts = _colour_facts(_colour_of(track))
    mapping = children(track.get(_ADDITION_MAPPING, b""))
    is_dolby = mapping.get(_ADDITION_TYPE) in (b"dvcC", b"dvvC")
    return replace(facts, dolby=mapping.get(_ADDITION_EXTRA) if is_dolby else None)


def matroska_display(path: Path) -> tuple[int, int]:
    """The primaries and the transfer that Tracks names for the first video track, by their numbers in H.273; 0 for none."""
    colour = _colour_of(_first_video(path))
    return number(colour.get(_PRIMARIES, b"")), number(colour.get(_TRANSFER, b""))


def _first_video(path: Path) -> Elements:
    """The first video track's entry in Tracks; empty if it cannot be found."""
    with path.open("rb") as file:
        _, tracks = tracks_of(file)
    body = io.BytesIO(tracks)
    for name, size in elements(body, len(tracks)):
        track = children(body.read(size)) if name == _TRACK_ENTRY else {}
        if track.get(_TRACK_TYPE) == b"\1":
            return track
    return {}


def _colour_of(track: Elements) -> Elements:
    return children(children(track.get(_VIDEO, b"")).get(COLOUR, b""))


def _colour_facts(colour: Elements) -> ContainerHdr:
    def numbers(*names: int) -> tuple[int, ...] | None:
        return (
            tuple(int.from_bytes(colour[name], "big") for name in names)
            if all(n in colour for n in names)
            else None
        )

    mastering = children(colour.get(_MASTERING, b""))
    tags, siting = numbers(_PRIMARIES, _TRANSFER, _MATRIX, _RANGE), numbers(SITING_H, SITING_V)
    bits, light = numbers(_BITS), numbers(_MAX_CLL, _MAX_FALL)
    payload = None
    if all(name in mastering for name in (*_POINTS, *_LUMINANCES)):
        points = (round(real(mastering[name]) * 50000) for name in _POINTS)
        payload = struct.pack(
            ">8H2I", *points, *(round(real(mastering[name]) * 10000) for name in _LUMINANCES)
        )
    return ContainerHdr(
        (tags[0], tags[1], tags[2], tags[3] == 2) if tags else None,  # Range: 1 broadcast, 2 full
        payload,
        struct.pack(">HH", *light) if light else None,
        (siting[0], siting[1]) if siting else None,
        bits[0] if bits else None,
    )


def first_entry(file: bytes) -> bytes:
    """The body of the first track entry of a Matroska file."""
    _, tracks = tracks_of(io.BytesIO(file))
    return children(tracks)[_TRACK_ENTRY]


def sound_entry(codec: bytes, private: bytes, rate: int, channels: int) -> bytes:
    """The body of a track entry for sound, as RFC 9559 5.1.4.1 has it."""
    audio = element(_SAMPLE_RATE, struct.pack(">d", rate)) + element(_CHANNELS, whole(channels))
    numbers = (
        element(_TRACK_NUMBER, b"\1") + element(0x73C5, b"\1") + element(_TRACK_TYPE, b"\2")
    )  # 0x73C5: TrackUID
    return numbers + element(_CODEC, codec) + element(_PRIVATE, private) + element(_AUDIO, audio)


def header_of(entry: bytes, delay: int) -> bytes:
    """A file of one track and an empty cluster; a player must hide the track's first ``delay`` nanoseconds."""
    if delay:
        kept = (
            element(name, body) for name, body in children(entry).items() if name != _CODEC_DELAY
        )
        entry = b"".join(kept) + element(_CODEC_DELAY, whole(delay))
    ebml = {
        0x4286: b"\1",
        0x42F7: b"\1",
        0x42F2: b"\4",
        0x42F3: b"\x08",
        0x4282: b"matroska",
        0x4287: b"\4",
        0x4285: b"\2",
    }
    head = element(0x1A45DFA3, b"".join(element(name, body) for name, body in ebml.items()))
    segment = element(_INFO, element(_TIMESTAMP_SCALE, whole(round(STEP * 10**9))))
    segment += element(_TRACKS, element(_TRACK_ENTRY, entry)) + element(
        _CLUSTER, element(_TIMESTAMP, b"\0")
    )
    return head + element(_SEGMENT, segment)


def complete_tracks(
    path: Path, sample_aspect_ratio: Fraction, renamed: Mapping[bytes, bytes], layout: YuvLayout
) -> None:
    """Adds what FFmpeg's muxer leaves out: bits, chroma and the display size (PyAV cannot hand it the ratio).

    The track entry keeps its length, so nothing else moves: the room is the padding that the muxer leaves in it, the
    display unit "unknown" and a default value it writes out. Tracks whose private data are a key of ``renamed`` get its
    value, as long as the old one, for the name of their codec.
    """
    with path.open("r+b") as file:
        start, tracks = tracks_of(file)
        body = io.BytesIO(tracks)
        parts = []
        before = 0
        for name, size in elements(body, len(tracks)):
            content = body.read(size)
            end = body.tell()
            if name == _TRACK_ENTRY and children(content).get(_TRACK_TYPE) == b"\1":
                parts.append(_completed_entry(content, end - before, sample_aspect_ratio, layout))
            elif name == _TRACK_ENTRY and (
                new := renamed.get(children(content).get(_PRIVATE, b""))
            ):
                codec = element(_CODEC, children(content)[_CODEC])
                parts.append(tracks[before:end].replace(codec, element(_CODEC, new), 1))
            elif name != CRC32:
                parts.append(tracks[before:end])
            before = end
        body_bytes = b"".join(parts)
        crc = element(CRC32, zlib.crc32(body_bytes).to_bytes(4, "little"))  # RFC 8794 11.3.1
        file.seek(start)
        file.write((crc if len(body_bytes) < len(tracks) else b"") + body_bytes)


def _completed_entry(
    content: bytes, length: int, sample_aspect_ratio: Fraction, layout: YuvLayout
) -> bytes:
    entry = {k: v for k, v in children(content).items() if k != VOID}
    if LANGUAGE in entry:  # it may have been made longer for the sake of room
        entry[LANGUAGE] = entry[LANGUAGE].rstrip(b"-")
    if entry.get(_MAX_BLOCK_ADDITION) == b"\0":
        del entry[_MAX_BLOCK_ADDITION]
    video = {k: v for k, v in children(entry[_VIDEO]).items() if k != _DISPLAY_UNIT}
    if sample_aspect_ratio != 1:
        width, height = (int.from_bytes(video[k], "big") for k in (_PIXEL_WIDTH, _PIXEL_HEIGHT))
        video |= {
            _DISPLAY_WIDTH: whole(round(width * sample_aspect_ratio)),
            _DISPLAY_HEIGHT: whole(height),
        }
    colour = {**children(video[COLOUR]), _BITS: whole(layout.depth)}
    if layout.matrix != "rgb":
        colour |= {_SUBSAMPLED_H: whole(layout.sub[0]), _SUBSAMPLED_V: whole(layout.sub[1])}
    if layout.sub == (1, 1):  # on the first luma sample; FFmpeg writes it of HEVC alone
        colour |= {SITING_H: b"\1", SITING_V: b"\1"}
    video[COLOUR] = b"".join(element(k, v) for k, v in colour.items())
    entry[_VIDEO] = b"".join(element(k, v) for k, v in video.items())
    body = b"".join(element(k, v) for k, v in entry.items())
    # One byte is too short for a Void element: there the size of the entry takes a byte more.
    for size_length in (2, 3):
        left = length - 1 - size_length - len(body)
        if left == 0 or left >= 2:
            return element(_TRACK_ENTRY, body + (filler(left) if left else b""), size_length)
    raise ValueError("the video track's entry has no room")
