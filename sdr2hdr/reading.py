"""Reading the small files that people write or name: cut lists, exposures, defaults, manifests, recipes.

They are read whole, from ordinary files only: a pipe would block until somebody writes to it, and could be read only once.
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Any, BinaryIO

from sdr2hdr.errors import InputError
from sdr2hdr.system import BINARY, NO_WAIT

LARGEST = 16 << 20
"""Bytes. A list with a line for every frame of a film is smaller."""


class MissingFile(InputError):
    """There is no such file."""


def open_regular(path: Path, what: str) -> BinaryIO:
    """Open an ordinary file for reading, without waiting for anyone.

    ``what`` names the expected content in messages ("a cut list"). Raises MissingFile, or InputError for a pipe, a folder,
    a device, an invalid name, and any other error of the system.
    """
    try:
        fd = os.open(path, os.O_RDONLY | NO_WAIT | BINARY)
    except (FileNotFoundError, NotADirectoryError) as e:
        raise MissingFile(f"{path} does not exist; name {what}.") from e
    except OSError as e:
        if isinstance(e, PermissionError) and path.is_dir():  # Windows opens no folder
            raise InputError(f"{path} is a folder; name {what}.") from e
        raise InputError(f"{path} cannot be read as {what} ({e.strerror}).") from e
    except ValueError as e:
        raise InputError(
            f"{path} is not the name of a file, for it holds a NUL character; name {what}."
        ) from e
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(fd, "rb")
    os.close(fd)
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise InputError(
            f"{path} is a pipe, which cannot serve as {what}; write its content to a file and name that."
        )
    kind = "a folder" if stat.S_ISDIR(mode) else "a device"
    raise InputError(f"{path} is {kind}; name {what}.")


def read_bytes(path: Path, what: str, largest: int = LARGEST) -> bytes:
    """The whole content, at most ``largest`` bytes. Raises MissingFile or InputError."""
    try:
        with open_regular(path, what) as file:
            data = file.read(largest + 1)
    except OSError as e:
        raise InputError(f"{path} cannot be read as {what} ({e.strerror}).") from e
    if len(data) > largest:
        raise InputError(f"{path} is too large for {what} (more than {largest >> 20} MiB).")
    return data


def read_text(path: Path, what: str) -> str:
    """The whole content as text in UTF-8, with or without a byte order mark. Raises MissingFile or InputError."""
    try:
        return read_bytes(path, what).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InputError(f"{path} cannot be read as {what} (it is not UTF-8 text).") from e


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file. Raises MissingFile or InputError."""
    try:
        return tomllib.loads(read_text(path, what))
    except RecursionError as e:
        raise InputError(
            f"{path} cannot be read as {what} (it is nested too deeply); correct it."
        ) from e
    except tomllib.TOMLDecodeError as e:
        raise InputError(
            f"{path} cannot be read as {what}, which must be TOML ({e}); correct it."
        ) from e
    except ValueError as e:  # Python reads no more than 4300 digits
        raise InputError(
            f"{path} cannot be read as {what} (a number in it has thousands of digits); correct it."
        ) from e
