"""``sdr2hdr.toml`` in a source folder: convert's options for the videos in it and below."""

import tomllib
from pathlib import Path
from typing import Any

from sdr2hdr.errors import InputError, ModelError, OutputError
from sdr2hdr.jobs.exposures import read_exposures
from sdr2hdr.jobs.settings import CONTAINERS, CRFS, Settings
from sdr2hdr.weights.load import choose

NAME = "sdr2hdr.toml"
KEYS: dict[str, type] = {
    "model": str,
    "weights": str,
    "device": str,
    "precision": str,
    "codec": str,
    "container": str,
    "crf": float,
    "preset": str,
    "peak": int,
    "white": int,
    "scenes": str,
    "look": str,
    "exposures": str,
    "input-matrix": str,
    "input-range": str,
    "strict": bool,
    "tile": int,
    "chunk-frames": int,
}
"""The options a folder may decide, named as on the command line."""
_KINDS = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


def read_overrides(folder: Path) -> dict[str, Any]:
    """The options that a folder's own file decides, as keywords of ``convert``; none where there is no file.

    Files named in it are taken from the folder it lies in. Raises InputError for anything that is not understood.
    """
    path = folder / NAME
    try:
        with path.open("rb") as f:
            table = tomllib.load(f)
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise InputError(f"{path} cannot be read ({e.strerror}); check its permissions.") from e
    except (ValueError, RecursionError) as e:  # TOML that is none, bytes that are no text
        raise InputError(f"{path} is not TOML ({e}); write lines as: peak = 600") from e
    found: dict[str, Any] = {}
    for key, given in table.items():
        kind = KEYS.get(key)
        if kind is None:
            raise InputError(f"{path} names {key!r}, which is no option here; known are {', '.join(KEYS)}.")
        value: Any = float(given) if kind is float and type(given) is int else given
        if type(value) is not kind:
            raise InputError(f"{path} gives {key} the value {value!r}; it must be {_KINDS[kind]}.")
        names_file = key == "weights" and str(value).endswith(".safetensors")
        names_file = names_file or (key == "scenes" and value not in ("auto", "none"))
        names_file = names_file or (key == "exposures" and (folder / str(value)).is_file())
        found[key.replace("-", "_")] = str(folder / str(value)) if names_file else value
    return found


def check_options(options: dict[str, Any], where: str) -> None:
    """Raises InputError, naming ``where`` they come from, for options that no conversion could have."""
    try:
        choose(options["model"], options["weights"])
        read_exposures(options["exposures"])
        if options["container"] not in (None, *CONTAINERS):
            raise OutputError(
                f"There is no container {options['container']!r}; use --container {', '.join(CONTAINERS)}."
            )
        if options["tile"] is not None and options["tile"] < 64:
            raise OutputError(f"A tile of {options['tile']} is too small; give --tile 64 or more.")
        Settings(
            model=options["model"],
            weights_sha256="",
            precision=options["precision"],
            device=options["device"],
            codec=options["codec"],
            crf=CRFS.get(options["codec"], 0.0) if options["crf"] is None else options["crf"],
            preset=options["preset"] or "",
            peak=options["peak"],
            white=options["white"],
            scenes=options["scenes"],
            input_matrix=options["input_matrix"],
            input_range=options["input_range"],
            chunk_frames=options["chunk_frames"],
            look=options["look"],
        )
    except (InputError, OutputError, ModelError) as e:
        raise InputError(f"{where}: {e}") from e
