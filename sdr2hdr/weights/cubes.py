"""The user's colour tables: the weight of the model ``lut`` is a ``.cube`` file."""

from functools import lru_cache
from pathlib import Path

from torch import Tensor, tensor

from sdr2hdr.color.cube import parse_cube
from sdr2hdr.errors import InputError, ModelError
from sdr2hdr.reading import read_bytes

SUFFIX = ".cube"
MODEL = "lut"
LARGEST = 32 << 20
"""Bytes. A table of 65 entries an edge has 275,000 lines, of up to 100 characters."""


def read_cube(path: Path) -> bytes:
    """The bytes of a ``.cube`` file. Raises ModelError if it cannot be read as a text of reasonable size."""
    try:
        return read_bytes(path, "a colour table", LARGEST)
    except InputError as e:
        raise ModelError(str(e)) from e


def cube_config(data: bytes, path: Path) -> dict[str, int]:
    """The configuration of the model ``lut`` for a file's table; raises ModelError as :func:`cube_tensors` does."""
    table = cube_tensors(data, path)["table"]
    return {"size": table.shape[0], "dimensions": table.ndim - 1}


@lru_cache(
    maxsize=1
)  # a large table takes a second to parse, and a conversion asks for it several times
def cube_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """A file's table and domain as the tensors of the model ``lut``, not to be written to; ``path`` is for the message.

    Raises ModelError if the file holds no table that can be used.
    """
    if b"\0" in data:
        raise ModelError(f"{path} is not a .cube file (it is not text); name one that is.")
    try:
        cube = parse_cube(data.decode("utf-8-sig", errors="replace"))  # comments may be in any code
    except ValueError as e:
        raise ModelError(f"{path} cannot be used as a colour table: {e}.") from e
    return {"table": cube.table, "domain": tensor([cube.low, cube.high])}
