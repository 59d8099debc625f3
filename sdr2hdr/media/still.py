"""One HDR picture as a file: AVIF, 10-bit PQ.

Sources: AV1 Image File Format 1.1 (an AV1 intra frame in HEIF), H.273 (colour numbers in its ``nclx`` box).
"""

import io
import os
from fractions import Fraction

import av
import av.error
from av.video.stream import VideoStream
from torch import Tensor

from sdr2hdr.errors import OutputError
from sdr2hdr.media.encoder import schedule_as_others

# No word on where chroma sits: Chromium (156) shows a still that says "top left" as white. Viewers then take it to sit half a
# luma sample further on, which nobody sees.
_OPTIONS = {"crf": "4", "preset": "4", "svtav1-params": "avif=1"}


def avif(planes: tuple[Tensor, Tensor, Tensor]) -> bytes:
    """An AVIF file of one picture: Y' ``H,W``, Cb and Cr ``H/2,W/2``, uint16, as :func:`sdr2hdr.color.yuv.to_yuv` leaves them.

    It is tagged BT.2020 primaries, PQ, BT.2020 non-constant luminance, limited range (9, 16, 9 of H.273). Raises OutputError.
    """
    height, width = planes[0].shape
    os.environ.setdefault(
        "SVT_LOG", "1"
    )  # SVT-AV1 prints its settings on stderr unless it is set to print only errors
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="avif") as out:
            stream = out.add_stream("libsvtav1", rate=1, options=_OPTIONS)
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
            f"A picture of {width}x{height} cannot be made an AVIF still ({error}); leave --hdr out, or use the wheel of av"
            " from PyPI."
        ) from error
    finally:
        schedule_as_others()
    return buffer.getvalue()
