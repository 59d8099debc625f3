"""The treatment of fields, and its report."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from av.video.frame import VideoFrame

from sdr2hdr.media.deinterlace import deinterlaced
from sdr2hdr.media.telecine import CYCLE, Detelecine

_FILM = 2  # neighbours of five that are combed in telecined film


@dataclass
class FieldTally:
    """What was seen and done while pictures were read.

    Counts of pictures: ``seen``, ``flagged`` interlaced and ``deinterlaced``. ``film`` counts
    groups of five of which two neighbours are combed and three are not, as telecine leaves them;
    ``mixed`` groups in which another number is. ``restored`` counts film pictures.
    """

    seen: int = 0
    flagged: int = 0
    deinterlaced: int = 0
    film: int = 0
    mixed: int = 0
    restored: int = 0
    _group: list[bool] = field(default_factory=list)

    def add(self, *, flagged: bool, deinterlaced: bool) -> None:
        """Count a picture."""
        self.seen += 1
        self.flagged += flagged
        self.deinterlaced += deinterlaced
        self._group.append(deinterlaced)
        if len(self._group) == CYCLE:
            found, self._group = self._group, []
            is_film = sum(found) == _FILM and any(found[n] and found[n - 1] for n in range(CYCLE))
            self.film += is_film
            self.mixed += any(found) and not is_film

    @property
    def is_film(self) -> bool:
        """Whether most groups with combed pictures look like telecined film."""
        return self.film > max(2, 2 * self.mixed)


@dataclass(frozen=True)
class Fields:
    """How a film's fields are treated: ``mode`` is one of :data:`sdr2hdr.media.deinterlace.MODES`;
    ``detelecine`` comes instead of it.

    ``rate`` is that of the source's frames, ``start`` the pts of its first.
    """

    time_base: Fraction
    rate: Fraction
    start: int
    mode: str = "auto"
    detelecine: bool = False

    @property
    def reach(self) -> int:
        """Ticks before a picture from which on frames are needed so that it comes out as it does
        when all are read.
        """
        frames = 3 * CYCLE if self.detelecine else 0
        return round(frames / (self.rate * self.time_base))

    def made(
        self, frames: Iterable[VideoFrame], first: int, tally: FieldTally, *, combed: bool = True
    ) -> Iterator[tuple[VideoFrame, int]]:
        """The pictures of planar frames with rising pts, each with the pts of the frame that it
        comes from.

        What is done to frames from the pts ``first`` on is counted. Unless frames may be ``combed``, nothing looks for it.
        """
        mode = self.mode if combed else "off"

        def seen(frame: VideoFrame, deinterlaced: bool) -> None:
            if (frame.pts or 0) >= first:
                tally.add(flagged=frame.interlaced_frame, deinterlaced=deinterlaced)

        if not self.detelecine:
            for picture in deinterlaced(frames, self.time_base, mode, seen):
                yield picture, picture.pts or 0
            return

        def counted() -> Iterator[VideoFrame]:
            for frame in frames:
                seen(frame, deinterlaced=False)
                yield frame

        for picture, origin in Detelecine(self.time_base, self.rate, self.start)(counted()):
            tally.restored += (picture.pts or 0) >= first
            yield picture, origin

    def notes(self, tally: FieldTally) -> tuple[str, ...]:
        """What the report says."""
        seen, made = tally.seen, tally.deinterlaced
        if not seen:
            return ()
        if self.detelecine:
            return (
                f"telecine undone: {tally.restored} pictures at {float(self.film_rate):.3f} a second of {seen} frames",
            )
        if self.mode in {"tff", "bff"}:
            order = "top" if self.mode == "tff" else "bottom"
            return (f"all {made} pictures were deinterlaced, {order} field first",)
        notes = []
        if self.mode == "off":
            if tally.flagged:
                notes.append(
                    f"{tally.flagged} of {seen} pictures are flagged interlaced; none was deinterlaced, as asked"
                )
            return tuple(notes)
        if made and made < seen:
            notes.append(
                f"{made} of {seen} pictures showed combing and were deinterlaced; the others were left as they are"
            )
        elif made:
            notes.append(f"all {made} pictures showed combing and were deinterlaced")
        elif tally.flagged:
            notes.append(
                f"{tally.flagged} of {seen} pictures are flagged interlaced but show no combing; they were left as they are"
            )
        if tally.is_film and self.is_video_rate:
            notes.append(
                "most combed pictures come in twos of five, as in telecined film;"
                " --detelecine gives back its 23.976 pictures a second"
            )
        return tuple(notes)

    @property
    def is_video_rate(self) -> bool:
        """Whether telecine makes this rate."""
        return abs(self.rate - 30) < Fraction(1, 10)

    @property
    def film_rate(self) -> Fraction:
        """Pictures a second once telecine is undone."""
        return self.rate * (CYCLE - 1) / CYCLE
