"""When the subtitles of a stream are shown: counted while the source is read and again from the finished file."""

from dataclasses import dataclass
from fractions import Fraction

from av.stream import Stream

from sdr2hdr.media.heard import TOLERANCE


@dataclass(frozen=True, slots=True)
class CueFacts:
    """Seconds at which the first cue starts and the last one ends; None where there is no cue."""

    start: float | None
    end: float | None

    def difference(self, found: "CueFacts") -> str:
        """What differs in ``found``, of a finished file, from this; empty if nothing does."""
        for word, ours, theirs in (
            ("start", found.start, self.start),
            ("end", found.end, self.end),
        ):
            if (ours is None) != (theirs is None) or abs((ours or 0) - (theirs or 0)) > TOLERANCE:
                return f"{word}s at {_said(ours)}, not at {_said(theirs)}"
        return ""


def _said(seconds: float | None) -> str:
    return "no time" if seconds is None else f"{seconds:.3f} s"


class CueTally:
    """Counts one stream's cues."""

    def __init__(self, *, fills_gaps: bool = False) -> None:
        self._fills_gaps = fills_gaps
        self._start: Fraction | None = None
        self._end: Fraction | None = None

    @classmethod
    def of(cls, stream: Stream) -> "CueTally":
        """For a stream whose packets are cues; MP4's timed text fills the gaps between them with empty samples."""
        return cls(fills_gaps=stream.codec_context.codec.canonical_name == "mov_text")

    def add(self, data: bytes, start: Fraction, end: Fraction) -> None:
        """Adds a cue, by its packet's bytes and its times in seconds."""
        if self._fills_gaps and len(data) <= 2:
            return
        self._start = start if self._start is None else min(self._start, start)
        self._end = end if self._end is None else max(self._end, end)

    def facts(self) -> CueFacts:
        return CueFacts(
            *(None if time is None else float(time) for time in (self._start, self._end))
        )
