"""Carriers move the other streams from the source into the file: copied, unwrapped, or encoded.

A carrier takes the source's packets and returns packets for the muxer. Times are the source's own, moved by an offset and
rounded to the target's steps one by one: nothing adds up over a film.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol, cast

import av.error
from av import Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from sdr2hdr.media.cues import CueTally
from sdr2hdr.media.fate import CONVERTED, COPIED, Fate
from sdr2hdr.media.heard import AudioTally, decoded
from sdr2hdr.media.latm import LatmError, LatmReader
from sdr2hdr.media.sound_convert import SoundConverter
from sdr2hdr.media.sound_start import SoundStart, skipped
from sdr2hdr.media.sound_track import EAC3, add_track
from sdr2hdr.media.subtitles import TextConverter, known_length, longest


class Carrier(Protocol):
    """Carries one stream; ``stream`` is the one written."""

    stream: Stream

    @property
    def tally(self) -> AudioTally | CueTally:
        """What is to be heard or seen of it."""
        ...

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "Iterator[Packet[Stream]]":
        """The packets that are ready once ``packet`` of the source, ``shift`` seconds later than it says, is known.

        Raises FFmpegError and ValueError for a packet so damaged that it cannot be carried.
        """
        ...

    def written(self) -> None:
        """Is told when the newest packet given has been muxed."""

    def flush(self) -> "Iterator[Packet[Stream]]":
        """The packets still to come after the last one of the source."""
        ...


class _Times:
    """Gives packets of one stream times in the target's steps that its muxer takes."""

    def __init__(self, target: Stream, container: str) -> None:
        self._target = target
        self._least = (
            0 if container == "mkv" else 1
        )  # steps between two packets: MP4 knows no equal times
        self._last: int | None = None
        self._end = Fraction(0)

    def set(self, packet: "Packet[Stream]", when: Fraction | None, length: Fraction) -> None:
        """``when`` in seconds; None puts the packet where the last one ended. Times that go back become the last one's."""
        when = self._end if when is None else when
        step = cast(Fraction, self._target.time_base)
        time = nearest(when / step)
        if self._last is not None:
            time = max(time, self._last + self._least)
        packet.time_base = step
        packet.pts = packet.dts = self._last = time
        packet.duration = nearest(length / step)
        packet.stream = self._target
        self._end = when + length


def nearest(value: Fraction) -> int:
    """Rounded to the nearest whole number, halves away from 0: as FFmpeg rounds the delay that it adds in Matroska."""
    return int(value + Fraction(1, 2)) if value >= 0 else -int(Fraction(1, 2) - value)


def _time(packet: "Packet[Stream]", shift: Fraction) -> Fraction | None:
    time = packet.pts if packet.pts is not None else packet.dts
    return None if time is None else time * packet.time_base + shift


class SoundCopy:
    """Sound whose packets go over bit for bit, or, with ``config``, are unwrapped from LATM."""

    def __init__(
        self,
        source: AudioStream,
        out: OutputContainer,
        container: str,
        fate: Fate,
        moved: Fraction,
        shift: Fraction,
    ) -> None:
        self.stream = add_track(out, source, fate.form)
        self._context = source.codec_context
        start = cast(SoundStart, fate.start)
        self._latm = LatmReader() if fate.form.config else None
        self._config = fate.form.config
        self.rate = self._context.sample_rate
        # When the first packet starts: on the clock of the packets that come, and in the file written.
        self._first = (
            None if start.first is None else start.first * cast(Fraction, source.time_base) + moved
        )
        heard = start.heard + moved + shift
        self._from = heard - Fraction(fate.form.hidden, self.rate)
        self.late_hidden = 0
        """Samples to be hidden that MP4's muxer does not hide, since they do not start before 0."""
        slack = 0
        if container != "mkv" and fate.form.hidden and heard > 0:
            if self._from >= 0:
                self.late_hidden = fate.form.hidden
            else:  # its muxer would write the rest of them as sound: begin with what is heard
                self._first = None
                slack = fate.form.hidden
        self._times = _Times(self.stream, container)
        self._length = Fraction(0)
        self._begun = False
        self._any = False
        if self._latm:
            self.tally = AudioTally("aac")
        elif fate.form.codec == EAC3:
            self.tally = AudioTally("eac3", slack=slack)
        else:
            self.tally = AudioTally.of(source, slack=slack)
        self._newest: tuple[bytes, list[av.AudioFrame], Fraction, int] | None = None

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "Iterator[Packet[Stream]]":
        when = _time(packet, shift)
        frames = decoded(self._context, packet)
        if not packet.is_discard:  # an edit hides it
            self.tally.listen(frames, _time(packet, Fraction(0)))
        # Where the source does not say how long a packet is, its samples do: MP4 plays no last packet without a length.
        length = (packet.duration or 0) * packet.time_base or sum(
            Fraction(f.samples, f.sample_rate) for f in frames
        )
        self._length = length = length or self._length
        if packet.is_discard and (self._begun or not self._is_needed(packet)):
            return
        self._begun = self._begun or not packet.is_discard
        padding = skipped(packet)[1]
        parts = [packet] if self._latm is None else self._unwrapped(bytes(packet))
        for number, part in enumerate(parts):
            each = length / len(parts)
            start = None if when is None else when + number * each
            if not self._any and self._first is not None:
                start = self._from
            self._times.set(part, start, each)
            self._any = True
            self._newest = bytes(part), frames if number == 0 else [], shift, padding
            yield part

    def _is_needed(self, packet: "Packet[Stream]") -> bool:
        """Whether a packet before the sound that is heard is written, for the decoder's sake."""
        time = _time(packet, Fraction(0))
        return (
            self._first is not None
            and time is not None
            and time >= self._first - packet.time_base / 2
        )

    def _unwrapped(self, data: bytes) -> "list[Packet[Stream]]":
        reader = cast(LatmReader, self._latm)
        frames = reader.frames(data)
        if frames and reader.config != self._config:
            raise LatmError("the configuration changes midway")
        parts: list[Packet[Stream]] = []
        for frame in frames:
            parts.append(Packet(frame))
            parts[-1].is_keyframe = True
        return parts

    def written(self) -> None:
        if self._newest is not None:
            data, frames, shift, padding = self._newest
            self.tally.add(data)
            self.tally.hear(frames, float(shift), padding)
            self._newest = None

    def flush(self) -> "Iterator[Packet[Stream]]":
        self.tally.hear(decoded(self._context, None))
        return iter(())


class SoundConversion:
    """Sound that is decoded and encoded to another codec."""

    def __init__(self, source: AudioStream, out: OutputContainer, codec: str) -> None:
        self._context = source.codec_context
        self._converter = SoundConverter(source, out, codec)
        self.stream: Stream = self._converter.stream
        self.tally = self._converter.tally
        self._shift = Fraction(0)

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "Iterator[Packet[Stream]]":
        self._shift = shift
        frames = decoded(self._context, packet)
        if not packet.is_discard:  # an edit hides it
            self.tally.listen(frames, _time(packet, Fraction(0)))
        yield from self._converter.convert(frames, shift)

    def written(self) -> None:
        """The converter counts what it encodes."""

    def flush(self) -> "Iterator[Packet[Stream]]":
        yield from self._converter.convert(decoded(self._context, None), self._shift)
        yield from self._converter.flush()


class SubtitleCopy:
    """Subtitles whose packets go over as they are.

    In MP4 every sample has a length, and the last one is not shown without: there a packet that does not say its own waits for
    the next one.
    """

    def __init__(self, source: Stream, out: OutputContainer, container: str, end: Fraction) -> None:
        self.stream = out.add_stream_from_template(source, opaque=True)
        self.tally = CueTally.of(source)
        self._end = end  # of the film
        self._times = _Times(self.stream, container)
        self._needs_length = container != "mkv"
        self._waiting: tuple[Packet[Stream], Fraction] | None = None
        self._newest: tuple[bytes, Fraction, Fraction] | None = None

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "Iterator[Packet[Stream]]":
        if packet.is_discard:
            return
        when = _time(packet, shift)
        length = known_length((packet.duration or 0) * packet.time_base)
        yield from self._released(when)
        if self._needs_length and when is not None and not length:
            self._waiting = packet, when
        else:
            yield self._timed(packet, when, length)

    def _released(self, until: Fraction | None) -> "Iterator[Packet[Stream]]":
        if self._waiting is not None:
            packet, when = self._waiting
            self._waiting = None
            length = longest(when, self._end) if until is None else max(until - when, Fraction(0))
            yield self._timed(packet, when, length)

    def _timed(
        self, packet: "Packet[Stream]", when: Fraction | None, length: Fraction
    ) -> "Packet[Stream]":
        self._times.set(packet, when, length)
        self._newest = None if when is None else (bytes(packet), when, when + length)
        return packet

    def written(self) -> None:
        if self._newest is not None:
            self.tally.add(*self._newest)
            self._newest = None

    def flush(self) -> "Iterator[Packet[Stream]]":
        yield from self._released(None)


def carrier(
    source: Stream,
    out: OutputContainer,
    container: str,
    fate: Fate,
    moved: Fraction,
    shift: Fraction,
    end: Fraction,
) -> Carrier:
    """The carrier for a stream that is copied, unwrapped or converted.

    Its packets come ``moved`` seconds later than the source says, and are written ``shift`` seconds later still. The film
    written ends at ``end``, in seconds.
    """
    if source.type == "audio":
        sound = cast(AudioStream, source)
        if fate.how == CONVERTED:
            return SoundConversion(sound, out, fate.codec)
        return SoundCopy(sound, out, container, fate, moved, shift)
    if fate.how == COPIED:
        return SubtitleCopy(source, out, container, end)
    return TextConverter(cast(SubtitleStream, source), out, container, end)
