"""Real codec damage for training and tests: pictures through an encoder and back, in memory."""

from fractions import Fraction
from typing import cast

import av
import torch
from av.video.codeccontext import VideoCodecContext
from torch import Tensor

_DECODERS = {"libx264": "h264", "libx265": "hevc"}


def through_codec(
    planes: tuple[Tensor, Tensor, Tensor],
    codec: str,
    qp: int,
    preset: str = "veryfast",
    *,
    intra: bool = False,
    lead: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """8-bit 4:2:0 planes (uint8 ``T,H,W`` and two of ``T,H/2,W/2``) as libx264 or libx265 leaves them at a constant QP.

    With ``intra`` every picture is coded alone and has exactly that QP; otherwise the first one has a QP three lower, as the
    encoders have it. ``lead`` pictures are coded before the first, the given ones mirrored in time, and then dropped.

    Packets go to the decoder as they come: a muxer between them fails on one clip in 20,000 (FFmpeg 8, NUT).
    """
    count, height, width = planes[0].shape
    order = [*(_mirrored(-t, count) for t in range(lead, 0, -1)), *range(count)]
    encoder = cast(VideoCodecContext, av.CodecContext.create(codec, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    options = {"preset": preset}
    if codec == "libx265":
        alone = ":keyint=1:ipratio=1" if intra else ""
        options["x265-params"] = f"qp={qp}:log-level=none:frame-threads=1:pools=1{alone}"
    else:
        options |= {"qp": str(qp), "threads": "1"}
        options |= {"x264-params": "keyint=1:ipratio=1"} if intra else {}
    encoder.options = options
    packets = []
    for pts, t in enumerate(order):
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, data in zip(frame.planes, planes, strict=True):
            rows = torch.zeros(data.shape[1], plane.line_size, dtype=torch.uint8)
            rows[:, : data.shape[2]] = data[t]
            plane.update(rows.numpy().tobytes())
        frame.pts = pts
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[codec], "r"))
    decoded: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for packet in (*packets, None):
        for picture in decoder.decode(packet):
            for kept, plane in zip(decoded, picture.planes, strict=True):
                rows = torch.frombuffer(bytearray(bytes(plane)), dtype=torch.uint8).view(
                    plane.height, plane.line_size
                )
                kept.append(rows[:, : plane.width].clone())
    y, cb, cr = (torch.stack(kept[lead:]) for kept in decoded)
    return y, cb, cr


def _mirrored(t: int, count: int) -> int:
    """The picture at a time outside ``0..count - 1``, where pictures come and go like a pendulum."""
    t %= max(2 * count - 2, 1)
    return min(t, 2 * count - 2 - t) if count > 1 else 0
