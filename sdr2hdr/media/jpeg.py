"""The structure of a JPEG file: its segments, and the picture that they belong to.

Sources: ITU-T T.81 annex B (markers and segments), CIPA DC-008 (Exif in APP1), ICC.1 annex B.4 (profiles in APP2).
"""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sdr2hdr.errors import InputError

SOI = b"\xff\xd8"
APP0, APP1, APP2, APP15, COMMENT = 0xE0, 0xE1, 0xE2, 0xEF, 0xFE
_SOS, _EOI = 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # neither stuffing nor a restart
_MOST = 65_533  # bytes in a segment
EXIF = b"Exif\0\0"


@dataclass(frozen=True)
class Segment:
    """A segment before the first scan: its marker's second byte, and what follows its length."""

    marker: int
    body: bytes

    def __bytes__(self) -> bytes:
        if len(self.body) > _MOST:
            raise ValueError(f"{len(self.body)} bytes do not fit a segment of JPEG")
        return struct.pack(">BBH", 0xFF, self.marker, len(self.body) + 2) + self.body

    @property
    def is_about(self) -> bool:
        """Whether it holds words about the picture (APPn, COM), without which it decodes as well."""
        return APP0 <= self.marker <= APP15 or self.marker == COMMENT


@dataclass(frozen=True)
class Jpeg:
    """A JPEG picture: its ``segments``, its ``scans`` up to the end of the image, and what ``followed`` them in the file."""

    segments: tuple[Segment, ...]
    scans: bytes
    followed: bytes = b""

    @classmethod
    def of(cls, data: bytes, path: Path) -> Self:
        """The structure of a file. Raises InputError unless it is a whole JPEG."""
        if not data.startswith(SOI):
            raise InputError(f"{path} is not a JPEG; check that it is the right file.")
        short = InputError(f"{path} is cut short; get a new copy.")
        segments, at = list[Segment](), len(SOI)
        for marker, start, end in _segments(data, at):
            if marker == _EOI or start < 0:
                raise short
            at = end
            if marker == _SOS:
                break
            segments.append(Segment(marker, data[start:end]))
        begin = start - 4
        for marker, start, end in _segments(data, at):
            if start < 0:
                raise short
            if marker == _EOI:
                return cls(tuple(segments), data[begin:end], data[end:])
        raise short

    @property
    def components(self) -> int:
        """How many colours a pixel has: 1 or 3; 0 if the file does not say."""
        return next(
            (s.body[5] for s in self.segments if s.marker in _FRAMES and len(s.body) > 5), 0
        )

    def with_segments(self, segments: Iterable[Segment]) -> bytes:
        """The file with other segments, and with nothing behind the picture."""
        return b"".join((SOI, *map(bytes, segments), self.scans))


def _segments(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of what follows a marker's length; the start is -1 where the file ends too early."""
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            yield marker, at, at
            return
        length = int.from_bytes(data[at : at + 2], "big")
        end = at + length
        is_whole = length >= 2 and end <= len(data)
        yield marker, at + 2 if is_whole else -1, end
        if not is_whole:
            return
        at = end
    yield 0, -1, at
