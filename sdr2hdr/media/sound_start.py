"""The start of each sound of a source: its first packets, and the decoded samples that are not heard.

An encoder's priming and what a trimmed clip cut away lie before the first sample that is heard. The container says so (the
edit list of ISO/IEC 14496-12 8.6.6, CodecDelay of RFC 9559 5.1.4.1.25); FFmpeg passes it on as packets flagged to be
discarded and as a number of samples to skip.
"""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from fractions import Fraction

import av.error
from av import Packet
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream

from sdr2hdr.media.opening import demuxed

PRIMING = Fraction(1, 10)
"""Seconds before the first sample heard that may be an encoder's priming; more than that was cut away."""
_OPUS_PREROLL = Fraction(80, 1000)  # RFC 7845 4.6
_WHOLE_FRAMES = (
    "pcm_",
    "adpcm_",
    "flac",
    "alac",
    "wavpack",
    "tta",
)  # no frame needs the one before
_TRIED = 3  # packets of a stream that a muxer is tried with


@dataclass(frozen=True, slots=True)
class SoundStart:
    """The beginning of one sound stream.

    ``first``: pts of the first packet to write, in the stream's time base; None where no time is known. ``hidden``: samples
    decoded from there on before the first that is heard. ``heard``: seconds at which that one is heard. ``packets``: copies
    of the first packets that are heard.
    """

    first: int | None
    hidden: int
    heard: Fraction
    packets: tuple[bytes, ...]


def skipped(packet: "Packet[Stream]") -> tuple[int, int]:
    """Samples to skip at the start and at the end of what a packet decodes to."""
    if not packet.has_sidedata("skip_samples"):
        return 0, 0
    data = bytes(packet.get_sidedata("skip_samples"))
    return int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")


class _Begin:
    """One stream while its first packets are read."""

    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream
        self._hidden: deque[int] = deque(maxlen=64)  # pts of packets that are not heard
        self._skip = 0
        self._start: int | None = None
        self._heard_from: int | None = None
        self._packets: list[bytes] = []

    def add(self, packet: "Packet[Stream]") -> bool:
        """Takes the next packet; True once enough is known."""
        if self._start is None:
            self._start = packet.pts
            self._skip = skipped(packet)[0]
        if packet.is_discard and not self._packets:
            if packet.pts is not None:
                self._hidden.append(packet.pts)
            return False
        if not self._packets:
            self._heard_from = packet.pts
        self._packets.append(bytes(packet))
        return len(self._packets) == _TRIED

    def found(self) -> SoundStart | None:
        if not self._packets:
            return None
        if self._start is None or self._heard_from is None:
            return SoundStart(None, 0, Fraction(0), tuple(self._packets))
        unit = self._stream.time_base or Fraction(1, 1000)
        rate = self._stream.codec_context.sample_rate or 1
        kept = self._kept(unit, Fraction(self._skip, rate))
        first = kept[0] if kept else self._heard_from
        heard = self._start * unit + Fraction(self._skip, rate)
        if unit > Fraction(1, rate):
            heard = (
                round(heard / unit) * unit
            )  # in time steps coarser than a sample the sum is off by a part of one
        hidden = max(0, self._skip - round((first - self._start) * unit * rate))
        return SoundStart(first, hidden, heard, tuple(self._packets))

    def _kept(self, unit: Fraction, hidden: Fraction) -> list[int]:
        """The pts of the packets not heard that are written all the same."""
        before = list(self._hidden)
        name = self._stream.codec_context.codec.canonical_name
        if name.startswith(_WHOLE_FRAMES):
            return []
        if hidden <= PRIMING:
            return before
        if name == "opus" and self._heard_from is not None:
            return [pts for pts in before if (self._heard_from - pts) * unit <= _OPUS_PREROLL]
        return before[-1:]


def find_starts(file: InputContainer, without: Container[int] = ()) -> dict[int, SoundStart]:
    """The beginnings of all sounds that have a packet which is heard, by stream index; those ``without`` are not looked at.

    Reads until each of them has begun: to the end, if one never does. ``file`` is one's own, at its start.
    """
    begun = {
        s.index: _Begin(s)
        for s in file.streams.audio
        if s.codec_context is not None and s.index not in without
    }
    waiting = set(begun)
    packets = demuxed(file, *(file.streams[index] for index in begun)) if begun else iter(())
    while waiting:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            break
        if packet is None:
            break
        if packet.size and not packet.is_corrupt and begun[packet.stream_index].add(packet):
            waiting.discard(packet.stream_index)
    return {index: start for index, one in begun.items() if (start := one.found()) is not None}
