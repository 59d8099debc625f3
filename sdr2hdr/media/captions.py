"""Closed captions that lie in the picture (CEA-608 and 708): read from the source's packets, put into those written.

Source: ATSC A/53 part 4 6.2.3.1 (``cc_data`` in MPEG-2 user data), ANSI/SCTE 128-1 8.1 (in SEI messages of H.264 and H.265),
CTA-861 and the AV1 specification 5.8.2 (in metadata of ITU-T T.35).
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import av
from av.container import InputContainer

from sdr2hdr.media.clock import Clock
from sdr2hdr.media.hdr10 import unescape

_IDENTIFIER = b"GA94\x03"  # ATSC_identifier, and the user_data_type_code of cc_data
_T35 = b"\xb5\x00\x31" + _IDENTIFIER  # United States, and the provider ATSC
_USER_DATA = b"\x00\x00\x01\xb2" + _IDENTIFIER
_MARKERS = {"h264": _T35, "hevc": _T35, "mpeg2video": _USER_DATA, "mpeg1video": _USER_DATA}
"""What captions begin with in a packet, by the codec of the picture."""
_MOST = 31  # triplets that one picture can have
_VALID = 0xC0  # the two leading flags: cc_data is there


def captions_of(file: InputContainer, picture: int, clock: Clock) -> dict[int, bytes]:
    """The triplets of captions by the time of their picture, moved as the clock moves it, in the stream's time base.

    Reads the whole file, because captions may begin anywhere; what cannot be read ends it.
    """
    stream = file.streams[picture]
    codec = stream.codec_context.codec.canonical_name
    if codec not in _MARKERS:
        return {}
    marker, escaped = _MARKERS[codec], _MARKERS[codec] == _T35
    found: dict[int, bytes] = {}
    last: int | None = None
    try:
        for packet in clock.demuxed(file, stream, [stream]):
            last = packet.pts if packet.pts is not None else last  # a second field has no time
            if last is None:
                continue
            if triplets := _triplets(bytes(packet), marker, escaped=escaped):
                found[last] = found.get(last, b"") + triplets
    except (av.FFmpegError, OSError):
        pass
    return found


def _triplets(data: bytes, marker: bytes, *, escaped: bool) -> bytes:
    """The triplets of all captions in a packet."""
    out, at = b"", data.find(marker)
    while at >= 0:
        begin = at + len(marker)
        body = data[begin : begin + 2 * (2 + 3 * _MOST)]
        if escaped:
            body = unescape(body)
        if body and body[0] & 0x40:  # process_cc_data_flag
            out += body[2 : 2 + 3 * (body[0] & _MOST)]
        at = data.find(marker, begin)
    return out[: len(out) // 3 * 3]


def placed(found: Mapping[int, bytes], times: Sequence[int]) -> dict[int, bytes]:
    """Captions for pictures at these rising times: those of a picture that is not there come with the one before it.

    No picture gets more than 31 triplets; what is too much goes to the next one.
    """
    waiting: dict[int, bytes] = {}
    for time, triplets in sorted(found.items()):
        place = max(0, bisect_right(times, time) - 1)
        waiting[place] = waiting.get(place, b"") + triplets
    out: dict[int, bytes] = {}
    rest = b""
    for place, time in enumerate(times):
        rest += waiting.get(place, b"")
        if rest:
            out[time], rest = rest[: 3 * _MOST], rest[3 * _MOST :]
    return out


def t35(triplets: bytes) -> bytes:
    """The ITU-T T.35 message of the captions of a picture, its country code first."""
    return _T35 + bytes([_VALID | len(triplets) // 3, 0xFF]) + triplets + b"\xff"
