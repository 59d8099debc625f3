"""Everything a user decides about a conversion, resolved and checked before work starts."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from sdr2hdr.color.yuv import MATRICES
from sdr2hdr.errors import InputError, OutputError

CONTAINERS = ("mkv", "mp4", "mov")
CODECS = ("hevc", "av1")
PRESETS = {"hevc": "medium", "av1": "6"}
CRFS = {"hevc": 16.0, "av1": 22.0}
PEAK_RANGE = (400, 4000)
WHITE_RANGE = (80, 400)
LOOKS = ("scene", "film")


def check_look(look: str) -> None:
    """Raises OutputError for what says no place to read looks in."""
    if look not in LOOKS:
        raise OutputError(f"There is no look {look!r}; use --look {' or '.join(LOOKS)}.")


@dataclass(frozen=True)
class Settings:
    """What decides the picture and its packets. Equal settings and an equal source give equal files.

    ``weights_sha256`` is the hash of the weight file (empty for static mappings); ``white`` and ``peak`` in nits;
    ``chunk_frames`` the least length of a chunk that ends at a cut (a scene of twice that is split); ``aux`` whether the
    restored SDR picture is written, too. ``exposures`` are relative times with commas between them, repeated to the film's
    end; none for ordinary SDR. ``look`` is read from each ``scene``, or half of it from the whole ``film``.
    """

    model: str
    weights_sha256: str
    precision: str
    device: str
    codec: str
    crf: float
    preset: str
    peak: int
    white: int
    scenes: str
    input_matrix: str | None
    input_range: str | None
    chunk_frames: int
    aux: bool = False
    exposures: str = ""
    look: str = "scene"

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise OutputError(f"There is no codec {self.codec!r}; use --codec {' or '.join(CODECS)}.")
        if not PEAK_RANGE[0] <= self.peak <= PEAK_RANGE[1]:
            raise OutputError(f"A peak of {self.peak} nits is out of range; give --peak from 400 to 4000.")
        if not WHITE_RANGE[0] <= self.white <= WHITE_RANGE[1]:
            raise OutputError(
                f"A white of {self.white} nits is out of range; give --white from 80 to 400 (203 is the standard)."
            )
        if not 0.0 <= self.crf <= 51.0:
            raise OutputError(f"A CRF of {self.crf:g} is out of range; give --crf from 0 (best) to 51.")
        if self.input_matrix not in (None, *MATRICES):
            raise InputError(
                f"There is no matrix {self.input_matrix!r}; give --input-matrix one of {', '.join(MATRICES)}."
            )
        if self.input_range not in (None, "limited", "full"):
            raise InputError(f"There is no range {self.input_range!r}; give --input-range limited or full.")
        check_look(self.look)
        if self.chunk_frames < 1:
            raise OutputError("Chunks need at least one frame; give --chunk-frames 1 or more.")

    @property
    def times(self) -> tuple[float, ...]:
        """The exposures as numbers."""
        return tuple(map(float, self.exposures.split(","))) if self.exposures else ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data)
