"""Converts text subtitles if the output container requires its own codec."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

from av import Packet
from av.codec.codec import Properties
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from sdr2hdr.media.cues import CueTally

TEXT_CODEC = {"mkv": "subrip", "mp4": "mov_text", "mov": "mov_text"}

_READ = Fraction(5)  # seconds for which a cue without an end is shown, unless another comes before
_STEP = Fraction(1, 1000)  # of all times in here
_ENDLESS = 2**31 * _STEP  # from here on FFmpeg means that no end is known


@dataclass(frozen=True, slots=True)
class _Cue:
    start: int
    end: int
    text: bytes  # the Text field of an ASS event
    is_open: bool = False  # no end is known


def known_length(seconds: Fraction) -> Fraction:
    """How long a cue is shown; 0 if its packet does not say."""
    return seconds if 0 < seconds < _ENDLESS else Fraction(0)


def longest(start: Fraction, end: Fraction) -> Fraction:
    """How long a cue without an end is shown if none follows it: no longer than the film, which ends at ``end``, unless it
    begins later."""
    return min(_READ, end - start) if start < end else _READ


def is_text(stream: Stream) -> bool:
    """Whether a subtitle stream holds text, not pictures."""
    # PyAV's stub of Codec lacks ``properties``.
    return bool(
        getattr(stream.codec_context.codec, "properties", 0) & cast(int, Properties.TEXT_SUB.value)
    )


class TextConverter:
    """Turns the packets of one text subtitle stream into packets of ``target``'s own text codec.

    MP4's timed text shows one sample at a time, so there cues that overlap are cut into spans that each show all the text
    of their time; styles beyond what the codec knows are lost.
    """

    def __init__(
        self, source: SubtitleStream, out: OutputContainer, container: str, end: Fraction
    ) -> None:
        self._film_end = end
        self._decoder: SubtitleCodecContext = source.codec_context
        self._decoder.open(strict=False)
        encoder = cast(SubtitleStream, out.add_stream(TEXT_CODEC[container]))
        encoder.codec_context.subtitle_header = self._decoder.subtitle_header
        encoder.codec_context.time_base = _STEP
        encoder.time_base = _STEP
        self._encoder: SubtitleCodecContext = encoder.codec_context
        self.stream: Stream = encoder
        self.tally = CueTally()
        self._one_at_a_time = container != "mkv"
        self._open: list[_Cue] = []  # cues whose last span is not written yet
        self._from = 0  # where that span starts

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "Iterator[Packet[Stream]]":
        """The packets that are ready once ``packet`` of the source is known; ``shift`` in seconds is added to times."""
        cue = (
            None
            if packet.is_discard
            else self._decode(cast("Packet[SubtitleStream]", packet), shift)
        )
        if cue is None:
            return
        self.tally.add(cue.text, cue.start * _STEP, cue.end * _STEP)
        if not self._one_at_a_time:
            yield self._encode(cue)
            return
        self._open = [
            replace(each, end=min(each.end, cue.start))
            if each.is_open and each.start < cue.start
            else each
            for each in self._open
        ]
        for span in self._spans(cue.start):
            yield self._encode(span)
        self._open.append(cue)
        self._from = max(self._from, cue.start)

    def written(self) -> None:
        """Cues are counted when they are read."""

    def flush(self) -> "Iterator[Packet[Stream]]":
        """The packets still to come after the last one of the source."""
        for span in self._spans(None):
            yield self._encode(span)

    def _decode(self, packet: "Packet[SubtitleStream]", shift: Fraction) -> _Cue | None:
        decoded = self._decoder.decode2(packet)
        if decoded is None or packet.pts is None or packet.time_base is None:
            return None
        # An event is "ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text".
        events = (
            rect.ass.split(b",", 8) for rect in decoded.rects if isinstance(rect, AssSubtitle)
        )
        text = b"\\N".join(event[8] for event in events if len(event) == 9 and event[8].strip())
        if not text:
            return None
        start = round((packet.pts * packet.time_base + shift) / _STEP)
        length = known_length(
            packet.duration * packet.time_base
            if packet.duration
            else decoded.end_display_time * _STEP
        )
        # A cue without an end stands until the next one, but no longer than a reader needs.
        shown = length or longest(start * _STEP, self._film_end)
        return _Cue(start, start + round(shown / _STEP), text, is_open=not length)

    def _spans(self, until: int | None) -> Iterator[_Cue]:
        while self._open and (until is None or self._from < until):
            end = min(cue.end for cue in self._open)
            end = end if until is None else min(end, until)
            if end > self._from:
                yield _Cue(self._from, end, b"\\N".join(cue.text for cue in self._open))
                self._from = end
            self._open = [cue for cue in self._open if cue.end > self._from]

    def _encode(self, cue: _Cue) -> "Packet[Stream]":
        event = b"0,0,Default,,0,0,0,," + cue.text
        packet = self._encoder.encode_subtitle(SubtitleSet.create(event, 0, cue.end - cue.start))
        packet.pts = packet.dts = cue.start
        packet.duration, packet.time_base = cue.end - cue.start, _STEP
        packet.is_keyframe = True
        packet.stream = self.stream
        return packet
