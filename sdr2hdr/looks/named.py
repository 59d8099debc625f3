"""Named looks: sets of knobs in a table, those of sdr2hdr and your own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from sdr2hdr.color.grade import BRIGHTNESSES, HIGHLIGHTS, SATURATIONS
from sdr2hdr.errors import InputError, UsageError
from sdr2hdr.reading import MissingFile, read_toml
from sdr2hdr.typed import typed

SUFFIX = ".toml"
"""The ending of look files, by which ``--look`` tells them from names."""
BUNDLED = Path(__file__).parent / "looks.toml"

Brightness = Annotated[float, Meta(ge=BRIGHTNESSES[0], le=BRIGHTNESSES[1])]
Highlights = Annotated[float, Meta(ge=HIGHLIGHTS[0], le=HIGHLIGHTS[1])]
Saturation = Annotated[float, Meta(ge=SATURATIONS[0], le=SATURATIONS[1])]


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """What a look sets; None leaves a knob as it is without the look. Units as in :class:`sdr2hdr.color.grade.Grade`."""

    brightness: Brightness | None = None
    highlights: Highlights | None = None
    saturation: Saturation | None = None


@dataclass(frozen=True, kw_only=True)
class NamedLook(Knobs):
    """A set of knobs, and in a sentence what it is for."""

    about: str = ""


def own_looks() -> Path:
    """The file of your own looks: ``sdr2hdr-looks.toml`` beside the file of defaults."""
    from platformdirs import user_config_path

    return user_config_path() / "sdr2hdr-looks.toml"


def named_looks() -> dict[str, NamedLook]:
    """Every named look; your own replace those of the same name. Raises InputError for a file that holds something else."""
    found: dict[str, NamedLook] = {}
    for path in (BUNDLED, own_looks()):
        try:
            tables = read_toml(path, "a table of looks")
        except MissingFile:
            continue
        for name, table in tables.items():
            if name.lower().endswith(SUFFIX) or "," in name:
                raise InputError(
                    f"{path}: [{name}] cannot be the name of a look, because --look takes it for a file or a list; "
                    "choose another."
                )
            try:
                found[name] = typed(table, NamedLook)
            except ValueError as e:
                raise InputError(
                    f"{path}: in [{name}], {e}; a look has brightness, highlights, saturation and about."
                ) from e
    return found


def named_look(name: str) -> NamedLook:
    """The look of that name. Raises UsageError naming the known ones."""
    known = named_looks()
    if name not in known:
        raise UsageError(
            f"There is no look {name!r}; give --look {', '.join(known)} or a file that ends in .toml."
        )
    return known[name]
