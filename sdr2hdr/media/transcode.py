"""Real codec damage for training and tests: pictures through an encoder and back, in memory."""

import io
from typing import cast

import av
import torch
from av.video.stream import VideoStream
from torch import Tensor


def through_codec(
    planes: tuple[Tensor, Tensor, Tensor], codec: str, qp: int, preset: str = "veryfast"
) -> tuple[Tensor, Tensor, Tensor]:
    """8-bit 4:2:0 planes (uint8 ``T,H,W`` and two of ``T,H/2,W/2``) as libx264 or libx265 leaves them at a constant QP."""
    count, height, width = planes[0].shape
    options = {"preset": preset}
    if codec == "libx265":
        options["x265-params"] = f"qp={qp}:log-level=none:frame-threads=1:pools=1"
    else:
        options |= {"qp": str(qp), "threads": "1"}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="nut") as out:
        stream = cast(VideoStream, out.add_stream(codec, rate=25, options=options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(count):
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane, data in zip(frame.planes, planes, strict=True):
                rows = torch.zeros(data.shape[1], plane.line_size, dtype=torch.uint8)
                rows[:, : data.shape[2]] = data[t]
                plane.update(rows.numpy().tobytes())
            frame.pts = t
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    buffer.seek(0)
    decoded: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    with av.open(buffer, "r") as source:
        for picture in source.decode(video=0):
            for kept, plane in zip(decoded, picture.planes, strict=True):
                rows = torch.frombuffer(bytearray(bytes(plane)), dtype=torch.uint8).view(plane.height, plane.line_size)
                kept.append(rows[:, : plane.width].clone())
    y, cb, cr = (torch.stack(kept) for kept in decoded)
    return y, cb, cr
