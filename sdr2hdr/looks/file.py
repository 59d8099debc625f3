"""Looks as files: what was read of a film, by name and number, to be edited and given to a conversion."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from sdr2hdr.errors import InputError
from sdr2hdr.looks.named import Knobs
from sdr2hdr.models.look import tone
from sdr2hdr.reading import read_toml
from sdr2hdr.scenes.cutlist import time_code
from sdr2hdr.text import printable
from sdr2hdr.typed import typed

MODEL = "look"

Whole = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A look but for its brightness, as :mod:`sdr2hdr.models.look.tone` means the numbers."""

    rises: tuple[float, ...]
    luminance: float
    channels: tuple[float, ...]
    colour: tuple[float, ...]

    def look(self, brightness: float) -> tuple[float, ...]:
        """All 18 numbers. Raises ValueError, with a part of a sentence, for too few numbers or one out of range."""
        look = (brightness, *self.rises, self.luminance, *self.channels, *self.colour)
        for name, part in tone.PARTS.items():
            given, least, most = getattr(self, name), *tone.RANGES[name]
            values = given if isinstance(given, tuple) else (given,)
            if len(values) != part.stop - part.start:
                raise ValueError(f"{name} has {len(values)} numbers, not {part.stop - part.start}")
            if not all(least <= v <= most for v in values):
                raise ValueError(f"{name} must be from {least:g} to {most:g}")
        return look

    @classmethod
    def of(cls, look: Sequence[float]) -> "Numbers":
        """The numbers of a look."""
        parts = {name: tuple(round(v, 4) for v in look[part]) for name, part in tone.PARTS.items()}
        return cls(
            rises=parts["rises"],
            luminance=parts["luminance"][0],
            channels=parts["channels"],
            colour=parts["colour"],
        )


@dataclass(frozen=True, kw_only=True)
class SceneNumbers(Numbers):
    """The look of the scene that begins at frame ``first``; ``at`` is its time, for people."""

    first: Whole
    at: str = ""


@dataclass(frozen=True, kw_only=True)
class LookFile(Knobs):
    """A film's look as it stands in a file: knobs, the look of the whole film, and those of its scenes, if they differ."""

    film: Numbers
    model: str = MODEL
    frames: Whole = 0
    scenes: tuple[SceneNumbers, ...] = ()

    def looks(
        self, path: Path, brightness: float, cuts: Sequence[int], frames: int, src: Path
    ) -> list[tuple[float, ...]]:
        """The looks of the scenes of ``src`` between its cuts. Raises InputError if the file's scenes are others."""
        if not self.scenes:
            return [self.film.look(brightness)] * (len(cuts) + 1)
        if (self.frames, [s.first for s in self.scenes]) != (frames, [0, *cuts]):
            raise InputError(
                f"{path} holds the looks of other scenes than {src} has; take its [[scenes]] and `frames` out to use the look "
                "of the whole film."
            )
        return [s.look(brightness) for s in self.scenes]

    def text(self, name: str, starts: Sequence[Fraction]) -> str:
        """The file's text; ``starts`` are the times of the scenes in seconds."""
        import tomlkit

        doc = tomlkit.document()
        doc.add(tomlkit.comment(f"The look of {printable(name)}. Edit it and give it to"))
        doc.add(tomlkit.comment("`sdr2hdr convert --look`; docs/looks.md explains the numbers."))
        doc["model"] = self.model
        for knob in ("brightness", "highlights", "saturation"):
            if (value := getattr(self, knob)) is not None:
                doc[knob] = value
        if self.scenes:
            doc["frames"] = self.frames
        doc["film"] = _table(self.film)
        if self.scenes:
            scenes = tomlkit.aot()
            for scene, start in zip(self.scenes, starts, strict=True):
                table = tomlkit.table()
                table["first"], table["at"] = scene.first, time_code(start)
                table.update(_table(scene))
                scenes.append(table)
            doc["scenes"] = scenes
        return tomlkit.dumps(doc)


def read_look(path: Path) -> LookFile:
    """A look from a file. Raises InputError naming the file and what is wrong with it."""
    try:
        found = typed(read_toml(path, "a look"), LookFile)
        for numbers in (found.film, *found.scenes):
            numbers.look(1.0)
    except ValueError as e:
        raise InputError(
            f"{path}: {e}; `sdr2hdr look FILM -o {path.name}` writes a look that can be used."
        ) from e
    if found.model != MODEL:
        raise InputError(f"{path} holds a look of the model {found.model}; only {MODEL} has any.")
    return found


def _table(numbers: Numbers) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value := getattr(numbers, name), tuple) else value
        for name in tone.PARTS
    }
