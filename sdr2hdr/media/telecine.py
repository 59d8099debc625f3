"""Inverse telecine: four of every five frames, 24000/1001 a second of 30000/1001.

Telecine spreads four film frames over ten fields (SMPTE RP 197). FFmpeg's fieldmatch puts the fields of each film frame
together again, bwdif repairs fields without a partner, decimate drops the frame of five that came twice.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.filter import Graph
from av.video.frame import VideoFrame

CYCLE = 5
"""Frames of a group that holds four film frames."""


class Detelecine:
    """Makes film of telecined frames. Groups of five are counted from ``start``, in ``time_base``,
    at ``rate`` frames a second.

    So a picture does not depend on where reading began, if that was two groups earlier. A group in
    which a frame is missing, and what remains at the end, keeps all its frames.
    """

    def __init__(self, time_base: Fraction, rate: Fraction, start: int) -> None:
        self._time_base, self._rate, self._start = time_base, rate, start
        self._step = 1 / (rate * time_base)
        self._matched: Graph | None = None
        self._decimated: Graph | None = None
        self._next: int | None = None  # the group that would follow the newest in the graph

    def __call__(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, int]]:
        """The pictures, with new times, each with the pts of a frame of the source that it stands
        for.
        """
        group: list[VideoFrame] = []
        number = -1
        for frame in self._match(frames):
            index = round(((frame.pts or 0) - self._start) / self._step)
            if index // CYCLE != number:
                yield from self._film(group, number)
                group, number = [], index // CYCLE
            group.append(frame)
        yield from self._film(group, number)

    def _film(self, group: list[VideoFrame], number: int) -> Iterator[tuple[VideoFrame, int]]:
        if len(group) != CYCLE:
            yield from ((frame, frame.pts or 0) for frame in group)
            return
        if self._decimated is None or self._next != number:
            self._decimated = self._graph(group[0], {"decimate": ""})
        self._next = number + 1
        origins = [frame.pts or 0 for frame in group]
        for frame in group:
            self._decimated.vpush(frame)
        for place, picture in enumerate(_pulled(self._decimated)):
            picture.pts = self._start + round(
                (number + Fraction(place, CYCLE - 1)) * CYCLE * self._step
            )
            picture.time_base = self._time_base
            yield picture, origins[place]

    def _match(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            if self._matched is None:
                filters = {
                    "fieldmatch": "combmatch=full",
                    "bwdif": "mode=send_frame:deint=interlaced",
                }
                self._matched = self._graph(frame, filters)
            self._matched.vpush(frame)
            yield from self._timed(_pulled(self._matched))
        if self._matched is not None:
            self._matched.vpush(None)
            yield from self._timed(_pulled(self._matched))

    def _timed(self, pictures: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        for picture in pictures:
            if picture.pts is None or picture.time_base is None:
                raise ValueError("a frame must have its pts before its fields are matched")
            picture.pts = int(picture.pts * picture.time_base / self._time_base)
            picture.time_base = self._time_base
            yield picture

    def _graph(self, frame: VideoFrame, filters: dict[str, str]) -> Graph:
        graph = Graph()
        source = graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={self._time_base}"
            f":frame_rate={self._rate}",
        )
        nodes: list[Any] = [graph.add(name, options) for name, options in filters.items()]
        graph.link_nodes(source, *nodes, graph.add("buffersink"))
        graph.configure()
        return graph


def _pulled(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            picture = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(picture, VideoFrame):
            yield picture
