"""A decoded picture: its planes as stored, and its upright R'G'B'."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from av.video.frame import VideoFrame
from torch import Tensor

from sdr2hdr.color.deband import debanded
from sdr2hdr.color.display import USUAL, Display
from sdr2hdr.color.transfer import hlg_eotf, pq_inverse_eotf
from sdr2hdr.color.turn import UPRIGHT, Turn
from sdr2hdr.color.yuv import YuvLayout, from_yuv


@dataclass(frozen=True)
class Picture:
    """One frame of a source.

    ``pts`` and ``duration`` are in the source's time base. ``planes`` are uint8 or uint16 ``H,W`` as stored, not turned: Y', Cb,
    Cr, or R', G', B' (``layout.matrix`` is then ``rgb``), or Y' alone; they share memory with the decoder and are not to be
    written to. ``display`` is what they were made for. ``hlg`` pictures are HLG.
    ``exposure`` is what the frame itself says of its exposure (:func:`exposure_of`), if it does. ``deband`` is how strongly its
    gradients are smoothed when it is read: ``off`` or a key of :data:`sdr2hdr.color.deband.STRENGTHS`.
    """

    pts: int
    duration: int | None
    planes: tuple[Tensor, ...]
    layout: YuvLayout
    turn: Turn = UPRIGHT
    display: Display = USUAL
    hlg: bool = False
    exposure: Fraction | None = None
    deband: str = "off"

    @property
    def coding(self) -> tuple[YuvLayout, Turn, Display, str]:
        """All that decides how the planes are read, but their size."""
        return self.layout, self.turn, self.display, self.deband

    @property
    def recodes(self) -> bool:
        """Whether :meth:`recoded` gives other values than it is given."""
        return self.display != USUAL

    def rgb(self) -> Tensor:
        """Upright BT.709 R'G'B' ``3,H,W`` float32 in 0..1, for a BT.1886 display."""
        planes = self.planes
        if self.deband != "off":
            planes = debanded(planes, self.layout, self.deband)
        return self.turn(self.recoded(from_yuv(planes, self.layout)))

    def recoded(self, rgb: Tensor) -> Tensor:
        """R'G'B' ``3,H,W`` 0..1 as the planes give it, as BT.709 for a BT.1886 display, each pixel alone; may be written over.

        What lies outside BT.709 is clipped.
        """
        if self.recodes:
            band = max(1, 10_000 // rgb.shape[2])  # in the cache, and on one thread (color/yuv.py)
            if rgb.device.type != "cpu":
                band = rgb.shape[1]
            for top in range(0, rgb.shape[1], band):
                rows = rgb[:, top : top + band]
                rows.copy_(self.display.as_bt709(rows))
        return rgb

    def codes(self) -> Tensor:
        """Upright PQ codes ``3,H,W`` float32 in 0..1, BT.2020, of a picture whose source is HDR10, or HLG.

        HLG is taken to the light of a display of 1000 nits (BT.2100-2 table 5).
        """
        codes = from_yuv(self.planes, self.layout)
        return self.turn(pq_inverse_eotf(hlg_eotf(codes)) if self.hlg else codes)


def side_data(frame: VideoFrame) -> dict[str, bytes]:
    """What a frame carries beside its pixels, by PyAV's names of the kinds; empty where it carries a kind unknown to PyAV."""
    try:
        every: Any = frame.side_data  # PyAV's stub calls this mapping one of its members
        return {data.type.name: bytes(data) for data in every}
    except ValueError:
        return {}


def turn_of(frame: VideoFrame) -> Turn:
    """The turn that a frame's display matrix asks for, to the nearest quarter."""
    data = side_data(frame).get("DISPLAYMATRIX")
    if data is None:
        return Turn()
    # x' = a x + c y and y' = b x + d y, x to the right and y down (ISO/IEC 14496-12 8.3.2.3); 16.16 fixed point
    a, b, _, c, d = memoryview(data).cast("i")[:5]
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(True, b < 0, c < 0)
    return Turn(False, d < 0, a < 0)


def exposure_of(frame: VideoFrame) -> Fraction | None:
    """The exposure that a frame's EXIF data (CIPA DC-008) tells: ExposureTime in seconds, times the sensitivity (ISO, 100 where
    that is not told); None without a time above 0. FFmpeg gives the tags of JPEG and MJPEG frames as texts, a rational number
    as ``1, 200``.
    """
    try:
        told = frame.metadata
    except UnicodeDecodeError:  # a text in it that is not UTF-8, as cameras write them
        return None
    tags = {key.rpartition("/")[2]: re.findall(r"\d+", text) for key, text in told.items()}
    time, iso = (
        tags.get("ExposureTime", []),
        tags.get("PhotographicSensitivity") or tags.get("ISOSpeedRatings") or ["100"],
    )
    if len(time) != 2 or not all(map(int, (*time, iso[0]))):
        return None
    return Fraction(int(time[0]), int(time[1])) * int(iso[0])


_FLOAT = re.compile("f(16|32)(le|be)?$")
"""Names of formats whose samples are floating-point numbers, such as those of an EXR: gbrpf16le, grayf32be."""


def planar(frame: VideoFrame) -> VideoFrame:
    """The frame itself where it is planar with integer samples of 8 to 16 bits, else in the nearest format that is.

    That only moves samples (of NV12, P010, YUYV, packed RGB, a palette) or widens them, and keeps matrix and range.
    """
    form = frame.format
    colours = [c for c in form.components if not c.is_alpha]
    rest = {c.plane for c in form.components if c.is_alpha}
    apart = len({c.plane for c in colours} - rest) == len(colours)
    depths = {c.bits for c in colours}
    flipped = any(plane.line_size < 0 for plane in frame.planes)
    if (
        apart
        and depths <= set(range(8, 17))
        and not _FLOAT.search(form.name)
        and len(depths) == 1
        and not (form.is_big_endian or form.has_palette or flipped)
    ):
        return frame
    if form.is_rgb or form.has_palette:
        stem = "gbrp"
    elif len(colours) == 1:
        stem = "gray"
    else:
        ratio = (16 // form.chroma_width(16), 16 // form.chroma_height(16))
        stem = {(2, 2): "yuv420p", (2, 1): "yuv422p", (4, 1): "yuv411p", (4, 4): "yuv410p"}.get(
            ratio, "yuv444p"
        )
    bits = next(n for n in (8, 10, 12, 16) if n >= min(max(depths), 16))
    if stem in {"yuv411p", "yuv410p"}:
        bits = 8
    return frame.reformat(format=stem if bits == 8 else f"{stem}{bits}le")


def planes_of(frame: VideoFrame) -> tuple[Tensor, ...]:
    """The planes of a :func:`planar` frame in the order of its components (R', G', B' for RGB), without copying."""
    colours = [c for c in frame.format.components if not c.is_alpha]
    dtype = torch.uint8 if colours[0].bits == 8 else torch.uint16
    planes = [frame.planes[c.plane] for c in colours]
    return tuple(torch.frombuffer(p, dtype=dtype).view(p.height, -1)[:, : p.width] for p in planes)
