"""Reads a film's pictures with their times, in display order."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sdr2hdr.color.display import Display
from sdr2hdr.color.luma import MATRICES
from sdr2hdr.color.names import DISPLAY_PRIMARIES, TRANSFERS
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.errors import InputError
from sdr2hdr.media.appended import second_beginning
from sdr2hdr.media.changes import Changes
from sdr2hdr.media.clock import clock_time
from sdr2hdr.media.deinterlace import MODES
from sdr2hdr.media.fields import Fields, FieldTally
from sdr2hdr.media.info import SourceInfo, read_info
from sdr2hdr.media.matroska import is_whole, segments
from sdr2hdr.media.opening import demuxed, is_accelerated, opened
from sdr2hdr.media.picture import Picture, exposure_of, planar, planes_of
from sdr2hdr.media.quantiser import Quantisers
from sdr2hdr.media.trial import decoding_device

TAIL = Fraction(1, 2)
"""Seconds that may be missing at the end of a file without a warning, because containers round."""

_Packets = Iterable["Packet[VideoStream] | None"]  # None stands where something could not be read


@dataclass(frozen=True)
class Loss:
    """What could not be read.

    ``damaged`` packets; ``corrupt`` pictures among those given; times ``mended`` because they were
    missing or did not rise; seconds ``missing`` at the end, by the container's word, and in holes
    of a broadcast; whether the file is ``torn``: a Matroska file with a gap in it, or cut short,
    where pictures may be lost without a trace.
    """

    damaged: int = 0
    corrupt: int = 0
    mended: int = 0
    missing: Fraction = Fraction(0)
    torn: bool = False

    def __bool__(self) -> bool:
        """Whether any picture is lost or hurt."""
        return bool(self.damaged or self.corrupt or self.missing or self.torn)


class _DamagedError(Exception):
    """Something did not decode while several packets were being decoded at once."""


_BEGINNING = -(1 << 63)
"""Before every pts."""
_EARLY = 32
"""Pictures without a time that are held back at a film's beginning until one has a time. More would fill the memory."""


class Source:
    """An SDR video file, or, with ``hdr``, an HDR10 one (PQ) as well, or, with ``hlg`` besides, one
    in HLG.

    ``matrix`` (a key of :data:`sdr2hdr.color.luma.MATRICES`) and ``range`` (``limited``, ``full``)
    overrule the file's tags, and so do ``transfer`` and ``primaries`` of the display that it was made for
    (:mod:`sdr2hdr.color.display`) if they are not ``auto``. All times are moved so that the film begins at 0 and its clock never
    jumps (:mod:`sdr2hdr.media.clock`); ``keep_start`` leaves the beginning where it is. ``deband`` is that of the pictures.
    ``qp`` overrules what the file says of its compression (:attr:`qps`). With ``hardware`` it is decoded on a GPU that gives the
    same pictures, if there is one. With ``strict`` the first damage is an error; else it is survived and counted in
    :attr:`loss`, of the
    newest :meth:`pictures`. Raises :class:`InputError` for anything that is not an SDR video that
    decodes.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        matrix: str | None = None,
        range: str | None = None,
        transfer: str = "auto",
        primaries: str = "auto",
        strict: bool = False,
        hdr: bool = False,
        hlg: bool = False,
        keep_start: bool = False,
        deinterlace: str = "auto",
        detelecine: bool = False,
        hardware: bool = False,
        deband: str = "off",
        qp: float | None = None,
    ) -> None:
        if matrix not in {None, *MATRICES} or range not in {None, "limited", "full"}:
            raise ValueError(f"no such matrix or range: {matrix}, {range}")
        if deinterlace not in MODES:
            raise ValueError(f"no such way to deinterlace: {deinterlace}")
        if transfer not in {"auto", *TRANSFERS} or primaries not in {"auto", *DISPLAY_PRIMARIES}:
            raise ValueError(f"no such transfer or primaries: {transfer}, {primaries}")
        self.path = Path(path)
        self.loss = Loss()
        self._tally = FieldTally()
        self._may_be_combed = True
        self._qp = qp
        self._quantisers: Quantisers | None = None
        self._strict, self._deband = strict, deband
        self._device: str | None = None
        self._notes: tuple[str, ...] = ()
        self.info: SourceInfo = read_info(
            self.path, matrix, range, transfer=transfer, primaries=primaries, keep_start=keep_start
        )
        info = self.info
        self._fields = Fields(info.time_base, info.rate, info.start_pts, deinterlace, detelecine)
        self._given = matrix, range, transfer, primaries
        self._changes = Changes(info, *self._given)
        if detelecine:
            self._take_film()
        if hardware:
            self._device = decoding_device(self.path)
            if self._device is None:
                self._notes = (
                    "No hardware here decodes this film as software does, so it is decoded in software",
                )
        if self.info.hdr is not None and not hdr:
            raise InputError(
                f"{path} is HDR already ({self.info.hdr}); give the SDR master of this film instead."
            )
        if self.info.hdr not in {None, "PQ"} and not (hlg and self.info.hdr == "HLG"):
            raise InputError(
                f"{path} is {self.info.hdr}, of HDR files only those in PQ (HDR10) are read; convert it first."
            )
        if self.info.hdr is not None and self.info.primaries not in {"bt2020", "untagged"}:
            raise InputError(
                f"{path} is {self.info.hdr} in {self.info.primaries} primaries, and HDR10 is BT.2020; convert it first."
            )

    def _take_film(self) -> None:
        """From here on the film has the rate that it had before telecine."""
        fields, info = self._fields, self.info
        if not fields.is_video_rate:
            raise InputError(
                f"{self.path} has {float(info.rate):.3f} frames a second, and telecined film 29.97; leave --detelecine out."
            )
        frames = (
            None if info.frames is None else round(info.frames * fields.film_rate / fields.rate)
        )
        self.info = replace(info, rate=fields.film_rate, frames=frames)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people on what was found and done in the newest :meth:`pictures`."""
        doubts = (
            self.info.shown.doubts(
                self.info.transfer, self.info.primaries, self.info.container_display
            )
            if self.info.hdr is None
            else ()
        )
        notes = [
            *self._notes,
            *doubts,
            *(() if self.info.items is None else self.info.items.notes),
            *self.info.clock.notes,
            *self._changes.notes,
            *self._fields.notes(self._tally),
        ]
        if appended := self._appended():
            notes.append(appended)
        if mended := self.loss.mended:
            notes.append(
                f"{mended} pictures had no time of their own, or one out of order, and were given one that fits their neighbours"
            )
        return tuple(notes)

    @property
    def qps(self) -> dict[int, float]:
        """The QPs of some pictures by their pts (:mod:`sdr2hdr.media.quantiser`), of the newest :meth:`pictures` with them."""
        return {} if self._quantisers is None else self._quantisers.qps

    def _appended(self) -> str:
        """The sentence about a file joined to the end of this one; empty if there is none."""
        begin = second_beginning(self.path, self.info.container)
        if begin is None:
            return ""
        left = (self.path.stat().st_size - begin) / 1_000_000
        return (
            f"another file was joined to the source at byte {begin}: the film ends there, and {left:.1f} MB were not read"
            " (cut the file at that byte to convert the rest)"
        )

    def _is_torn(self) -> bool:
        torn = self.info.container.startswith("matroska") and (
            not is_whole(self.path) or segments(self.path) > len(self.info.clock.parts)
        )
        if torn and self._strict:
            raise InputError(
                f"{self.path} is cut short or has a gap in it; get a new copy, or leave --strict out to keep what decodes."
            )
        if self._strict and (appended := self._appended()):
            raise InputError(f"{self.path}: {appended}; leave --strict out to convert the first.")
        return torn

    @property
    def is_combed(self) -> bool:
        """Whether any of the newest :meth:`pictures` was deinterlaced."""
        return self._tally.deinterlaced > 0

    def pictures(
        self, start_pts: int | None = None, *, qps: bool = False, combed: bool = True
    ) -> Iterator[Picture]:
        """All pictures from the first one with pts >= ``start_pts`` on, in the order of their pts,
        which rises strictly.

        A picture is the same to the bit wherever reading starts. Each call opens the file anew. With ``qps`` their :attr:`qps`
        are read as well. Without ``combed`` no picture is taken for one that :attr:`is_combed`, as an earlier reading found.
        """
        self.loss = Loss(torn=start_pts is None and self._is_torn())
        self._tally = FieldTally()
        self._quantisers = Quantisers(self._qp) if qps else None
        self._changes = Changes(self.info, *self._given)
        self._may_be_combed = combed
        begin = first = _BEGINNING if start_pts is None else start_pts
        # an error in one of several threads hides pictures that were ready beside it: go on from there with one; and hardware
        # that fails is no damage of the film
        for device in dict.fromkeys((self._device, None)):
            try:
                for picture in self._run(begin, first, device, threads=True):
                    first = picture.pts + 1
                    yield picture
                return
            except _DamagedError:
                continue
        yield from self._run(begin, first, None, threads=False)

    def _run(self, begin: int, first: int, device: str | None, threads: bool) -> Iterator[Picture]:
        """Pictures from ``first`` on; damage counts from ``begin`` on."""
        clock = self.info.clock
        back = first - self._fields.reach
        if clock.is_steady and first > _BEGINNING:
            with self._opened(device) as (container, stream):
                moved = round(clock.moved / self.info.time_base)
                packets = _packets_before(container, stream, back - moved)
                if packets is not None:
                    yield from self._read(stream, self._retimed(packets), begin, first, threads)
                    return
        with self._opened(device) as (container, stream):
            packets = self._retimed(_packets(demuxed(container, stream)))
            if not clock.is_steady:
                packets = _passed_to(packets, back)
            yield from self._read(stream, packets, begin, first, threads)

    @contextmanager
    def _opened(self, device: str | None) -> Iterator[tuple[InputContainer, VideoStream]]:
        with ExitStack() as held:
            try:
                yield held.enter_context(opened(self.path, device))
            except (av.FFmpegError, OSError) as e:
                if device is None:
                    raise
                raise _DamagedError from e

    def _retimed(self, packets: _Packets) -> _Packets:
        retimer = self.info.clock.retimer()
        if self.info.has_companions:
            packets = islice(packets, 1)
        for packet in packets:
            if packet is not None:
                retimer.picture(packet)
            yield packet

    def _read(
        self, stream: VideoStream, packets: _Packets, begin: int, first: int, threads: bool
    ) -> Iterator[Picture]:
        stream.thread_type = "AUTO"
        on_device = is_accelerated(stream)
        if on_device or not threads:
            stream.codec_context.thread_count = 1
        info = self.info
        times = _Times(info, self._fields.rate)
        changes = self._changes
        changes.begin(stream.codec_context)
        # by pts: the frame, whether its time was mended, its layout and display
        decoded: dict[int, tuple[VideoFrame, bool, YuvLayout, Display]] = {}

        def timed() -> Iterator[VideoFrame]:
            seen: _Packets = changes.watched(packets)
            if self._quantisers is not None:
                seen = self._quantisers.watched(seen, stream)
            frames = self._decode(stream, seen, begin, threads)
            if stream.start_time is not None:
                frames = times.counted_back(frames)
            # a device gives NV12 or P010, which is its way to hold the same samples
            for frame in map(planar, frames) if on_device else frames:
                pts, mended = times.read(frame)
                decoded[pts] = frame, mended, *changes.colour(frame, pts)
                flat = planar(frame)
                flat.pts, flat.time_base = pts, info.time_base
                yield flat

        # a broadcast's times are regular, and a hole in them is often all that a lost stretch leaves behind
        regular = info.is_broadcast
        end: int | None = None
        for flat, origin in self._fields.made(
            timed(), first, self._tally, combed=self._may_be_combed
        ):
            pts = flat.pts or 0
            frame, mended, layout, display = decoded[origin]
            for passed in [each for each in decoded if each <= origin]:
                del decoded[passed]
            if pts < first:
                continue
            if frame.is_corrupt:
                self._lose(pts, corrupt=1)
            self.loss = replace(self.loss, mended=self.loss.mended + mended)
            if regular and end is not None and pts - end >= times.step:
                self._lose(end, missing=(pts - end) * info.time_base)
            end = pts + times.step
            yield Picture(
                pts,
                None if self._fields.detelecine else frame.duration or None,
                planes_of(flat),
                layout,
                info.turn,
                display,
                info.hdr == "HLG",
                exposure_of(frame),
                self._deband,
            )
        if info.duration is not None:
            missing = (info.start_pts + info.duration - times.end) * info.time_base
            if missing > TAIL:
                self._lose(times.end, missing=missing)

    def _decode(
        self, stream: VideoStream, packets: _Packets, begin: int, threads: bool
    ) -> Iterator[VideoFrame]:
        """Frames as the decoder gives them; what does not decode is left out and counted."""
        codec = stream.codec_context
        for packet in packets:
            frames: list[VideoFrame] = []
            whole = packet is not None and not packet.is_corrupt
            if packet is not None:
                try:
                    frames = codec.decode(packet)
                except av.FFmpegError:
                    whole = False
            if not whole:
                self._damage(None if packet is None else packet.pts, begin, threads)
            yield from frames
        try:
            frames = codec.decode(None)
        except av.EOFError:
            return
        except av.FFmpegError:
            self._damage(None, begin, threads)
            return
        yield from frames

    def _damage(self, at: int | None, begin: int, threads: bool) -> None:
        if threads:
            raise _DamagedError
        if at is None or at >= begin:
            self._lose(at, damaged=1)

    def _lose(
        self, at: int | None, *, damaged: int = 0, corrupt: int = 0, missing: Fraction = Fraction(0)
    ) -> None:
        """Count a loss at this pts; raises :class:`InputError` with ``strict``."""
        loss = self.loss
        self.loss = replace(
            loss,
            damaged=loss.damaged + damaged,
            corrupt=loss.corrupt + corrupt,
            missing=loss.missing + missing,
        )
        if self._strict:
            where = (
                ""
                if at is None
                else f" at {clock_time((at - self.info.start_pts) * self.info.time_base)}"
            )
            what = "lacks pictures" if missing else "is damaged"
            raise InputError(
                f"{self.path} {what}{where}; get a new copy, or leave --strict out to keep what decodes."
            )


class _Times:
    """Gives every frame a pts, in the time base of the stream, that rises strictly."""

    def __init__(self, info: SourceInfo, rate: Fraction) -> None:
        self.step = max(1, round(1 / (rate * info.time_base)))
        self._start = info.start_pts
        # AVI stores no presentation times: what its packets have for pts counts packets, in decoding order
        self._by_packets = info.container == "avi"
        self._last: int | None = None
        self.end = info.start_pts
        """When the last frame ends."""

    def _own(self, frame: VideoFrame) -> int | None:
        return frame.dts if self._by_packets or frame.pts is None else frame.pts

    def counted_back(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """The frames. Those at the beginning that have no time get theirs from the first that has one."""
        early = list[VideoFrame]()
        for frame in frames:
            early.append(frame)
            first = self._own(frame)
            if first is not None:
                self._start = first - sum(each.duration or self.step for each in early[:-1])
                break
            if len(early) == _EARLY:
                break
        yield from early
        yield from frames

    def read(self, frame: VideoFrame) -> tuple[int, bool]:
        """The frame's pts, and whether it had none or one that does not rise and was mended by as
        little as possible.
        """
        pts = self._own(frame)
        mended = pts is None
        if pts is None:
            pts = self._start if self._last is None else self.end
        if self._last is not None and pts <= self._last:
            pts, mended = self._last + 1, True
        self._last = pts
        self.end = pts + (frame.duration or self.step)
        return pts, mended


def _packets(demuxed: "Iterator[Packet[VideoStream]]") -> Iterator["Packet[VideoStream] | None"]:
    """All packets; None in place of what the demuxer could not read."""
    while True:
        try:
            packet = next(demuxed, None)
        except av.FFmpegError:
            yield None
            return
        if packet is None:
            return
        if packet.size:  # PyAV ends with an empty one to flush the decoder
            yield packet


def _packets_before(container: InputContainer, stream: VideoStream, first: int) -> _Packets | None:
    """The packets from a keyframe on from which everything at ``first`` and after decodes as it
    does from the start.

    That is not the last keyframe before: pictures that follow an open GOP's keyframe in the file
    but precede it in time need the GOP before, H.264 with periodic refresh heals only by the next
    keyframe, and deinterlacing looks a picture back. So one whole keyframe's distance lies in
    between. None where only the start will do.
    """
    time_base = stream.time_base or Fraction(1, 1000)
    begin = stream.start_time or 0
    if "avi" in container.format.name:
        return None
    back = 1
    while (target := first - round(back / time_base)) > begin:
        try:
            container.seek(target, stream=stream)
            packets = demuxed(container, stream)
            held: list[Packet[VideoStream]] = []
            keys = 0
            for packet in packets:
                if packet.pts is None:
                    return None
                keys += packet.is_keyframe and packet.pts < first
                if keys:
                    held.append(packet)
                if keys == 2:
                    return chain(held, _packets(packets))
                if packet.dts is not None and packet.dts > first:
                    break
        except av.FFmpegError:
            return None
        back *= 4
    return None


def _passed_to(packets: _Packets, first: int) -> _Packets:
    """What :func:`_packets_before` gives, of packets that begin at the start of the file and whose
    times rise.
    """
    held: deque[list[Packet[VideoStream] | None]] = deque([[]], maxlen=2)
    coming = iter(packets)
    for packet in coming:
        is_key = packet is not None and packet.is_keyframe and packet.pts is not None
        if packet is not None and packet.pts is not None and is_key:
            if packet.pts >= first:
                return chain(*held, [packet], coming)
            held.append([])
        held[-1].append(packet)
    return chain(*held)
