"""One HDR picture as a file: AVIF, 10-bit PQ.

Sources: AV1 Image File Format 1.1 (an AV1 intra frame in HEIF), H.273 (colour numbers in its ``nclx`` box), ISO/IEC 23008-12
6.5 (``clli`` and ``mdcv`` among the properties of a picture) and 9.3 (``ipma``), ISO/IEC 14496-12 8.11.3 (``iloc``).
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

# No word on where chroma sits: Chromium (156) shows a still that says "top left" as white. Viewers then take it to sit half a
# luma sample further on, which nobody sees.
_OPTIONS = {"preset": "4", "svtav1-params": "avif=1"}
QUALITY = 4.0
"""The CRF of a still, unless another is asked for."""
LEAST_SIDE = 4
"""Pixels a side that SVT-AV1 encodes at least."""


def avif(
    planes: tuple[Tensor, Tensor, Tensor],
    crf: float = QUALITY,
    light: ContentLight | None = None,
    mastering: Mastering | None = None,
) -> bytes:
    """An AVIF file of one picture: Y' ``H,W``, Cb and Cr ``H/2,W/2``, uint16, as :func:`sdr2hdr.color.yuv.to_yuv` leaves them.

    It is tagged BT.2020 primaries, PQ, BT.2020 non-constant luminance, limited range (9, 16, 9 of H.273). ``light`` and
    ``mastering`` become properties of it. Raises OutputError.
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
    return _with_properties(buffer.getvalue(), properties)


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


def _with_properties(data: bytes, properties: list[tuple[bytes, bytes]]) -> bytes:
    """An AVIF of one picture, as FFmpeg writes it, with more properties of the picture, each a box's name and body."""
    if not properties:
        return data
    out = bytearray(data)
    path = {}
    at, end = 0, len(out)
    for name in (b"meta", b"iprp", b"ipco"):
        place = next(box for box in boxes(out, at, end) if box[0] == name)
        path[name] = place
        at, end = place[2] + (4 if name == b"meta" else 0), place[3]  # meta has a version
    inside = {box[0]: box for box in boxes(out, path[b"meta"][2] + 4, path[b"meta"][3])}
    lists = {box[0]: box for box in boxes(out, path[b"iprp"][2], path[b"iprp"][3])}
    known = sum(1 for _ in boxes(out, at, end))
    _, start, body, ipma_end = lists[b"ipma"]
    made = b"".join(struct.pack(">I4s", 8 + len(b), name) + b for name, b in properties)
    marks = bytes(range(known + 1, known + 1 + len(properties)))  # none of them essential
    out[body + 10] += len(properties)  # version, entry count and the item's number come before
    sizes = [(start, len(marks)), (path[b"ipco"][1], len(made))]
    grown = len(made) + len(marks)
    sizes += [(path[b"iprp"][1], grown), (path[b"meta"][1], grown)]
    # the picture's only extent: offset and length end the box iloc
    sizes.append((inside[b"iloc"][3] - 8, grown))
    for field, more in sizes:
        struct.pack_into(">I", out, field, struct.unpack_from(">I", out, field)[0] + more)
    out[ipma_end:ipma_end] = marks  # ipma follows ipco
    out[path[b"ipco"][3] : path[b"ipco"][3]] = made
    return bytes(out)
