"""Dolby Vision 8.1: the record of it in a container, and its metadata in the packets of HEVC.

Sources: Dolby Vision streams within the ISO base media file format 2.2 (the record ``dvvC`` and its levels), Dolby Vision
streams within the HTTP Live Streaming format (its NAL units), Matroska's codec mappings (the same record as a block
addition mapping).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Self

from sdr2hdr.media.hdr10 import nal_type, split_annexb

PROFILE, COMPATIBLE = 8, 1
"""Profile 8 over a picture that is HDR10 for itself: 8.1."""

_NAL = 62
_HEADER = bytes([_NAL << 1, 1])
_PREFIX = 0x19  # rpu_type 2 and rpu_format: how the metadata of a picture begin
_END = (36, 37)  # end of sequence, end of bitstream
_RECORD_BYTES = 24
_LEVELS = (
    (1280, 1280 * 720 * 24), (1280, 1280 * 720 * 30), (1920, 1920 * 1080 * 24), (2560, 1920 * 1080 * 30),
    (3840, 1920 * 1080 * 60), (3840, 3840 * 2160 * 24), (3840, 3840 * 2160 * 30), (3840, 3840 * 2160 * 48),
    (3840, 3840 * 2160 * 60), (3840, 3840 * 2160 * 120), (7680, 3840 * 2160 * 120), (7680, 7680 * 4320 * 60),
    (7680, 7680 * 4320 * 120),
)  # fmt: skip
"""The most columns, and the most pixels a second, of each level from 1 on."""


@dataclass(frozen=True, slots=True)
class DolbyRecord:
    """What the configuration record says: the profile, its level, what the stream holds, and what its picture is by itself
    (1: HDR10, 2: SDR, 4: HLG, 0: nothing of these)."""

    profile: int
    level: int
    metadata: bool
    enhancement: bool
    picture: bool
    compatible: int

    @classmethod
    def of(cls, width: int, height: int, rate: Fraction) -> Self:
        """The record of profile 8.1 for pictures of a size, in the lowest level that holds them, or the highest there is."""
        speed = width * height * rate
        fitting = (
            n for n, (most, fast) in enumerate(_LEVELS, 1) if width <= most and speed <= fast
        )
        return cls(PROFILE, next(fitting, len(_LEVELS)), True, False, True, COMPATIBLE)

    def payload(self) -> bytes:
        """24 bytes: the body of ``dvcC`` and ``dvvC``, and of Matroska's mapping."""
        flags = self.metadata << 2 | self.enhancement << 1 | self.picture
        bits = self.profile << 9 | self.level << 3 | flags
        return (bytes([1, 0]) + bits.to_bytes(2, "big") + bytes([self.compatible << 4])).ljust(
            _RECORD_BYTES, b"\0"
        )

    @classmethod
    def read(cls, payload: bytes) -> Self | None:
        """The inverse of :meth:`payload`; None for a record that is too short."""
        if len(payload) < 5:
            return None
        bits = int.from_bytes(payload[2:4], "big")
        metadata, enhancement, picture = (bool(bits >> n & 1) for n in (2, 1, 0))
        return cls(bits >> 9, bits >> 3 & 63, metadata, enhancement, picture, payload[4] >> 4)

    @property
    def box(self) -> bytes:
        """The name of its box: of profiles above 7 it is the second one."""
        return b"dvvC" if self.profile > 7 else b"dvcC"

    @property
    def words(self) -> str:
        """Profile and level as people write them."""
        return f"profile {self.profile}.{self.compatible}, level {self.level}"


def describe_record(payload: bytes | None) -> dict[str, Any] | None:
    """What a configuration record says; None without one."""
    record = DolbyRecord.read(payload or b"")
    return asdict(record) if record else None


def rpus_of(data: bytes) -> list[bytes]:
    """The NAL units of a file of metadata as dovi_tool writes it: one for each picture, in display order.

    Raises ValueError for anything else.
    """
    found = []
    for nal in split_annexb(data):
        body = nal.removeprefix(_HEADER)
        if body[:1] != bytes([_PREFIX]):
            raise ValueError("it holds something else than the metadata of pictures")
        found.append(_HEADER + body)
    return found


def with_rpu(nals: Sequence[bytes], rpu: bytes) -> list[bytes]:
    """An access unit with the metadata of its picture after all else."""
    end = next((i for i, nal in enumerate(nals) if nal_type(nal) in _END), len(nals))
    return [*nals[:end], rpu, *nals[end:]]


def rpu_in(nals: Sequence[bytes]) -> bytes | None:
    """The metadata in an access unit, if there are any."""
    return next((nal for nal in nals if nal_type(nal) == _NAL), None)
