"""The part of MP4 that PyAV neither writes nor shows: static HDR metadata in the container.

FFmpeg's muxers write it when the stream they copy from carries it. So a one-packet MP4 in memory with ``mdcv`` and ``clli``
spliced into its sample entry serves as that stream (``template``), and the result is read back here byte by byte.
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer

from sdr2hdr.codecs import CODECS
from sdr2hdr.media.bitstreams import muxer_of_template
from sdr2hdr.media.dovi import DolbyRecord
from sdr2hdr.media.hdr10 import ContainerHdr, ContentLight, Mastering
from sdr2hdr.text import printable

_ENTRY_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_VISUAL_ENTRY = 8 + 78  # header and fixed fields of a VisualSampleEntry (ISO/IEC 14496-12 12.1.3)


def template(
    codec: str,
    key_packet: bytes,
    mastering: Mastering | None,
    light: ContentLight | None,
    size: tuple[int, int],
    dolby: DolbyRecord | None = None,
) -> bytes:
    """An MP4 or MOV of one packet whose video stream carries the metadata, if any; ``key_packet`` as the encoder gave it."""
    file = io.BytesIO()
    with av.open(file, "w", format=muxer_of_template(codec)) as out:
        stream = out.add_mux_stream(CODECS[codec].ffmpeg, width=size[0], height=size[1])
        packet = av.Packet(key_packet)
        packet.pts = packet.dts = 0
        packet.duration, packet.time_base = 1, Fraction(1, 1000)
        packet.is_keyframe, packet.stream = True, stream
        out.mux(packet)
    data = bytearray(file.getvalue())
    extra = b"".join(
        struct.pack(">I4s", 8 + len(body), name) + body
        for name, body in (
            (b"mdcv", mastering.payload() if mastering else b""),
            (b"clli", light.payload() if light else b""),
            (dolby.box, dolby.payload()) if dolby else (b"", b""),
        )
        if body
    )
    # Without faststart moov comes last, so nothing that it points to moves when it grows.
    at, end = 0, len(data)
    for name in _ENTRY_PATH:
        start, at, end = next(box[1:] for box in boxes(data, at, end) if box[0] == name)
        struct.pack_into(">I", data, start, end - start + len(extra))
    at += 8  # stsd: version, flags and entry count
    entry = struct.unpack_from(">I", data, at)[0]
    struct.pack_into(">I", data, at, entry + len(extra))
    # Before all other boxes: behind those of DNxHR lie zeros, which end them.
    data[at + _VISUAL_ENTRY : at + _VISUAL_ENTRY] = extra
    return bytes(data)


def open_template(data: bytes) -> InputContainer:
    """Opens what ``template`` made."""
    return av.open(io.BytesIO(data), "r", format="mov")


def boxes(data: bytes | bytearray, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """(type, start, start of the body, end) of the boxes in ``data[at:end]``; stops at a damaged one."""
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= end:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        elif size == 0:
            size = end - at
        if size < head or at + size > end:
            return
        yield name, at, at + head, at + size
        at += size


def mp4_hdr(path: Path) -> ContainerHdr:
    """What an MP4 or MOV file says of its first video track; empty for other files."""
    with path.open("rb") as file:
        _, moov = top_level_moov(file)
    for name, _, body, end in boxes(moov, 0, len(moov)):
        if name == b"trak" and (entry := _video_entry(moov, body, end)):
            found = {name: moov[at:stop] for name, _, at, stop in boxes(moov, *entry)}
            colr = found.get(b"colr", b"")
            colour = None
            if colr[:4] in (b"nclx", b"nclc") and len(colr) >= 10:
                primaries, transfer, matrix = struct.unpack_from(">3H", colr, 4)
                colour = primaries, transfer, matrix, bool(len(colr) > 10 and colr[10] >> 7)
            dolby = found.get(b"dvvC") or found.get(b"dvcC")
            return ContainerHdr(colour, found.get(b"mdcv"), found.get(b"clli"), dolby=dolby)
    return ContainerHdr()


def sample_entries(path: Path) -> dict[int, str]:
    """The four letters of each track's first sample entry, by track ID, as people may read them."""
    found = {}
    with path.open("rb") as file:
        _, moov = top_level_moov(file)
    for name, _, body, end in boxes(moov, 0, len(moov)):
        if name != b"trak":
            continue
        header = next((at for kind, _, at, _ in boxes(moov, body, end) if kind == b"tkhd"), None)
        inside = body, end
        for inner in _ENTRY_PATH[2:]:
            inside = next(
                ((at, stop) for kind, _, at, stop in boxes(moov, *inside) if kind == inner), (0, 0)
            )
        if header is None or inside[1] - inside[0] < 16:
            continue
        track = struct.unpack_from(">I", moov, header + (20 if moov[header] == 1 else 12))[0]
        found[track] = printable(moov[inside[0] + 12 : inside[0] + 16].decode("latin-1")).strip()
    return found


def extended_languages(path: Path) -> dict[int, str]:
    """The BCP 47 languages (``elng``) of an MP4's or MOV's tracks, by the track's place in the file."""
    with path.open("rb") as file:
        _, moov = top_level_moov(file)
    found = {}
    tracks = [(body, end) for name, _, body, end in boxes(moov, 0, len(moov)) if name == b"trak"]
    for place, track in enumerate(tracks):
        media = next(
            ((at, stop) for kind, _, at, stop in boxes(moov, *track) if kind == b"mdia"), (0, 0)
        )
        at, stop = next(
            ((at, stop) for kind, _, at, stop in boxes(moov, *media) if kind == b"elng"), (0, 0)
        )
        if stop - at > 4:
            found[place] = moov[at + 4 : stop].split(b"\0")[0].decode("ascii", "replace")
    return found


def top_level_moov(file: BinaryIO) -> tuple[int, bytes]:
    """:func:`top_level` for ``moov``."""
    return top_level(file, b"moov")


def top_level(file: BinaryIO, wanted: bytes) -> tuple[int, bytes]:
    """Where the body of the first box of this name starts, and the body; (0, empty) if there is none."""
    end = file.seek(0, 2)
    at = 0
    while at + 8 <= end:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", file.read(8))[0], 16
        elif size == 0:
            size = end - at
        if size < head:
            break
        if name == wanted:
            return at + head, file.read(min(size, end - at) - head)
        at += size
    return 0, b""


def _video_entry(moov: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Where the boxes inside a video track's first sample entry lie; None for other tracks."""
    for name in _ENTRY_PATH[2:]:  # mdia, where hdlr is, minf, stbl, stsd
        inside = {box[0]: box[2:] for box in boxes(moov, at, end)}
        if name == b"minf":
            if b"hdlr" not in inside:
                return None
            handler = inside[b"hdlr"][0] + 8
            if moov[handler : handler + 4] != b"vide":
                return None
        if name not in inside:
            return None
        at, end = inside[name]
    at += 8
    return at + _VISUAL_ENTRY, min(end, at + struct.unpack_from(">I", moov, at)[0])
