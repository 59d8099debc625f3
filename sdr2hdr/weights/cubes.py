"""Colour tables of the user's own: the weight of the model ``lut`` is a ``.cube`` file."""

import hashlib
from pathlib import Path

from torch import Tensor, tensor

from sdr2hdr.color.cube import parse_cube
from sdr2hdr.errors import InputError, ModelError
from sdr2hdr.reading import read_bytes
from sdr2hdr.weights.manifest import WeightEntry

SUFFIX = ".cube"
MODEL = "lut"


def cube_entry(path: Path) -> WeightEntry:
    """The entry that a ``.cube`` file makes for itself. Raises ModelError if it holds no table that can be used."""
    data = _data(path)
    table = cube_tensors(data, path)["table"]
    return WeightEntry(
        name=path.stem,
        model=MODEL,
        source=f"file:{path.absolute()}",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        manifest=path.absolute(),
        config={"size": table.shape[0], "dimensions": table.ndim - 1},
        licence="unknown",
        data="unknown",
        recipe="unknown",
        commit="unknown",
    )


def cube_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """A file's table and domain as the tensors of the model ``lut``; ``path`` is for the message."""
    try:
        cube = parse_cube(data.decode("utf-8-sig"))
    except UnicodeDecodeError as e:
        raise ModelError(f"{path} is not a .cube file (it is not text); name one that is.") from e
    except ValueError as e:
        raise ModelError(f"{path} cannot be used as a colour table: {e}.") from e
    return {"table": cube.table, "domain": tensor([cube.low, cube.high])}


def _data(path: Path) -> bytes:
    try:
        return read_bytes(path, "a colour table")
    except InputError as e:
        raise ModelError(str(e)) from e
