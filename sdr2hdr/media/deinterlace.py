"""Interlaced pictures made whole: one picture out for one in, at the same time."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame


def deinterlaced(frames: Iterable[VideoFrame], time_base: Fraction) -> Iterator[VideoFrame]:
    """FFmpeg's bwdif on the frames that are flagged interlaced; the others pass untouched.

    Frames must be planar and have rising pts in ``time_base``, which they keep. bwdif looks one frame back and one ahead; it is
    given the frame before the first interlaced one as well, so a picture does not depend on where decoding began, if that
    was at least one frame earlier.
    """
    graph: Graph | None = None
    before: VideoFrame | None = None
    for frame in frames:
        if graph is None:
            if not frame.interlaced_frame:
                before = frame
                yield frame
                continue
            graph = _bwdif(frame, time_base)
            if before is not None:
                graph.vpush(before)
        graph.vpush(frame)
        yield from _pull(graph, before, time_base)
    if graph is not None:
        graph.vpush(None)
        yield from _pull(graph, before, time_base)


def _bwdif(frame: VideoFrame, time_base: Fraction) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _pull(graph: Graph, before: VideoFrame | None, time_base: Fraction) -> Iterator[VideoFrame]:
    while True:
        try:
            picture = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        if picture.pts is None or picture.time_base is None:
            raise ValueError("a frame must have its pts before it is deinterlaced")
        picture.pts = int(picture.pts * picture.time_base / time_base)  # the filter halves its time base
        picture.time_base = time_base
        if before is None or before.pts is None or picture.pts > before.pts:  # that one was given already
            yield picture
