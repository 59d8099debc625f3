"""SDR clips of synthetic pictures, for measurements."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_clip(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
) -> None:
    """Pictures ``H,W,3`` of R'G'B' at 25 frames a second."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=dict(options or {}))
        if not isinstance(stream, av.VideoStream):
            raise TypeError(f"{codec} is no video codec")
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pix_fmt
            out.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt))
            )
        out.mux(stream.encode(None))
