"""The clock of a file: its start, its jumps, and their correction.

A broadcast's clock stands anywhere when a recording begins, wraps after 26.5 hours (33 bits at 90 kHz, ISO/IEC 13818-1
2.4.3.7), and begins anew where another programme starts or where two recordings were joined. Everything after such a jump
is moved by one offset, so that its picture follows the picture before it and its sound stays with its picture.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from sdr2hdr.media.matroska import is_whole, segments
from sdr2hdr.media.opening import demuxed, is_cover, opened
from sdr2hdr.media.programmes import of_other_programmes

PAUSE = Fraction(60)
"""Seconds. A pause of up to a minute is one: it is kept. A longer step forward, or a film that
begins later than this, is a clock.
"""
REORDERED = Fraction(1)
"""Seconds that display times may go back because of reordering: 16 frames of 16 a second."""
WRAP = Fraction(2**33, 90_000)
"""Seconds after which the clock of a transport or program stream wraps."""
_MIXED = Fraction(3)  # seconds before and after a join in which packets of both parts may come
_LOOK_AHEAD = 3  # packets that say whether the clock has jumped or one time stamp is wrong
_DISCONTINUOUS = 0x0200  # AVFMT_TS_DISCONT: the format allows its clock to jump


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a file on one clock.

    ``packet`` numbers the first packet of its picture in the file. ``start`` and ``end`` of its
    picture are seconds on its own clock; ``moved`` seconds are added to all its times.
    """

    packet: int
    start: Fraction
    end: Fraction
    moved: Fraction


@dataclass(frozen=True, slots=True)
class Clock:
    """The parts of a file in order, and the numbers of those packets of the picture whose times are
    wrong.
    """

    parts: tuple[Part, ...]
    wrong: frozenset[int] = frozenset()
    wraps: bool = False
    """Whether it has 33 bits. FFmpeg takes a time a minute before the first one for one after the wrap."""

    @property
    def is_steady(self) -> bool:
        """Whether one offset holds for the whole file, so that it can be sought in by time."""
        return len(self.parts) == 1 and not self.wrong

    @property
    def moved(self) -> Fraction:
        """Seconds added to the times at the beginning of the file."""
        return self.parts[0].moved

    @property
    def seconds(self) -> Fraction:
        """How long the picture lasts, jumps repaired."""
        first, last = self.parts[0], self.parts[-1]
        return last.end + last.moved - first.start - first.moved

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people on what was moved."""
        notes = []
        if self.moved < 0:
            notes.append(
                f"the clock of the source begins at {clock_time(-self.moved)}; all streams were moved to begin at 0"
                " (--keep-start keeps their times)"
            )
        for before, after in zip(self.parts, self.parts[1:], strict=False):
            step = after.start - before.end
            if self.wraps and step > WRAP / 2:
                step -= WRAP
            way = "back" if step < 0 else "forward"
            notes.append(
                f"the clock of the source jumps {way} by {clock_time(abs(step))} at {clock_time(after.start + after.moved)}"
                " of the film; all streams after it were moved to follow without a gap"
            )
        return tuple(notes)

    def retimer(self) -> "Retimer":
        """What moves the packets of the file, read from its start."""
        return Retimer(self)

    def demuxed(
        self, file: InputContainer, picture: Stream, wanted: Sequence[Stream]
    ) -> "Iterator[Packet[Stream]]":
        """The packets of the streams ``wanted``, moved; the picture's are read as well where they
        tell the parts apart.

        Where two parts meet, sound and subtitles that lie beyond the picture of their own part are
        left out: there the other part's are heard and seen.
        """
        retimer = self.retimer()
        streams = (
            [*wanted] if self.is_steady else [*{s.index: s for s in (*wanted, picture)}.values()]
        )
        asked = {stream.index for stream in wanted}
        for packet in demuxed(file, *streams):
            if packet.stream_index == picture.index:
                retimer.picture(packet)
                kept = True
            else:
                kept = retimer.other(packet)
            if kept and packet.stream_index in asked:
                yield packet


STEADY = Clock((Part(0, Fraction(0), Fraction(0), Fraction(0)),))
"""Of a file whose times are right as they are."""


class Retimer:
    """Moves the packets of a file, which must come in the file's order from its start, unless its
    time line is steady.
    """

    def __init__(self, clock: Clock) -> None:
        self._parts, self._wrong = clock.parts, clock.wrong
        self._packet = 0  # how many packets of the picture have come
        self._part = 0
        self._now = clock.parts[0].start  # the clock of the picture
        self._steady = clock.is_steady

    def picture(self, packet: "Packet[VideoStream] | Packet[Stream]") -> None:
        """Moves a packet of the picture; a time that is wrong is taken away."""
        if not packet.size:
            return
        if not self._steady:
            if self._packet in self._wrong:
                packet.pts = packet.dts = None
            while (
                self._part + 1 < len(self._parts)
                and self._packet >= self._parts[self._part + 1].packet
            ):
                self._part += 1
            self._packet += 1
            if (time := _seconds(packet)) is not None:
                self._now = time
        _move(packet, self._parts[self._part].moved)

    def other(self, packet: "Packet[Stream]") -> bool:
        """Moves a packet of another stream; False for one that lies beyond the picture of its part,
        at a join.
        """
        time = _seconds(packet)
        if self._steady or time is None:
            _move(packet, self._parts[self._part].moved)
            return True
        number = self._nearest(time)
        part = self._parts[number]
        middle = time
        if packet.stream.type == "audio":
            middle += Fraction(packet.duration or 0) * packet.time_base / 2
        _move(packet, part.moved)
        first, last = number == 0, number == len(self._parts) - 1
        return (first or middle >= part.start) and (last or middle < part.end)

    def _nearest(self, time: Fraction) -> int:
        """The part whose clock is nearest: at a join, packets of both parts come mixed."""
        here, now, parts = self._part, self._now, self._parts
        near = min(_MIXED, (parts[here].end - parts[here].start) / 4)
        clocks = {here: now}
        if here and now - parts[here].start < near:
            clocks[here - 1] = parts[here - 1].end
        if here + 1 < len(parts) and parts[here].end - now < near:
            clocks[here + 1] = parts[here + 1].start
        return min(clocks, key=lambda number: (abs(time - clocks[number]), abs(number - here)))


def read_clock(
    container: InputContainer, stream: VideoStream, path: Path, *, keep_start: bool = False
) -> Clock:
    """The time line of an open file; where its clock may jump, the file is read to its end for
    that.

    With ``keep_start`` the file is not moved to begin at 0. Raises InputError.
    """
    time_base = stream.time_base or Fraction(1, 1000)
    broadcast = bool(container.format.flags & _DISCONTINUOUS)
    times = [
        s.start_time * s.time_base
        for s in _timed(container, stream, path)
        if s.start_time is not None and s.time_base
    ]
    start = min(times, default=Fraction(0))
    moves = not keep_start and (start > PAUSE or (broadcast and start > 0))
    moved = -(start // time_base) * time_base if moves else Fraction(0)
    if broadcast or (
        "matroska" in container.format.name and (segments(path) > 1 or not is_whole(path))
    ):
        status = path.stat()
        parts, wrong = _scanned(path, status.st_size, status.st_mtime_ns, broadcast)
        wraps = container.format.name in ("mpeg", "mpegts")
        return Clock(tuple(replace(part, moved=part.moved + moved) for part in parts), wrong, wraps)
    begin = (stream.start_time or 0) * time_base
    return Clock((Part(0, begin, begin + (stream.duration or 0) * time_base, moved),))


def _timed(container: InputContainer, picture: VideoStream, path: Path) -> list[Stream]:
    """The streams that a film begins with: its pictures and sounds."""
    others = of_other_programmes(container, path, picture)
    streams = [*container.streams.audio, *(s for s in container.streams.video if not is_cover(s))]
    return [stream for stream in streams if stream.index not in others]


@cache
def _scanned(
    path: Path, _size: int, _changed_ns: int, by_decoding: bool
) -> tuple[tuple[Part, ...], frozenset[int]]:
    """The parts as the packets of the picture tell them, by decode times or else by display times,
    and the packets with wrong times.

    The first part is not moved. A file that did not change is read once.
    """
    shown, keys, lengths = array("q"), array("q"), array("q")
    last: int | None = None
    untimed = 0  # packets before the first time
    with opened(path) as (container, stream):
        time_base = stream.time_base or Fraction(1, 1000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        try:
            for packet in demuxed(container, stream):
                if packet.size:
                    pts = packet.pts if packet.pts is not None else packet.dts
                    key = packet.dts if by_decoding and packet.dts is not None else pts
                    last = (
                        last if key is None else key
                    )  # a packet without a time belongs where the one before it does
                    untimed += last is None
                    keys.append(last or 0)
                    shown.append((last or 0) if pts is None else pts)
                    lengths.append(packet.duration or 0)
        except av.FFmpegError:
            pass  # what cannot be read has no times
    if untimed < len(keys):
        keys[:untimed] = array("q", [keys[untimed]] * untimed)
        shown[:untimed] = array("q", [shown[untimed]] * untimed)
    if not keys:
        return (Part(0, Fraction(0), Fraction(0), Fraction(0)),), frozenset()
    back = 0 if by_decoding else REORDERED / time_base
    firsts, wrong = _jumps(keys, back, PAUSE / time_base)
    step = max(1, round(1 / (rate * time_base)))
    parts: list[Part] = []
    moved = Fraction(0)
    for first, end in zip(firsts, (*firsts[1:], len(keys)), strict=True):
        inside = [n for n in range(first, end) if n not in wrong]
        begin = min(shown[n] for n in inside) * time_base
        ending = max(shown[n] + (lengths[n] or step) for n in inside) * time_base
        if parts:
            moved += parts[-1].end - begin
        parts.append(Part(first, begin, ending, moved))
    return tuple(parts), frozenset(wrong)


def _jumps(keys: "array[int]", back: Fraction | int, ahead: Fraction) -> tuple[list[int], set[int]]:
    """The numbers of the packets at which a clock begins, and of those whose time alone is wrong.

    ``back`` is how far a time may lie before the latest one, ``ahead`` how far after it.
    """
    firsts, wrong = [0], set[int]()
    last = keys[0]

    def follows(after: int, before: int) -> bool:
        return (
            -back <= after - before <= ahead
        )  # a packet without a time has that of the one before

    for number in range(1, len(keys)):
        key = keys[number]
        if follows(key, last):
            last = max(last, key)
            continue
        coming = keys[number + 1 : number + 1 + _LOOK_AHEAD]
        if not coming or any(follows(k, last) and not follows(k, key) for k in coming):
            wrong.add(number)
        elif key > last or not follows(
            coming[0], last
        ):  # else a time out of order, which is past with the next
            firsts.append(number)
            last = key
    return firsts, wrong


def _seconds(packet: "Packet[VideoStream] | Packet[Stream]") -> Fraction | None:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return None if ticks is None else ticks * packet.time_base


def _move(packet: "Packet[VideoStream] | Packet[Stream]", seconds: Fraction) -> None:
    if seconds and packet.size:
        ticks = round(seconds / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks


def clock_time(seconds: Fraction) -> str:
    """Seconds as hours, minutes, seconds and milliseconds: ``0:12:00.040``."""
    sign, thousandths = "-" if seconds < 0 else "", round(abs(seconds) * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"
