"""Writing files that appear whole or not at all."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sdr2hdr.errors import OutputError
from sdr2hdr.reading import read_bytes


def check_free(path: Path, overwrite: bool, *films: Path) -> None:
    """Raise OutputError if a file of this name must not or cannot be written. ``films`` are never written."""
    try:
        if "\0" in str(path):
            raise OutputError(f"{path} has a NUL character in its name; choose another name.")
        if path.is_dir():
            raise OutputError(f"{path} is a folder; name a file.")
        if path.exists() and any(film.exists() and path.samefile(film) for film in films):
            raise OutputError(
                f"{path} is the film itself, which is never written; choose another name."
            )
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; choose another name, or replace it with -y.")
        if not path.parent.is_dir():
            raise OutputError(f"The folder {path.parent} does not exist; make it first.")
    except OSError as e:  # too long a name, say
        raise OutputError(f"{path} cannot be written ({e.strerror}); choose another name.") from e


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """An empty file next to ``path`` to write to.

    At the end of the block it is renamed to ``path`` in one step and replaces what was there. After an error it is removed,
    and the old file stays. Raises OutputError for any error of the system.
    """
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[
        :16
    ]  # short, even if the file's own name is long
    part = path.with_name(f".{name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        part.touch(
            exist_ok=False
        )  # O_EXCL: never written through a link that somebody has put there
        yield part
        flush(part)
        part.replace(path)
    except OSError as e:
        raise OutputError(
            f"{path} cannot be written ({e.strerror}); free space there or choose another place."
        ) from e
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have the system write a file to the disk. Raises OSError."""
    with path.open("r+b") as file:  # Windows flushes only a file that is open for writing
        os.fsync(file.fileno())


def check_new_folder(folder: Path) -> None:
    """Raise OutputError if there is something of that name."""
    if folder.exists():
        raise OutputError(f"{folder} exists; choose another name.")


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder`` to write into, which takes its name when all went well, and is deleted if not.

    Raises OutputError if ``folder`` exists or cannot be written.
    """
    check_new_folder(folder)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(folder)
    except OSError as e:
        raise OutputError(
            f"{folder} cannot be written ({e.strerror}); free space there or choose another place."
        ) from e
    finally:
        shutil.rmtree(part, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder for files, with those above it, unless it is there. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as e:
        raise OutputError(f"{folder} is not a folder; name one with --out.") from e
    except (OSError, ValueError) as e:
        cause = getattr(e, "strerror", e)
        raise OutputError(
            f"The folder {folder} cannot be made ({cause}); name another with --out."
        ) from e


def write_whole(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a small file with :func:`whole_file`. Raises OutputError as it and :func:`check_free` do."""
    check_free(path, overwrite)
    with whole_file(path) as part:
        part.write_bytes(data)


def note_down(note: Path, said: bytes, what: str) -> bytes:
    """What a note in a folder says. If there is none it is written and says ``said``; ``what`` names its content in messages."""
    if note.exists():
        return read_bytes(note, what)
    make_folder(note.parent)
    write_whole(note, said, overwrite=True)
    return said
