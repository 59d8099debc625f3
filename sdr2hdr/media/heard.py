"""The audible content of a sound stream: the bytes of its packets, and the time of each decoded second.

Counted while the source is copied and again from the finished file, so that the two can be compared.
"""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av.error
from av import Packet
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.stream import Stream

TOLERANCE = 0.003
"""Seconds that a time may be off: the steps of two containers, of at most 1 ms each, and their rounding."""


_UNHEARD = 25
"""Packets on end without a sound, about half a second, after which the stream's decoder no longer fits its packets."""


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """One sound stream.

    ``packets``, ``bytes`` and the ``sha256`` of all bytes in order; ``samples`` decoded and heard, ``rate`` of them a second;
    ``marks``: seconds at which the samples 0, ``rate``, 2 ``rate`` ... are heard; ``end``: when the last one has been heard.
    ``padding``: samples at the end that the source hides and that a container may not be able to hide. ``slack``: samples by
    which a stream that was encoded anew may be longer.
    """

    codec: str
    packets: int
    bytes: int
    sha256: str
    samples: int
    rate: int
    marks: Sequence[float]
    end: float
    padding: int = 0
    slack: int = 0

    def difference(self, found: "AudioFacts", *, hides_padding: bool) -> str:
        """What differs in ``found``, of a finished file, from this; empty if nothing does."""
        if found.codec != self.codec:
            return f"is {found.codec}, not {self.codec}"
        if self.sha256 and found.packets != self.packets:
            return f"has {found.packets} packets, not {self.packets}"
        if self.sha256 and (found.bytes, found.sha256) != (self.bytes, self.sha256):
            return "differs from the source's in its bytes"
        longer = found.samples - self.samples
        if not 0 <= longer <= self.slack + (0 if hides_padding else self.padding):
            return f"is {found.samples} samples long when it is decoded, not {self.samples}"
        return self._late(found, longer)

    def _late(self, found: "AudioFacts", longer: int) -> str:
        """The difference of the times; ``longer`` is the number of extra samples in the found stream."""
        off = [abs(ours - theirs) for ours, theirs in zip(found.marks, self.marks, strict=False)]
        if off and max(off) > TOLERANCE:
            where = off.index(max(off))
            return f"is heard {found.marks[where] - self.marks[where]:+.3f} s off after {where} s of sound"
        late = found.end - self.end
        if not -TOLERANCE <= late <= TOLERANCE + longer / max(1, self.rate):
            return f"ends at {found.end:.3f} s, not at {self.end:.3f} s"
        return ""


def decoded(context: AudioCodecContext, packet: "Packet[Stream] | None") -> list[AudioFrame]:
    """The frames of a packet, or, for None, those still in the decoder; of one that does not decode none."""
    try:
        return context.decode(packet)
    except av.error.FFmpegError:
        return []


class AudioTally:
    """Counts one sound stream."""

    def __init__(
        self, codec: str, *, adts: bool = False, hashed: bool = True, slack: int = 0
    ) -> None:
        # MP4 has one number for the three layers of MPEG-1 audio (ISO/IEC 14496-1 table 5).
        self._codec = "mp3" if codec in ("mp1", "mp2") else codec
        self._adts, self._hashed, self._slack = adts, hashed, slack
        self._packets = self._bytes = 0
        self._hash = hashlib.sha256()
        self._samples = self._rate = 0
        self._marks = array("d")
        self._last = self._end = 0.0  # seconds at which the newest frame starts and ends
        self._padding = 0
        self._unheard, self._heard = 0, False
        self._since: Fraction | None = None
        self.unheard_from: Fraction | None = None
        """Seconds of the source from which so many packets on end gave no sound, after others that did."""

    @classmethod
    def of(cls, stream: Stream, slack: int = 0) -> "AudioTally":
        """For a stream whose packets are counted as they are, but for ADTS headers."""
        codec = stream.codec_context.codec.canonical_name
        return cls(codec, adts=codec == "aac" and not stream.codec_context.extradata, slack=slack)

    def add(self, data: bytes) -> None:
        """Adds a packet's bytes."""
        if self._adts and data[:1] == b"\xff":
            # ADTS headers (ISO/IEC 13818-7 6.2) are the transport's; MP4 and Matroska hold what is between them.
            data = data[7 if data[1] & 1 else 9 :]
        self._packets += 1
        self._bytes += len(data)
        self._hash.update(data)

    def listen(self, frames: Sequence[AudioFrame], when: Fraction | None) -> None:
        """Takes note of whether a packet of the source, which begins ``when`` (seconds), has given any sound."""
        if frames:
            self._unheard, self._heard = 0, True
        elif self._heard:
            self._since = when if self._unheard == 0 else self._since
            self._unheard += 1
            if self._unheard == _UNHEARD and self.unheard_from is None:
                self.unheard_from = self._since

    @property
    def silent_from(self) -> Fraction | None:
        """``unheard_from``, or since when the packets that were taken last gave no sound, however few they are."""
        return self._since if self.unheard_from is None and self._unheard else self.unheard_from

    def hear(self, frames: Iterable[AudioFrame], shift: float = 0.0, padding: int = 0) -> None:
        """Adds decoded frames, ``shift`` seconds later than they say; ``padding`` samples were hidden after them."""
        self._padding += padding
        for frame in frames:
            rate = frame.sample_rate
            self._rate = self._rate or rate
            start = self._end
            if frame.pts is not None and frame.time_base:
                start = float(frame.pts * frame.time_base) + shift
                if self._marks:
                    start = max(start, self._last)  # no container holds times that go back
            while len(self._marks) * self._rate < self._samples + frame.samples:
                self._marks.append(start + (len(self._marks) * self._rate - self._samples) / rate)
            self._samples += frame.samples
            self._last, self._end = start, start + frame.samples / rate

    def facts(self) -> AudioFacts:
        """The count so far; without a packet count for PCM, whose packets are whatever a reader likes to read at once."""
        packets = 0 if self._codec.startswith("pcm_") or not self._hashed else self._packets
        return AudioFacts(
            self._codec,
            packets,
            self._bytes if self._hashed else 0,
            self._hash.hexdigest() if self._hashed else "",
            self._samples,
            self._rate,
            self._marks,
            self._end,
            self._padding,
            self._slack,
        )
