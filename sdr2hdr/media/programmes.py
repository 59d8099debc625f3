"""The programmes of a transport stream: which streams belong together (ISO/IEC 13818-1 2.4.4).

A recording of a whole multiplex holds several, each with a clock of its own. PyAV does not show them.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.stream import Stream

_PACKET = 188  # bytes
_SPACINGS = (188, 192, 204)  # bytes from packet to packet: as sent, on Blu-ray, with check bytes
_SYNC = 0x47
_LIMIT = 16 << 20  # bytes; tables come at least every half second (ETSI TR 101 290 5.2.1)


def of_other_programmes(container: InputContainer, path: Path, picture: Stream) -> dict[int, int]:
    """The streams, by index, that only other programmes than the ``picture``'s have, each with its programme's number.

    Streams that no programme names are not among them. Empty for files that are no transport streams. Raises OSError.
    """
    if container.format.name != "mpegts":
        return {}
    status = path.stat()
    programmes = _programmes(path, status.st_size, status.st_mtime_ns)
    own = {pid for pids in programmes.values() if picture.id in pids for pid in pids}
    number_of = {pid: number for number, pids in programmes.items() for pid in pids}
    return {
        stream.index: number_of[stream.id]
        for stream in container.streams
        if own and stream.id in number_of and stream.id not in own
    }


@cache
def _programmes(path: Path, _size: int, _changed_ns: int) -> dict[int, frozenset[int]]:
    """The packet identifiers of each programme's streams, by its number. A file that did not change is read once."""
    with path.open("rb") as file:
        packets = _packets(file.read(_LIMIT))
    programmes: dict[int, frozenset[int]] = {}
    for table in _tables(packets, 0, kind=0):
        for at in range(8, len(table) - 4, 4):  # the checksum has the last four bytes
            number, place = int.from_bytes(table[at : at + 2]), _identifier(table, at + 2)
            for streams in _tables(packets, place, kind=2) if number else ():
                if int.from_bytes(streams[3:5]) == number:
                    programmes[number] = programmes.get(number, frozenset()) | _streams(streams)
    return programmes


def _streams(table: bytes) -> frozenset[int]:
    """The packet identifiers in a programme's table of streams."""
    found = set()
    at = 12 + _length(table, 10)
    while at + 5 <= len(table) - 4:
        found.add(_identifier(table, at + 1))
        at += 5 + _length(table, at + 3)
    return frozenset(found)


def _tables(packets: np.ndarray, pid: int, kind: int) -> Iterator[bytes]:
    """The different sections of a kind in the packets of an identifier, in force and undamaged."""
    rows = packets[(packets[:, 1] & 0x1F == pid >> 8) & (packets[:, 2] == pid & 0xFF)]
    for section in dict.fromkeys(_sections(rows)):
        if section[0] == kind and len(section) >= 12 and section[5] & 1 and not _checksum(section):
            yield section


def _sections(rows: np.ndarray) -> Iterator[bytes]:
    """The sections in packets of one identifier (2.4.4.1)."""
    held: bytearray | None = None  # None before the first section begins
    for row in rows:
        packet = row.tobytes()
        begin = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        payload = packet[begin:] if packet[3] & 0x10 else b""
        if payload and packet[1] & 0x40:  # a section begins in it
            rest, payload = payload[1 : 1 + payload[0]], payload[1 + payload[0] :]
            if held is not None:
                yield from _complete(held + rest)
            held = bytearray()
        if held is not None:
            held += payload
            for section in _complete(held):
                yield section
                del held[: len(section)]


def _complete(held: bytearray) -> list[bytes]:
    """The whole sections at the beginning of what has come."""
    found = []
    at = 0
    while len(held) - at >= 3 and held[at] != 0xFF:  # which fills the rest of a packet
        end = at + 3 + _length(held, at + 1)
        if end > len(held):
            break
        found.append(bytes(held[at:end]))
        at = end
    return found


def _packets(data: bytes) -> np.ndarray:
    """The transport packets at the beginning of a file: (n, 188), uint8."""
    codes = np.frombuffer(data, np.uint8)
    best = np.zeros((0, _PACKET), np.uint8)
    for spacing in _SPACINGS:
        for begin in np.flatnonzero(codes[:spacing] == _SYNC):
            count = (len(codes) - begin) // spacing
            rows = codes[begin : begin + count * spacing].reshape(count, spacing)[:, :_PACKET]
            rows = rows[rows[:, 0] == _SYNC]
            best = rows if len(rows) > len(best) else best
    return best


def _identifier(table: bytes, at: int) -> int:
    return int.from_bytes(table[at : at + 2]) & 0x1FFF


def _length(table: bytes | bytearray, at: int) -> int:
    return int.from_bytes(table[at : at + 2]) & 0x0FFF


def _checksum(section: bytes) -> int:
    """The CRC over a section and its own CRC, 0 if it is undamaged (annex A)."""
    crc = 0xFFFF_FFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x1_04C1_1DB7 if crc & 0x8000_0000 else 0)
    return crc
