"""``sdr2hdr.toml`` in a source folder: options for the videos in it and below."""

import re
from pathlib import Path
from typing import Any

from sdr2hdr.codecs import CODECS
from sdr2hdr.errors import InputError, ModelError, UsageError
from sdr2hdr.jobs.auto import check_model
from sdr2hdr.jobs.exposures import read_exposures
from sdr2hdr.options import Option, Options, by_key
from sdr2hdr.reading import MissingFile, read_toml
from sdr2hdr.scenes.cutlist import check_cutlist

NAME = "sdr2hdr.toml"
_ENDING = re.compile(r"\.[A-Za-z]\w*$")


def read_overrides(folder: Path) -> dict[str, Any]:
    """The options that a folder's own file decides, by name; none without a file.

    Files named in it are relative to the folder. Raises InputError for anything that is not understood.
    """
    path = folder / NAME
    try:
        table = read_toml(path, "a file of options")
    except MissingFile:
        return {}
    found: dict[str, Any] = {}
    for key, given in table.items():
        option = by_key().get(key)
        if option is None or not option.about.per_folder:
            known = ", ".join(k for k, o in by_key().items() if o.about.per_folder)
            raise InputError(
                f"{path} names {key!r}, which cannot be set for a folder; known are {known}."
            )
        try:
            value = option.check(given)
        except UsageError as e:
            raise InputError(f"{path}: {e}") from e
        found[option.name] = str(folder / value) if _names_file(option, value, folder) else value
    return found


def _names_file(option: Option, value: Any, folder: Path) -> bool:
    """Whether a value is a file's path; if not, it is a word (``auto``), a weight's name or a cycle."""
    return option.about.names_file and (bool(_ENDING.search(value)) or (folder / value).is_file())


def check_options(options: Options) -> None:
    """Raise ModelError or InputError if no file can be converted with this model, weights, device, cut list or exposures, and
    UsageError for a codec that writes no files."""
    if CODECS[options.codec].ending:
        raise UsageError(
            f"A batch writes one file for each video, and {CODECS[options.codec].noun} fills a folder; use `sdr2hdr convert`."
        )
    check_model(options)
    check_cutlist(options.scenes)
    read_exposures(options.exposures)


def overridden(options: Options, folder: Path) -> Options:
    """The options, overruled by those of a folder. Raises InputError if a named file cannot be used."""
    own = read_overrides(folder)
    if not own:
        return options
    if "model" in own:
        own.setdefault("weights", None)  # the given weights belong to another model
    try:
        found = options.changed(**own)
        check_options(found)
    except (InputError, ModelError, UsageError) as e:
        raise InputError(f"{folder / NAME}: {e}") from e
    return found
