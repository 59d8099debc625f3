"""Changes in the middle of a film: followed if they can differ per picture, refused if the output holds only one value."""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sdr2hdr.color.display import Display
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.errors import InputError
from sdr2hdr.media.clock import clock_time
from sdr2hdr.media.info import SourceInfo, hdr_of, layout_of
from sdr2hdr.media.shown import primaries_of, shown


class Changes:
    """Compares every picture with the first one.

    Size, pixel format, aspect ratio and a switch to HDR are refused with the time at which to cut.
    Matrix, range, transfer and primaries are read from each picture; ``notes`` tell where they change.
    """

    def __init__(
        self,
        info: SourceInfo,
        matrix: str | None,
        range_: str | None,
        transfer: str,
        primaries: str,
    ) -> None:
        self._info = info
        self._given, self._given_display = (matrix, range_), (transfer, primaries)
        self._context: VideoCodecContext | None = None
        self._aspect: Fraction | None = (
            None  # of the film's first picture, whichever is decoded first
        )
        self._known: dict[tuple[int, ...], tuple[YuvLayout, Display, str]] = {}
        self._last = info.layout, info.shown.display, info.primaries
        self._keyframes: deque[int] = deque(maxlen=64)  # pts of keyframes that went to the decoder
        self.notes: list[str] = []

    def begin(self, context: VideoCodecContext) -> None:
        """A decoder that was just opened is going to give the pictures."""
        self._context, self._aspect = context, None

    def watched(
        self, packets: "Iterable[Packet[VideoStream] | None]"
    ) -> "Iterator[Packet[VideoStream] | None]":
        """The packets on their way to the decoder: a change begins with a keyframe, though pictures
        before it may show it.
        """
        for packet in packets:
            if packet is not None and packet.is_keyframe and packet.pts is not None:
                self._keyframes.append(packet.pts)
            yield packet

    def colour(self, frame: VideoFrame, pts: int) -> tuple[YuvLayout, Display]:
        """The layout and the display of a picture. Raises InputError where it cannot follow the
        first one.
        """
        self._check(frame, pts)
        tags = frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc
        found = self._known.get(tags)
        if found is None:
            found = self._known[tags] = self._read(frame, pts)
        if found != self._last:
            before, after = (_words(*each) for each in (self._last, found))
            if before != after:
                self.notes.append(
                    f"the colour tags change from {before} to {after} at {self._clock(pts)}; each picture was read by its own"
                )
            self._last = found
        return found[:2]

    def _read(self, frame: VideoFrame, pts: int) -> tuple[YuvLayout, Display, str]:
        info = self._info
        if info.hdr is None and (kind := hdr_of(frame, frame.color_trc, "")) is not None:
            self._refuse("SDR", kind, pts)
        layout = layout_of(frame, info.codec, info.layout.siting, info.path, *self._given)[0]
        if info.is_still or info.items is not None:  # one picture, which may have a colour profile
            return layout, info.shown.display, primaries_of(frame)
        return (
            layout,
            shown(frame, *self._given_display).display,
            primaries_of(frame),
        )

    def _check(self, frame: VideoFrame, pts: int) -> None:
        is_now = (frame.width, frame.height, frame.format.name.replace("yuvj", "yuv"))
        was = (*self._info.coded_size, self._info.pix_fmt.replace("yuvj", "yuv"))
        if is_now != was:
            self._refuse("{}x{} {}".format(*was), "{}x{} {}".format(*is_now), pts)
        aspect = self._context.sample_aspect_ratio if self._context else None
        self._aspect = self._aspect or aspect
        if self._info.says_aspect_again and aspect and self._aspect and aspect != self._aspect:
            self._refuse(f"a sample aspect ratio of {_ratio(self._aspect)}", _ratio(aspect), pts)

    def _refuse(self, before: str, after: str, pts: int) -> None:
        raise InputError(
            f"{self._info.path} changes from {before} to {after} at {self._clock(pts)}; cut it there and convert the parts."
        )

    def _clock(self, pts: int) -> str:
        begun = min((key for key in self._keyframes if key >= pts), default=pts)
        return clock_time((begun - self._info.start_pts) * self._info.time_base)


def _words(layout: YuvLayout, display: Display, primaries: str) -> str:
    levels = "full" if layout.full_range else "limited"
    return f"{layout.matrix} {levels} ({primaries} primaries, read as {display.transfer})"


def _ratio(ratio: Fraction) -> str:
    return f"{ratio.numerator}:{ratio.denominator}"
