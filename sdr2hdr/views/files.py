"""Writing small files: whole or not at all."""

import contextlib
import os
from pathlib import Path

from sdr2hdr.errors import OutputError


def check_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError where a file must not or cannot take this name."""
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder; name a file.")
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; choose another name, or replace it with -y.")
        if not path.parent.is_dir():
            raise OutputError(f"The folder {path.parent} does not exist; make it first.")
    except (OSError, ValueError) as e:  # too long a name, or one that cannot be
        raise OutputError(f"{path} cannot be written ({getattr(e, 'strerror', e)}); choose another name.") from e


def write_whole(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file beside its name and give it the name when it is complete. Raises OutputError."""
    check_free(path, overwrite)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as e:
        raise OutputError(f"{path} cannot be written ({e.strerror}); free space there or choose another place.") from e
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
