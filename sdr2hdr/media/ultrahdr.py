"""Ultra HDR: a JPEG that every viewer shows, with a gain map behind it that makes it HDR.

Sources: Ultra HDR image format 1.1 (Android), ISO 21496-1:2025 annex C (binary metadata, and its segments in JPEG), Adobe Gain
Map 1.0 (``hdrgm``), Google's GContainer (the directory of pictures), CIPA DC-007 (multi-picture format), XMP part 1 and 3.
"""

import io
import re
import struct
from collections.abc import Sequence
from fractions import Fraction

from PIL import Image, MpoImagePlugin

from sdr2hdr.color.gainmap import OFFSET, STEPS, GainMap
from sdr2hdr.errors import OutputError
from sdr2hdr.media.jpeg import APP1, APP2, EXIF, SOI, Jpeg, Segment

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ISO = b"urn:iso:std:iso:ts:21496-1\0"
_MPF = b"MPF\0"
_ICC = b"ICC_PROFILE\0"
_HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
_VERSIONS = struct.pack(">HH", 0, 0)  # the least to read it with, and the writer's
_BASE_COLOURS = 0x40  # the map applies to the primaries of the base
_CLOSING = re.compile(rb"</rdf:RDF\s*>")
_ABOUT = re.compile(rb'rdf:about\s*=\s*("[^"<]*"|\'[^\'<]*\')')
_MP_PRIMARY = 0x030000  # DC-007 5.2.3.3: baseline MP primary image
_MP_HEAD = 8 + 2 + 3 * 12 + 4  # byte order and offset, the index IFD of three entries


def ultra_hdr(base: Jpeg, gains: GainMap, quality: int = 95) -> tuple[bytes, tuple[str, ...]]:
    """An Ultra HDR file over ``base``, whose samples stay as they are, and sentences on what of it was left out.

    The map has the size of the base, as it is stored.
    """
    colours = gains.samples[:1] if base.components == 1 else gains.samples
    buffer = io.BytesIO()
    picture = colours.permute(1, 2, 0).squeeze(-1).contiguous().numpy()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    about = [
        Segment(APP1, _XMP + _packet(_gains_in_words(gains))),
        Segment(APP2, _ISO + _gains_in_bytes(gains)),
    ]
    secondary = SOI + b"".join(map(bytes, about)) + buffer.getvalue()[len(SOI) :]
    # what it says of other pictures in its file is no longer true
    kept = [s for s in base.segments if not (s.marker == APP2 and s.body.startswith((_MPF, _ISO)))]
    segments, notes = _with_directory(kept, len(secondary))
    return _with_index(base, segments, len(secondary)) + secondary, notes


def check_ultra_hdr(data: bytes, base: Jpeg) -> None:
    """Raise OutputError unless a reader of multi-picture files finds the base and a map of its size."""
    try:
        # Image.open takes Ultra HDR files for ordinary JPEGs
        with MpoImagePlugin.MpoImageFile(io.BytesIO(data)) as file:
            pictures = []
            for number in range(file.n_frames):
                file.seek(number)
                file.load()
                pictures.append(file.size)
    except (OSError, ValueError, SyntaxError) as e:
        raise OutputError(f"The Ultra HDR file does not read back ({e}); write .avif.") from e
    if len(pictures) != 2 or pictures[0] != pictures[1] or base.scans not in data:
        raise OutputError("The Ultra HDR file does not read back as it was made; write .avif.")


def profile_of(base: Jpeg) -> bytes:
    """The colour profile of a JPEG; empty without one."""
    parts = sorted(
        (s.body[len(_ICC)], s.body[len(_ICC) + 2 :])
        for s in base.segments
        if s.marker == APP2 and s.body.startswith(_ICC) and len(s.body) > len(_ICC) + 2
    )
    return b"".join(part for _, part in parts)


def _gains_in_words(gains: GainMap) -> str:
    """The attributes of a gain map (Adobe Gain Map 1.0)."""
    values = {
        "Version": "1.0",
        "BaseRenditionIsHDR": "False",
        "GainMapMin": f"{gains.low:.6f}",
        "GainMapMax": f"{gains.high:.6f}",
        "Gamma": "1.0",
        "OffsetSDR": f"{OFFSET:.6f}",
        "OffsetHDR": f"{OFFSET:.6f}",
        "HDRCapacityMin": "0.0",
        "HDRCapacityMax": f"{gains.headroom:.6f}",
    }
    words = " ".join(f'hdrgm:{name}="{value}"' for name, value in values.items())
    return f'<rdf:Description rdf:about="" xmlns:hdrgm="{_HDRGM}" {words}/>'


def _gains_in_bytes(gains: GainMap) -> bytes:
    """The same in the binary form of ISO 21496-1: one set of values for all channels."""
    headrooms, values = (0.0, gains.headroom), (gains.low, gains.high, 1.0, OFFSET, OFFSET)
    numbers = (round(Fraction(value) * STEPS) for value in (*headrooms, *values))
    kinds = "IIiiIii"
    packed = b"".join(
        struct.pack(f">{kind}I", number, STEPS) for kind, number in zip(kinds, numbers, strict=True)
    )
    return _VERSIONS + bytes([_BASE_COLOURS]) + packed


def _directory(about: str, length: int) -> str:
    """What the base says: that it has a gain map, and of how many bytes."""
    items = (
        'Item:Semantic="Primary" Item:Mime="image/jpeg"',
        f'Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="{length}"',
    )
    listed = "".join(
        f'<rdf:li rdf:parseType="Resource"><Container:Item {item}/></rdf:li>' for item in items
    )
    return (
        f'<rdf:Description rdf:about={about} xmlns:Container="http://ns.google.com/photos/1.0/container/"'
        f' xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:hdrgm="{_HDRGM}" hdrgm:Version="1.0">'
        f"<Container:Directory><rdf:Seq>{listed}</rdf:Seq></Container:Directory></rdf:Description>"
    )


def _packet(description: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"{description}</rdf:RDF></x:xmpmeta>"
    ).encode()


def _with_directory(
    segments: Sequence[Segment], length: int
) -> tuple[list[Segment], tuple[str, ...]]:
    """The segments with the directory in their XMP packet: in the packet that is there, if there is one."""
    out, notes = list(segments), list[str]()
    place = next((i for i, s in enumerate(out) if _is_xmp(s)), None)
    if place is not None:
        packet = out[place].body[len(_XMP) :]
        ends = list(_CLOSING.finditer(packet))
        about = _ABOUT.search(packet)
        told = _directory(about[1].decode("latin-1") if about else '""', length).encode("latin-1")
        if ends and b"Container:" not in packet and b"hdrgm:" not in packet:
            at = ends[-1].start()
            packet = packet[:at] + told + packet[at:]
            if len(_XMP) + len(packet) < 1 << 16:
                out[place] = Segment(APP1, _XMP + packet)
                return out, ()
        notes.append("the XMP of the source was left out: it has no room for that of a gain map")
        del out[place]
    after = max((i + 1 for i, s in enumerate(out) if _is_first(s)), default=0)
    out.insert(after, Segment(APP1, _XMP + _packet(_directory('""', length))))
    return out, tuple(notes)


def _is_xmp(segment: Segment) -> bool:
    return segment.marker == APP1 and segment.body.startswith(_XMP)


def _is_first(segment: Segment) -> bool:
    """Whether a segment comes before all others: JFIF's and Exif's."""
    return segment.body.startswith((b"JFIF\0", EXIF)) and segment.is_about


def _with_index(base: Jpeg, segments: Sequence[Segment], length: int) -> bytes:
    """The base with its index of pictures, of which the second has ``length`` bytes and follows at once."""
    at = next((i for i, s in enumerate(segments) if not s.is_about), len(segments))
    before = [*segments[:at], Segment(APP2, _ISO + _VERSIONS)]
    start = len(SOI) + sum(len(bytes(s)) for s in before) + 4 + len(_MPF)  # of the index itself
    body = len(_MPF) + _MP_HEAD + 2 * 16
    size = len(base.with_segments([*before, Segment(APP2, bytes(body)), *segments[at:]]))
    entries = struct.pack(">IIIHH", _MP_PRIMARY, size, 0, 0, 0)
    entries += struct.pack(">IIIHH", 0, length, size - start, 0, 0)
    index = struct.pack(
        ">2sHIHHHI4sHHIIHHIII",
        *(b"MM", 42, 8, 3),
        *(0xB000, 7, 4, b"0100"),  # the version
        *(0xB001, 4, 1, 2),  # the number of pictures
        *(0xB002, 7, len(entries), _MP_HEAD),  # where the entries are
        0,
    )
    return base.with_segments([*before, Segment(APP2, _MPF + index + entries), *segments[at:]])
