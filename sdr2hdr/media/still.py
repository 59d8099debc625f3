"""One HDR picture as a file: AVIF, 10-bit PQ.

Sources: AV1 Image File Format 1.1 (an AV1 intra frame in HEIF), H.273 (colour numbers in its ``nclx`` box), ISO/IEC 23008-12
6.5 (``clli`` and ``mdcv`` among the properties of a picture), 9.3 (``ipma``) and annex A (EXIF), ISO/IEC 14496-12 8.11 (items).
"""

import io
import os
import struct
from fractions import Fraction

import av
import av.error
from av.video.stream import VideoStream
from torch import Tensor

from sdr2hdr.errors import OutputError
from sdr2hdr.media.boxes import boxes
from sdr2hdr.media.encoder import schedule_as_others
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.jpeg import EXIF

# No word on where chroma sits: Chromium (156) shows a still that says "top left" as white. Viewers then take it to sit half a
# luma sample further on, which nobody sees.
_OPTIONS = {"preset": "4", "svtav1-params": "avif=1"}
QUALITY = 4.0
"""The CRF of a still, unless another is asked for."""
_EXIF_ITEM = 2  # the picture is item 1
_PLACE = struct.Struct(">3HII")
"""An item in iloc: its number, the file that it is in, one extent, and its offset and length."""
LEAST_SIDE = 4
"""Pixels a side that SVT-AV1 encodes at least."""


def avif(
    planes: tuple[Tensor, Tensor, Tensor],
    crf: float = QUALITY,
    light: ContentLight | None = None,
    mastering: Mastering | None = None,
    exif: bytes = b"",
) -> bytes:
    """An AVIF file of one picture: Y' ``H,W``, Cb and Cr ``H/2,W/2``, uint16, as :func:`sdr2hdr.color.yuv.to_yuv` leaves them.

    It is tagged BT.2020 primaries, PQ, BT.2020 non-constant luminance, limited range (9, 16, 9 of H.273). ``light`` and
    ``mastering`` become properties of it, and it keeps ``exif``. Raises OutputError.
    """
    height, width = planes[0].shape
    os.environ.setdefault(
        "SVT_LOG", "1"
    )  # SVT-AV1 prints its settings on stderr unless it is set to print only errors
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="avif") as out:
            stream = out.add_stream("libsvtav1", rate=1, options={"crf": f"{crf:g}", **_OPTIONS})
            if not isinstance(stream, VideoStream):
                raise ValueError("no video stream")
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le"
            context = stream.codec_context
            context.color_range, context.color_primaries, context.color_trc, context.colorspace = (
                1,
                9,
                16,
                9,
            )
            frame = av.VideoFrame.from_dlpack(
                tuple(plane.contiguous() for plane in planes), format="yuv420p10le"
            )
            frame.pts, frame.time_base = 0, Fraction(1)
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError) as error:
        raise OutputError(
            f"A picture of {width}x{height} cannot be made an AVIF still ({error}); scale it, or use the wheel of av from PyPI."
        ) from error
    finally:
        schedule_as_others()
    properties = [
        (name, fact.payload())
        for name, fact in ((b"clli", light), (b"mdcv", mastering))
        if fact is not None
    ]
    return _with_facts(buffer.getvalue(), properties, exif)


def check_avif(data: bytes, width: int, height: int) -> None:
    """Raise OutputError unless an AVIF decodes to a picture of this size with the colours of HDR10."""
    try:
        with av.open(io.BytesIO(data), "r") as file:
            frame = next(file.decode(video=0))
    except (av.error.FFmpegError, StopIteration) as error:
        raise OutputError(f"The AVIF does not read back ({error}); write .jpg.") from error
    found = (frame.width, frame.height, frame.format.name)
    colours = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
    if found != (width, height, "yuv420p10le") or colours != (9, 16, 9, 1):
        raise OutputError(f"The AVIF reads back as {found} in {colours}; write .jpg.")


def _with_facts(data: bytes, properties: list[tuple[bytes, bytes]], exif: bytes) -> bytes:
    """An AVIF of one picture, as FFmpeg writes it, with more ``properties`` of the picture, each a box's name and body, and with
    EXIF data, if there are any, as a second item that describes it."""
    found = {name: place for name, *place in boxes(data, 0, len(data))}
    _, body, end = found[b"meta"]
    found |= {name: place for name, *place in boxes(data, body + 4, end)}  # after its version
    found |= {name: place for name, *place in boxes(data, *found[b"iprp"][1:])}
    known = sum(1 for _ in boxes(data, *found[b"ipco"][1:]))
    marks = bytes(range(known + 1, known + 1 + len(properties)))  # none of them essential
    more = b"".join(_box(*each) for each in properties)
    # where to insert what, and the boxes that grow by it; of two at one place, what comes later first
    pieces: list[tuple[int, bytes, tuple[bytes, ...]]] = [
        (found[b"ipma"][2], marks, (b"meta", b"iprp", b"ipma")),
        (found[b"ipco"][2], more, (b"meta", b"iprp", b"ipco")),
    ]
    moved = len(marks) + len(more)
    if exif:
        describes = _box(b"cdsc", struct.pack(">3H", _EXIF_ITEM, 1, 1))
        reference = _box(b"iref", bytes(4) + describes)
        entry = _box(b"infe", struct.pack(">IHH4sx", 2 << 24, _EXIF_ITEM, 0, b"Exif"))
        tiff = bytes(4) + exif.removeprefix(EXIF)  # the header of TIFF follows at once
        moved += len(reference) + len(entry) + _PLACE.size
        place = _PLACE.pack(_EXIF_ITEM, 0, 1, found[b"mdat"][2] + moved, len(tiff))
        pieces += [
            (found[b"mdat"][2], tiff, (b"mdat",)),
            (found[b"iprp"][0], reference, (b"meta",)),
            (found[b"iinf"][2], entry, (b"meta", b"iinf")),
            (found[b"iloc"][2], place, (b"meta", b"iloc")),
        ]
    out = bytearray(data)
    for _, piece, owners in pieces:
        for name in owners:
            _add(out, ">I", found[name][0], len(piece))
    _add(out, ">I", found[b"iloc"][2] - 8, moved)  # the offset of the picture's only extent
    _add(out, ">B", found[b"ipma"][1] + 10, len(properties))
    if exif:
        _add(out, ">H", found[b"iloc"][1] + 6, 1)
        _add(out, ">H", found[b"iinf"][1] + 4, 1)
    for at, piece, _ in sorted(pieces, key=lambda each: each[0], reverse=True):
        out[at:at] = piece  # from the end on, so that places stay
    return bytes(out)


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def _add(data: bytearray, form: str, at: int, more: int) -> None:
    struct.pack_into(form, data, at, struct.unpack_from(form, data, at)[0] + more)
