"""The fate of one stream of a source."""

from dataclasses import dataclass, field

from sdr2hdr.media.sound_start import SoundStart
from sdr2hdr.media.sound_track import TrackForm

FORMATS = {"mkv": "matroska", "mp4": "mp4", "mov": "mov"}

COPIED, UNWRAPPED, CONVERTED = "copied", "unwrapped", "converted"
COVER, ATTACHED, LEFT_OUT = "kept as a cover picture", "attached", "left out"


@dataclass(frozen=True, slots=True)
class Fate:
    """``name`` of the stream for people; ``how`` it is treated; the ``codec`` that it is converted to, if it is.

    ``note``: a sentence for people, empty if nothing is lost. ``asked``: left out because the user wants it so. ``form``
    and ``start`` are of sounds.
    """

    index: int
    name: str
    how: str
    codec: str = ""
    note: str = ""
    asked: bool = False
    form: TrackForm = field(default_factory=TrackForm)
    start: SoundStart | None = None


def left_out(index: int, name: str, why: str, *, asked: bool = False) -> Fate:
    """A stream that does not go into the file written."""
    return Fate(index, name, LEFT_OUT, note=f"{name} left out: {why}", asked=asked)
