"""Static HDR10 metadata: its payloads, and putting them into HEVC and AV1 packets.

The same two facts stand in four shapes. HEVC SEI messages 137 and 144 (H.265 D.2.28, D.2.35) and the MP4 boxes ``mdcv``
and ``clli`` share one payload; AV1 metadata OBUs (AV1 5.8.3, 5.8.4) have another order and units; Matroska has floats.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

Volume = Literal["bt2020", "p3"]
Point = tuple[float, float]

PRIMARIES: dict[str, tuple[Point, Point, Point]] = {  # CIE 1931 x, y of red, green, blue
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020-2 table 4
    "p3": (
        (0.680, 0.320),
        (0.265, 0.690),
        (0.150, 0.060),
    ),  # SMPTE RP 431-2, with D65: SMPTE EG 432-1
}
D65: Point = (0.3127, 0.3290)

_SEI_T35 = 4
SEI_MASTERING, SEI_LIGHT = 137, 144  # H.265 D.2.1
_OBU_T35 = 4
OBU_LIGHT, OBU_MASTERING = 1, 2  # AV1 6.7.1, metadata_type
_SEI_PREFIX, _SEI_SUFFIX = 39, 40  # H.265 table 7-1
_PARAMETER_SETS = (32, 33, 34)  # VPS, SPS, PPS
_OBU_FRAMES = {3, 6}  # frame headers, alone or with their frame
_OBU_SEQUENCE_HEADER, _OBU_METADATA = 1, 5  # AV1 6.2.2


@dataclass(frozen=True, slots=True)
class Mastering:
    """The mastering display colour volume (SMPTE ST 2086): primaries with D65 white, and luminances in nits."""

    volume: Volume
    max_nits: float
    min_nits: float = 0.0001

    def __post_init__(self) -> None:
        if self.volume not in PRIMARIES:
            raise ValueError(f"unknown mastering volume {self.volume!r}")
        if not 0.0001 <= self.min_nits < self.max_nits <= 10000:
            raise ValueError(
                f"mastering luminances {self.min_nits}..{self.max_nits} are not within 0.0001..10000 nits"
            )

    def payload(self) -> bytes:
        """24 bytes: SEI 137 and the ``mdcv`` box; G, B, R order, steps of 0.00002 and of 0.0001 nits."""
        red, green, blue = PRIMARIES[self.volume]
        points = (v for point in (green, blue, red, D65) for v in point)
        return struct.pack(
            ">8H2I",
            *(round(v * 50000) for v in points),
            round(self.max_nits * 1e4),
            round(self.min_nits * 1e4),
        )

    def av1_payload(self) -> bytes:
        """24 bytes: ``metadata_hdr_mdcv``; R, G, B order, 0.16 fixed point, luminances 24.8 and 18.14."""
        points = (v for point in (*PRIMARIES[self.volume], D65) for v in point)
        nits = round(self.max_nits * 256), round(self.min_nits * 16384)
        return struct.pack(">8H2I", *(round(v * 65536) for v in points), *nits)


@dataclass(frozen=True, slots=True)
class ContentLight:
    """MaxCLL and MaxFALL in whole nits (CTA-861.3); 0 means unknown."""

    max_cll: int
    max_fall: int

    def __post_init__(self) -> None:
        if not (0 <= self.max_fall <= 65535 and 0 <= self.max_cll <= 65535):
            raise ValueError(f"content light {self.max_cll}, {self.max_fall} does not fit 16 bits")

    def payload(self) -> bytes:
        """4 bytes: SEI 144, the ``clli`` box and AV1's ``metadata_hdr_cll`` alike."""
        return struct.pack(">HH", self.max_cll, self.max_fall)


@dataclass(frozen=True, slots=True)
class ContainerHdr:
    """Colour facts that a container holds beside the bitstream; None where there are none.

    ``colour``: (primaries, transfer, matrix, whether full range) as numbers of H.273; ``mastering`` and ``light``: in the
    shape of the boxes ``mdcv`` and ``clli``; ``siting``: Matroska's horizontal and vertical chroma siting (1, 1: top left);
    ``bits`` per channel: Matroska. ``dolby``: the configuration record of Dolby Vision (:mod:`sdr2hdr.media.dovi`).
    """

    colour: tuple[int, int, int, bool] | None = None
    mastering: bytes | None = None
    light: bytes | None = None
    siting: tuple[int, int] | None = None
    bits: int | None = None
    dolby: bytes | None = None


def describe_mastering(payload: bytes) -> dict[str, float | list[float]]:
    """What an SEI 137 or ``mdcv`` payload of 24 bytes says: x, y of the primaries and white, and nits."""
    v = struct.unpack(">8H2I", payload)
    xy = [x / 50000 for x in v[:8]]
    return {
        "red": xy[4:6],
        "green": xy[0:2],
        "blue": xy[2:4],
        "white": xy[6:8],
        "max_nits": v[8] / 1e4,
        "min_nits": v[9] / 1e4,
    }


def describe_av1_mastering(payload: bytes) -> dict[str, float | list[float]]:
    """What an AV1 ``metadata_hdr_mdcv`` payload says, as ``describe_mastering`` does."""
    v = struct.unpack(">8H2I", payload[:24])
    xy = [round(x / 65536, 5) for x in v[:8]]
    return {
        "red": xy[0:2],
        "green": xy[2:4],
        "blue": xy[4:6],
        "white": xy[6:8],
        "max_nits": v[8] / 256,
        "min_nits": v[9] / 16384,
    }


def describe_light(payload: bytes) -> dict[str, int]:
    """What a content light payload of 4 bytes says."""
    max_cll, max_fall = struct.unpack(">HH", payload[:4])
    return {"max_cll": max_cll, "max_fall": max_fall}


# HEVC


def split_annexb(data: bytes) -> list[bytes]:
    """The NAL units of a byte stream (H.265 annex B), without start codes and trailing zeros."""
    starts = []
    at = data.find(b"\0\0\1")
    while at >= 0:
        starts.append(at)
        at = data.find(b"\0\0\1", at + 3)
    ends = [*starts[1:], len(data)]
    # A NAL unit never ends in a zero byte (7.4.2), so zeros before a start code belong to no NAL unit.
    nals = (data[a + 3 : b].rstrip(b"\0") for a, b in zip(starts, ends, strict=False))
    return [nal for nal in nals if nal]


def split_sized(data: bytes, size: int) -> list[bytes]:
    """The NAL units of an MP4 or Matroska sample, each after its length in ``size`` bytes."""
    nals, at = [], 0
    while at + size <= len(data):
        n = int.from_bytes(data[at : at + size], "big")
        nals.append(data[at + size : at + size + n])
        at += size + n
    return [nal for nal in nals if nal]


def nal_splitter(extradata: bytes) -> Callable[[bytes], list[bytes]]:
    """How to split the packets of an HEVC stream with these extra data into NAL units."""
    if len(extradata) > 22 and extradata[0] == 1:  # hvcC (ISO/IEC 14496-15 8.3.3.1)
        return partial(split_sized, size=(extradata[21] & 3) + 1)
    return split_annexb


def join_sized(nals: Iterable[bytes]) -> bytes:
    """NAL units, each after its length in 4 bytes."""
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def nal_type(nal: bytes) -> int:
    """``nal_unit_type`` (H.265 7.3.1.2)."""
    return nal[0] >> 1 & 63


def is_irap(nals: Iterable[bytes]) -> bool:
    """Whether an access unit is an intra random access point (NAL unit types 16 to 23)."""
    return any(16 <= nal_type(nal) <= 23 for nal in nals)


def parameter_sets(nals: Iterable[bytes]) -> tuple[bytes, ...]:
    """The VPS, SPS and PPS NAL units among ``nals``."""
    return tuple(nal for nal in nals if nal_type(nal) in _PARAMETER_SETS)


def escape(rbsp: bytes) -> bytes:
    """Adds the emulation prevention bytes (H.265 7.4.2)."""
    out = bytearray()
    zeros = 0
    for byte in rbsp:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def unescape(nal: bytes) -> bytes:
    """Takes the emulation prevention bytes out again."""
    out = bytearray()
    zeros = 0
    for byte in nal:
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def sei_messages(nal: bytes) -> list[tuple[int, bytes]]:
    """(payload type, payload) of each whole message in an SEI NAL unit; a damaged tail is left out."""
    data = unescape(nal)[2:]
    messages: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data) - 1:  # the last byte is rbsp_trailing_bits
        numbers = []
        for _ in range(2):
            value = 0
            while at < len(data) and data[at] == 255:
                value += 255
                at += 1
            if at >= len(data):
                return messages
            numbers.append(value + data[at])
            at += 1
        if at + numbers[1] > len(data):
            return messages
        messages.append((numbers[0], data[at : at + numbers[1]]))
        at += numbers[1]
    return messages


def sei_nal(messages: Iterable[tuple[int, bytes]]) -> bytes:
    """A prefix SEI NAL unit of these messages."""
    body = bytearray()
    for kind, payload in messages:
        for number in (kind, len(payload)):
            body += b"\xff" * (number // 255) + bytes([number % 255])
        body += payload
    body.append(0x80)
    return bytes([_SEI_PREFIX << 1, 1]) + escape(bytes(body))


def hevc_metadata(nals: Iterable[bytes]) -> dict[int, bytes]:
    """The payloads of SEI 137 and 144 in an access unit, by type."""
    messages = (m for nal in nals if nal_type(nal) == _SEI_PREFIX for m in sei_messages(nal))
    return {kind: payload for kind, payload in messages if kind in (SEI_MASTERING, SEI_LIGHT)}


def edit_hevc(
    nals: Sequence[bytes],
    mastering: Mastering | None,
    light: ContentLight | None,
    *,
    keep_sets: bool,
) -> list[bytes]:
    """An access unit with the true metadata if it is an IRAP, and without any other; without metadata it is SDR.

    Each message has its own NAL unit before the first slice. ``keep_sets=False`` also takes the parameter sets out,
    which the sample entry ``hvc1`` demands (ISO/IEC 14496-15 8.4.1.1.1).
    """
    new: list[bytes] = []
    if is_irap(nals) and mastering and light:
        new = [
            sei_nal([(SEI_MASTERING, mastering.payload())]),
            sei_nal([(SEI_LIGHT, light.payload())]),
        ]
    out: list[bytes] = []
    for nal in nals:
        kind = nal_type(nal)
        if kind in _PARAMETER_SETS and not keep_sets:
            continue
        if kind < 32 and new:
            out += new
            new = []
        if kind == _SEI_PREFIX:
            messages = sei_messages(nal)
            kept = [m for m in messages if m[0] not in (SEI_MASTERING, SEI_LIGHT)]
            if len(kept) < len(messages):
                if kept:
                    out.append(sei_nal(kept))
                continue
        out.append(nal)
    return out


def hevc_t35(nals: Iterable[bytes]) -> list[bytes]:
    """The ITU-T T.35 messages of an access unit, each with its country code."""
    messages = (m for nal in nals if nal_type(nal) == _SEI_PREFIX for m in sei_messages(nal))
    return [payload for kind, payload in messages if kind == _SEI_T35]


def with_t35(nals: list[bytes], message: bytes) -> list[bytes]:
    """An access unit with an ITU-T T.35 message (H.265 D.2.6) before its first slice."""
    first = next((i for i, nal in enumerate(nals) if nal_type(nal) < 32), len(nals))
    return [*nals[:first], sei_nal([(_SEI_T35, message)]), *nals[first:]]


def clean_hvcc(record: bytes, *, complete: bool) -> bytes:
    """``hvcC`` (ISO/IEC 14496-15 8.3.3.1) without SEI arrays, which would hold stale figures.

    ``complete`` says whether all parameter sets are here and none in the samples (``array_completeness``).
    """
    arrays = []
    at = 23
    for _ in range(record[22]):
        start = at
        kind = record[at] & 63
        count = int.from_bytes(record[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            at += 2 + int.from_bytes(record[at : at + 2], "big")
        if kind not in (_SEI_PREFIX, _SEI_SUFFIX):
            arrays.append(bytes([complete << 7 | kind]) + record[start + 1 : at])
    return record[:22] + bytes([len(arrays)]) + b"".join(arrays)


# AV1


def _leb128(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(out)


def split_obus(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(type, the whole OBU, its payload) of each OBU in a temporal unit; a damaged tail is left out."""
    at = 0
    while at < len(data):
        header = data[at]
        start = at + 1 + (header >> 2 & 1)  # obu_extension_flag
        size = len(data) - start
        if header & 2:  # obu_has_size_field
            size = shift = 0
            more = True
            while more:
                if start >= len(data) or shift > 49:
                    return
                size |= (data[start] & 127) << shift
                more = data[start] > 127
                shift += 7
                start += 1
        if size < 0 or start + size > len(data):
            return
        yield header >> 3 & 15, data[at : start + size], data[start : start + size]
        at = start + size


def _metadata_obu(kind: int, payload: bytes) -> bytes:
    body = _leb128(kind) + payload + b"\x80"  # trailing_bits (AV1 5.3.4)
    return bytes([_OBU_METADATA << 3 | 2]) + _leb128(len(body)) + body


def sequence_headers(unit: bytes) -> tuple[bytes, ...]:
    """The sequence header OBUs of a temporal unit; only one that starts at a key frame has any."""
    return tuple(whole for kind, whole, _ in split_obus(unit) if kind == _OBU_SEQUENCE_HEADER)


def av1_metadata(unit: bytes) -> dict[int, bytes]:
    """The payloads of the static metadata OBUs in a temporal unit, by metadata type."""
    found = {}
    for kind, _, payload in split_obus(unit):
        if kind == _OBU_METADATA and payload[:1] in (b"\1", b"\2"):
            found[payload[0]] = payload[1 : 5 if payload[0] == OBU_LIGHT else 25]
    return found


def edit_av1(unit: bytes, mastering: Mastering | None, light: ContentLight | None) -> bytes:
    """A temporal unit with the true metadata after its sequence header, if it has one, and without any other."""
    new: list[bytes] = []
    if mastering and light:
        new = [
            _metadata_obu(OBU_LIGHT, light.payload()),
            _metadata_obu(OBU_MASTERING, mastering.av1_payload()),
        ]
    out: list[bytes] = []
    for kind, whole, payload in split_obus(unit):
        if kind == _OBU_METADATA and payload[:1] in (b"\1", b"\2"):
            continue
        out.append(whole)
        if kind == _OBU_SEQUENCE_HEADER:
            out += new
            new = []
    return b"".join(out)


def av1_t35(unit: bytes) -> list[bytes]:
    """The ITU-T T.35 messages of a temporal unit, each with its country code."""
    start = bytes([_OBU_T35])
    found = (body for kind, _, body in split_obus(unit) if kind == _OBU_METADATA)
    return [body[1:].rstrip(b"\0")[:-1] for body in found if body.startswith(start)]


def av1_with_t35(unit: bytes, message: bytes) -> bytes:
    """A temporal unit with an ITU-T T.35 message (AV1 5.8.2) before the frame that it shows, which is its last one."""
    obus = list(split_obus(unit))
    shown = max((i for i, (kind, _, _) in enumerate(obus) if kind in _OBU_FRAMES), default=0)
    wholes = [whole for _, whole, _ in obus]
    return b"".join([*wholes[:shown], _metadata_obu(_OBU_T35, message), *wholes[shown:]])


def clean_av1c(record: bytes) -> bytes:
    """``av1C`` (AV1 in ISOBMFF 2.3.3) without metadata OBUs, which would hold stale figures."""
    return record[:4] + b"".join(
        whole for kind, whole, _ in split_obus(record[4:]) if kind != _OBU_METADATA
    )
