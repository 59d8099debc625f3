"""EBML, the bytes that Matroska is made of (RFC 8794). Identifiers are kept with their length
marker."""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

Elements = dict[int, bytes]
VOID, CRC32 = 0xEC, 0xBF


def variable(file: BinaryIO, *, keep_marker: bool) -> int:
    """An EBML variable-size integer; -1 for an unknown size (all ones), EOFError at the end."""
    first = file.read(1)
    if not first or not first[0]:
        raise EOFError
    length = 9 - first[0].bit_length()
    raw = first + file.read(length - 1)
    value = int.from_bytes(raw, "big")
    if keep_marker:
        return value
    value &= (1 << 7 * length) - 1
    return -1 if value == (1 << 7 * length) - 1 else value


def elements(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """(identifier, size) of the elements up to ``end``, the file being at the start of the body of
    each."""
    at = file.tell()
    while at < end:
        file.seek(at)
        try:
            name, size = variable(file, keep_marker=True), variable(file, keep_marker=False)
        except EOFError:
            return
        body = file.tell()
        if size < 0:
            size = end - body
        yield name, size
        at = body + size


def each(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of a body in order, with their own bodies."""
    file = io.BytesIO(body)
    for name, size in elements(file, len(body)):
        yield name, file.read(size)


def children(body: bytes) -> Elements:
    """The elements of a body by name; of several with one name the last."""
    return dict(each(body))


def element(name: int, body: bytes, size_length: int = 0) -> bytes:
    """An element as bytes, its size in ``size_length`` bytes or as few as will do."""
    length = size_length or next(n for n in range(1, 9) if len(body) < (1 << 7 * n) - 1)
    size = (len(body) | 1 << 7 * length).to_bytes(length, "big")
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + size + body


def whole(value: int) -> bytes:
    """The body of an unsigned integer."""
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def number(body: bytes) -> int:
    """What the body of an unsigned integer says; 0 for an empty one."""
    return int.from_bytes(body, "big")


def real(body: bytes) -> float:
    """What the body of a float says, which has 4 or 8 bytes; 0 for an empty one."""
    return float(struct.unpack(">f" if len(body) == 4 else ">d", body)[0]) if body else 0.0


def text(body: bytes) -> str:
    """What the body of a string says, which may end in zeros."""
    return body.split(b"\0")[0].decode("utf-8", "replace")


def filler(length: int) -> bytes:
    """A Void element of the given number of bytes, at least two."""
    size_length = 1 if length - 2 < 127 else 8
    return element(VOID, bytes(length - 1 - size_length), size_length)
