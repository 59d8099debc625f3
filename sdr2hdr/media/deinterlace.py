"""Deinterlacing: one picture out for each picture in, with the same time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain

from av.filter import Graph
from av.video.frame import VideoFrame

from sdr2hdr.media.combing import Lines, combing, luma_lines

MODES = ("auto", "off", "tff", "bff")

Seen = Callable[[VideoFrame, bool], None]
"""Told of each frame, and whether it was deinterlaced."""

_WithLines = tuple[VideoFrame, Lines]


def deinterlaced(
    frames: Iterable[VideoFrame], time_base: Fraction, mode: str, seen: Seen
) -> Iterator[VideoFrame]:
    """One picture for each frame, at its time; those with fields of two times are made whole by
    FFmpeg's bwdif.

    Frames must be planar and have rising pts in ``time_base``. ``mode`` is one of MODES: ``auto``
    deinterlaces what is combed, by the order of fields that the frame is flagged with (without a
    flag, by the order that the pictures show); ``tff`` and ``bff`` deinterlace everything. ``seen``
    is told of each frame before it is given.

    A picture depends on the frame before and the frame after alone, not on where reading began.
    """
    if mode == "off":
        for frame in frames:
            seen(frame, False)
            yield frame
        return
    bwdif = _Bwdif(time_base)
    # the picture before, this one and the one after, with their lines
    window: deque[_WithLines | None] = deque([None, None], maxlen=3)
    coming: Iterator[VideoFrame | None] = chain(frames, (None,))
    for each in coming:
        window.append(None if each is None else (each, luma_lines(each)))
        before, this, after = window[0], window[1], window[2]
        if this is None:
            continue
        parity = mode if mode != "auto" else _parity(before, this, after)
        seen(this[0], bool(parity))
        yield (
            bwdif(before and before[0], this[0], after and after[0], parity) if parity else this[0]
        )


def _parity(before: _WithLines | None, this: _WithLines, after: _WithLines | None) -> str:
    """Which field is the first of a picture with fields of two times, for bwdif; empty for other
    pictures.

    A flag knows the order of fields better than one picture does.
    """
    found = combing(before and before[1], this[1], after and after[1])
    flagged = this[0].interlaced_frame
    if not found.is_seen(flagged=flagged):
        return ""
    return "auto" if flagged else "tff" if found.top_first else "bff"


class _Bwdif:
    """FFmpeg's bwdif, given each wanted picture with its neighbours; the graph goes on while
    pictures follow each other.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._time_base, self._parity = time_base, ""
        self._graph: Graph | None = None
        self._last: int | None = None  # pts of the newest frame that the graph was given

    def __call__(
        self, before: VideoFrame | None, frame: VideoFrame, after: VideoFrame | None, parity: str
    ) -> VideoFrame:
        follows = self._last == frame.pts and after is not None and parity == self._parity
        if self._graph is None or not follows:
            self._parity = parity
            self._graph = self._new(frame)
            for one in (before, frame):
                if one is not None:
                    self._graph.vpush(one)
        graph = self._graph
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
