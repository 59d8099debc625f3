"""Real codec damage for training and tests: pictures through an encoder and back, in memory."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import cast

import av
import torch
from av.video.codeccontext import VideoCodecContext
from torch import Tensor

_DECODERS = {"libx264": "h264", "libx265": "hevc"}

Picture = tuple[Tensor, Tensor, Tensor]
"""8-bit 4:2:0 planes of one picture: uint8 ``H,W`` and two of ``H/2,W/2``."""


def through_codec(
    planes: tuple[Tensor, Tensor, Tensor],
    codec: str,
    qp: int,
    preset: str = "veryfast",
    *,
    intra: bool = False,
    lead: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """8-bit 4:2:0 planes (uint8 ``T,H,W`` and two of ``T,H/2,W/2``) as :func:`coded` leaves them.

    ``lead`` pictures are coded before the first, the given ones mirrored in time, and then dropped.
    """
    y, cb, cr = planes
    count = y.shape[0]
    order = [*(_mirrored(-t, count) for t in range(lead, 0, -1)), *range(count)]
    found = list(coded(((y[t], cb[t], cr[t]) for t in order), codec, qp, preset, intra=intra))
    y, cb, cr = (torch.stack(kept[lead:]) for kept in zip(*found, strict=True))
    return y, cb, cr


def coded(
    pictures: Iterable[Picture],
    codec: str,
    qp: int,
    preset: str = "veryfast",
    *,
    intra: bool = False,
) -> Iterator[Picture]:
    """Pictures of one size as libx264 or libx265 leaves them at a constant QP; few are held in memory at once.

    With ``intra`` every picture is coded alone and has exactly that QP; otherwise the first one has a QP three lower, as the
    encoders have it.

    Packets go to the decoder as they come: a muxer between them fails on one clip in 20,000 (FFmpeg 8, NUT).
    """
    encoder: VideoCodecContext | None = None
    decoder = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[codec], "r"))
    for pts, picture in enumerate(pictures):
        height, width = picture[0].shape
        if encoder is None:
            encoder = _encoder(codec, (width, height), qp, preset, intra)
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, data in zip(frame.planes, picture, strict=True):
            rows = torch.zeros(data.shape[0], plane.line_size, dtype=torch.uint8)
            rows[:, : data.shape[1]] = data
            plane.update(rows.numpy().tobytes())
        frame.pts = pts
        for packet in encoder.encode(frame):
            yield from map(_planes, decoder.decode(packet))
    if encoder is not None:
        for last in (*encoder.encode(None), None):
            yield from map(_planes, decoder.decode(last))


def _encoder(
    codec: str, size: tuple[int, int], qp: int, preset: str, intra: bool
) -> VideoCodecContext:
    encoder = cast(VideoCodecContext, av.CodecContext.create(codec, "w"))
    (encoder.width, encoder.height), encoder.pix_fmt = size, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    options = {"preset": preset}
    if codec == "libx265":
        alone = ":keyint=1:ipratio=1" if intra else ""
        options["x265-params"] = f"qp={qp}:log-level=none:frame-threads=1:pools=1{alone}"
    else:
        options |= {"qp": str(qp), "threads": "1"}
        options |= {"x264-params": "keyint=1:ipratio=1"} if intra else {}
    encoder.options = options
    return encoder


def _planes(frame: av.VideoFrame) -> Picture:
    kept = []
    for plane in frame.planes:
        rows = torch.frombuffer(bytearray(bytes(plane)), dtype=torch.uint8)
        kept.append(rows.view(plane.height, plane.line_size)[:, : plane.width].clone())
    y, cb, cr = kept
    return y, cb, cr


def _mirrored(t: int, count: int) -> int:
    """The picture at a time outside ``0..count - 1``, where pictures come and go like a pendulum."""
    t %= max(2 * count - 2, 1)
    return min(t, 2 * count - 2 - t) if count > 1 else 0
