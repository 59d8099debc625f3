"""Fields made into pictures: combed pictures deinterlaced one for one, or telecined film given back
its own pictures."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame
from torch import Tensor

from sdr2hdr.media.combing import combed_blocks, luma_lines

MODES = ("auto", "off", "tff", "bff")
_FEW = Fraction(1, 500)  # of all blocks: as many must be combed where no flag says that the picture has fields

Seen = Callable[[VideoFrame, bool], None]
"""Told of each frame, and whether it was deinterlaced."""


@dataclass
class _Waiting:
    frame: VideoFrame
    lines: Tensor


def deinterlaced(frames: Iterable[VideoFrame], time_base: Fraction, mode: str, seen: Seen) -> Iterator[VideoFrame]:
    """One picture for each frame, at its time; those with fields of two times are made whole by
    FFmpeg's bwdif.

    Frames must be planar and have rising pts in ``time_base``. ``mode`` is one of MODES: ``auto``
    deinterlaces what is combed, by the order of fields that the frame is flagged with (top first
    without a flag); ``tff`` and ``bff`` deinterlace everything. ``seen`` is told of each frame
    before it is given.

    A picture depends on the frame before and the frame after alone, not on where reading began.
    """
    if mode == "off":
        for frame in frames:
            seen(frame, False)
            yield frame
        return
    bwdif = _Bwdif(time_base, mode)
    waiting: deque[_Waiting] = deque()
    for frame in frames:
        waiting.append(_Waiting(frame, luma_lines(frame)))
        if len(waiting) > 2:  # before, this, after
            yield _decided(waiting[0], waiting[1], waiting[2], mode, bwdif, seen)
            waiting.popleft()
        elif len(waiting) == 2:
            yield _decided(None, waiting[0], waiting[1], mode, bwdif, seen)
    if waiting:
        before = waiting[-2] if len(waiting) > 1 else None
        yield _decided(before, waiting[-1], None, mode, bwdif, seen)


def _decided(
    before: _Waiting | None,
    this: _Waiting,
    after: _Waiting | None,
    mode: str,
    bwdif: "_Bwdif",
    seen: Seen,
) -> VideoFrame:
    frame = this.frame
    flagged = frame.interlaced_frame
    if mode == "auto":
        blocks, of = combed_blocks(before and before.lines, this.lines, after and after.lines)
        combed = blocks > 0 if flagged else blocks > max(1, of * _FEW)
    else:
        combed = True
    seen(frame, combed)
    return bwdif(before and before.frame, frame, after and after.frame) if combed else frame


class _Bwdif:
    """FFmpeg's bwdif, given each wanted picture with its neighbours; the graph goes on while
    pictures follow each other."""

    def __init__(self, time_base: Fraction, mode: str) -> None:
        self._time_base, self._parity = time_base, mode
        self._graph: Graph | None = None
        self._last: int | None = None  # pts of the newest frame that the graph was given

    def __call__(self, before: VideoFrame | None, frame: VideoFrame, after: VideoFrame | None) -> VideoFrame:
        follows = self._graph is not None and self._last == frame.pts and after is not None
        if not follows:
            self._graph = self._new(frame)
            for one in (before, frame):
                if one is not None:
                    self._graph.vpush(one)
        graph = self._graph
        assert graph is not None  # noqa: S101 - made above
        graph.vpush(after)
        self._last = None if after is None else after.pts
        while True:
            picture = graph.vpull()
            if picture.pts is None or picture.time_base is None:
                raise ValueError("a frame must have its pts before it is deinterlaced")
            # the filter halves its time base
            picture.pts = int(picture.pts * picture.time_base / self._time_base)
            picture.time_base = self._time_base
            if picture.pts == frame.pts:
                return picture

    def _new(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=self._time_base
        )
        bwdif = graph.add("bwdif", f"mode=send_frame:deint=all:parity={self._parity}")
        graph.link_nodes(source, bwdif, graph.add("buffersink"))
        graph.configure()
        return graph
