"""Files that were joined byte by byte, of which FFmpeg reads the first alone: where the next one begins.

Transport and program streams, AVI and two Matroska files joined so are read whole, and ``clock`` puts their times right.
"""

import mmap
import re
from functools import cache
from pathlib import Path
from typing import BinaryIO

_HEADERS = {
    # E.2 of Adobe's video file format 10.1: signature, version, flags, length of the header, size of the tag before
    "flv": re.compile(rb"FLV\x01[\x00\x01\x04\x05]\x00\x00\x00\x09\x00\x00\x00\x00", re.DOTALL),
    # GUID of the Header Object: 3.1 of the ASF specification 01.20.03
    "asf": re.compile(
        re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")) + rb".{12}\x01\x02", re.DOTALL
    ),
    "wtv": re.compile(
        re.escape(bytes.fromhex("b7d800203749da11a64e0007e95ead8d8cc3d2c27e9ada118bf70007e95ead8d"))
    ),
}
_BOX = 8  # bytes of a box's size and name


def second_beginning(path: Path, container: str) -> int | None:
    """The byte at which another file begins that is not read; None if the file is one. ``container``: FFmpeg's name.

    FLV, ASF and WTV are searched to their end for it, once as long as they do not change.
    """
    name = container.split(",", maxsplit=1)[0]
    if name not in _HEADERS and name != "mov":
        return None
    status = path.stat()
    return _found(path, name, status.st_size, status.st_mtime_ns)


@cache
def _found(path: Path, name: str, size: int, _changed_ns: int) -> int | None:
    with path.open("rb") as file:
        if name == "mov":
            return _second_movie(file, size)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            later = _HEADERS[name].search(data, 1)
            return later.start() if later else None


def _second_movie(file: BinaryIO, size: int) -> int | None:
    """Where the boxes of a second movie begin (ISO/IEC 14496-12 4.2 and 8.2.1: a file has one ``moov``)."""
    at = movies = 0
    begins: int | None = None
    while at + _BOX <= size:
        file.seek(at)
        head = file.read(2 * _BOX)
        length, name = int.from_bytes(head[:4], "big"), head[4:_BOX]
        if length == 1:
            length = int.from_bytes(head[_BOX:], "big")
        if name == b"ftyp" and at:
            begins = at
        movies += name == b"moov"
        if movies > 1:
            return at if begins is None else begins
        if length < _BOX:
            return None
        at += length
    return None
