"""What FFmpeg's muxer does not write into MP4 (ISO/IEC 14496-12) as it is needed, changed in place.

Its edit lists (8.6.6) hide samples only where they start before 0. Where a sound starts later, its priming must be hidden as
well: the empty edit before it becomes as much longer as the edit after it starts later in the sound. And it enables the first
track of each kind where none is (8.3.2).
"""

import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from sdr2hdr.media.boxes import boxes, top_level_moov


def hide_start(path: Path, hidden: Mapping[int, Fraction]) -> None:
    """Hide the given seconds at the start of tracks, numbered from 0. Raises ValueError for edits of other writers than
    FFmpeg."""
    with path.open("r+b") as file:
        start, moov = top_level_moov(file)
        tracks = _tracks(moov)
        movie = _scale(moov, _box(moov, b"mvhd", 0, len(moov))[0])
        for number, seconds in hidden.items():
            at, end = tracks[number]
            media = _scale(moov, _box(moov, b"mdhd", *_box(moov, b"mdia", at, end))[0])
            table, _ = _box(moov, b"elst", *_box(moov, b"edts", at, end))
            form = ">Qq" if moov[table] else ">Ii"
            if struct.unpack_from(">I", moov, table + 4)[0] != 2:
                raise ValueError("the edit list does not have two entries")
            size = struct.calcsize(form) + 4
            empty, _ = struct.unpack_from(form, moov, table + 8)
            length, media_start = struct.unpack_from(form, moov, table + 8 + size)
            changed = bytearray(moov[table : table + 8 + 2 * size])
            struct.pack_into(form, changed, 8, empty + round(seconds * movie), -1)
            struct.pack_into(
                form,
                changed,
                8 + size,
                length - round(seconds * movie),
                media_start + round(seconds * media),
            )
            file.seek(start + table)
            file.write(changed)


def disable_subtitles(path: Path) -> None:
    """Mark the subtitles, and with them the list of chapters, as tracks that are not shown unless somebody chooses one."""
    with path.open("r+b") as file:
        start, moov = top_level_moov(file)
        for track in _tracks(moov):
            handler, _ = _box(moov, b"hdlr", *_box(moov, b"mdia", *track))
            if moov[handler + 8 : handler + 12] in (b"sbtl", b"text"):
                last_flags = _box(moov, b"tkhd", *track)[0] + 3
                file.seek(start + last_flags)
                file.write(bytes([moov[last_flags] & ~1]))


def _tracks(moov: bytes) -> list[tuple[int, int]]:
    return [(at, end) for name, _, at, end in boxes(moov, 0, len(moov)) if name == b"trak"]


def _box(data: bytes, name: bytes, at: int, end: int) -> tuple[int, int]:
    for kind, _, body, stop in boxes(data, at, end):
        if kind == name:
            return body, stop
    raise ValueError(f"there is no {name.decode()}")


def _scale(data: bytes, header: int) -> int:
    """The time scale in the body of ``mvhd`` or ``mdhd``."""
    return int(struct.unpack_from(">I", data, header + (20 if data[header] == 1 else 12))[0])
