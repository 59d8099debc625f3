"""The look that a conversion is given: by name, or as a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from sdr2hdr.color.grade import BRIGHTNESS, Grade
from sdr2hdr.errors import UsageError
from sdr2hdr.looks.file import MODEL, LookFile, read_look
from sdr2hdr.looks.named import SUFFIX, Knobs, named_look
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.options import Options


@dataclass(frozen=True)
class Look:
    """What ``--look`` says: ``knobs``, and of a file its ``path`` and what it holds."""

    knobs: Knobs
    path: Path | None = None
    file: LookFile | None = None

    @classmethod
    def of(cls, given: str | None) -> Self:
        """The look of that name, or in that file. Raises UsageError for an unknown name, InputError for a file."""
        if given is None:
            return cls(Knobs())
        path = Path(given)
        if path.suffix.lower() != SUFFIX:
            return cls(named_look(given))
        file = read_look(path)
        return cls(file, path, file)

    @property
    def has_scenes(self) -> bool:
        """Whether a file gives looks to single scenes."""
        return self.file is not None and bool(self.file.scenes)

    @property
    def sha256(self) -> str:
        """The hash of what the file holds; empty without one."""
        return "" if self.file is None else sha256(repr(self.file).encode()).hexdigest()

    def grade(self, options: Options, spec: ModelSpec, *, has_times: bool) -> Grade:
        """The grade that options and look give for a model; options win. Raises UsageError for a model without it, and
        for a brightness that leaves no light between SDR white and the peak.

        Static mappings, tables and frames with exposures (``has_times``) keep their own brightness unless one is asked for.
        """
        if self.path is not None and spec.name != MODEL:
            raise UsageError(
                f"{self.path} holds a look for the model {MODEL}, not for {spec.name}; take --model {MODEL}."
            )
        found = {
            name: mine
            if (mine := getattr(options, name)) is not None
            else getattr(self.knobs, name)
            for name in ("brightness", "highlights", "saturation")
        }
        if found["brightness"] is None and spec.learnt and not has_times:
            found["brightness"] = BRIGHTNESS
        brightness = found["brightness"]
        if brightness is not None and 100 * brightness > options.peak:
            raise UsageError(
                f"A brightness of {brightness:g} puts SDR white at {100 * brightness:.0f} nits, above the peak of "
                f"{options.peak}; lower --brightness or raise --peak."
            )
        return Grade(**{name: value for name, value in found.items() if value is not None})

    def scenes(
        self, brightness: float, cuts: Sequence[int], frames: int, src: Path
    ) -> tuple[tuple[float, ...], ...]:
        """The looks of the scenes of ``src`` that a file gives; none without one. Raises InputError."""
        if self.file is None or self.path is None:
            return ()
        return tuple(self.file.looks(self.path, brightness, cuts, frames, src))
