"""Uncompressed frames as other programs read them from a pipe: YUV4MPEG2 (``y4m``), or the planes alone (``raw``)."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from sdr2hdr.media.encoder import EncodeSettings
from sdr2hdr.media.info import SourceInfo
from sdr2hdr.media.kept_headers import not_in_frames
from sdr2hdr.media.stream_plan import open_to_copy
from sdr2hdr.text import counted

COLOURS = {
    f"yuv{chroma}p{bits}le": f"C{chroma}p{bits} XYSCSS={chroma}P{bits}"
    for bits in (10, 12)
    for chroma in ("420", "422", "444")
}
"""The colour space of each pixel format in a YUV4MPEG2 header, as FFmpeg's reader and writer, x265 and SVT-AV1 know it."""
PIPED = tuple(name.removesuffix("le") for name in COLOURS)
"""Words of :data:`sdr2hdr.codecs.FORMATS` that a stream can be in."""


def y4m_header(settings: EncodeSettings, pix_fmt: str, frames: int) -> bytes:
    """The header of a stream of ``frames`` frames.

    The format has no word for the siting of chroma above 8 bits, nor for transfer and primaries: encoders are told these.
    """
    rate, aspect = settings.rate, settings.sample_aspect_ratio
    words = (
        "YUV4MPEG2",
        f"W{settings.width}",
        f"H{settings.height}",
        f"F{rate.numerator}:{rate.denominator}",
        "Ip",
        f"A{aspect.numerator}:{aspect.denominator}",
        COLOURS[pix_fmt],
        "XCOLORRANGE=LIMITED",
        f"XLENGTH={frames}",
    )
    return " ".join(words).encode() + b"\n"


class FrameWriter:
    """Writes ``frames`` frames of a pixel format into a stream that may be a pipe; ``settings`` give their size and rate.

    Nothing is kept: a write returns once the stream has taken the frame.
    """

    def __init__(
        self, out: BinaryIO, form: str, settings: EncodeSettings, pix_fmt: str, frames: int
    ) -> None:
        self._out = out
        self._before = b"FRAME\n" if form == "y4m" else b""
        if form == "y4m":
            out.write(y4m_header(settings, pix_fmt, frames))

    def write(self, planes: Sequence[Tensor]) -> None:
        """Write a frame: Y, Cb and Cr, uint16 on the CPU. Raises OSError, BrokenPipeError if the reader has gone."""
        if self._before:
            self._out.write(self._before)
        for plane in planes:
            self._out.write(plane.contiguous().numpy().reshape(-1).view("u1").data)


def left_behind(path: Path, info: SourceInfo) -> tuple[str, ...]:
    """What frames cannot carry of a film besides their times, as sentences for people. Raises InputError."""
    with open_to_copy(path) as file:
        kinds = [stream.type for stream in file.streams if stream.index != info.stream]
    others = [counted(kinds.count(kind), f"{kind} stream") for kind in dict.fromkeys(kinds)]
    if info.chapters:
        others.append(counted(info.chapters, "chapter"))
    notes = [*not_in_frames(info.headers)]
    if others:
        notes.append(f"Only the picture is written, without the source's {', '.join(others)}.")
    if info.headers.captions:
        notes.append("Closed captions in the picture (CEA-608 or 708) are left out.")
    return tuple(notes)


def times_lost(info: SourceInfo, pts: Sequence[int]) -> tuple[str, ...]:
    """Sentences if equal steps from 0 are not the frames' own times; ``pts`` are those of the whole film."""
    step = 1 / (info.rate * info.time_base)
    notes = []
    if any(abs(at - pts[0] - number * step) > step / 2 for number, at in enumerate(pts)):
        notes.append(
            f"The frames come at irregular times, which are not written; readers show {float(info.rate):.6g} a second."
        )
    if begin := pts[0] * info.time_base:
        notes.append(
            f"The first frame is shown at {float(begin):.6g} s in the source; readers show it at 0."
        )
    return tuple(notes)
