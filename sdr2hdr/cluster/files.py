"""Files that tasks read: where a machine sees the same file, in place; else fetched once, in pieces, into a cache."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import platformdirs
from filelock import FileLock

from sdr2hdr.cluster.home import answer
from sdr2hdr.errors import InputError
from sdr2hdr.jobs.plan import Fingerprint

CACHE = 64 << 30
"""Bytes that the cache of a machine holds, unless ``SDR2HDR_CLUSTER_CACHE`` names another number of GiB."""
_MOST = "SDR2HDR_CLUSTER_CACHE"


@dataclass(frozen=True)
class Needed:
    """A file by its path on the driver's machine, and what it holds."""

    path: Path
    found: Fingerprint

    @classmethod
    def at(cls, path: Path) -> Self:
        return cls(path, Fingerprint.of(path))

    def is_at(self, path: Path) -> bool:
        """Whether that path holds the same bytes on this machine."""
        try:
            there = Fingerprint.of(path)
        except InputError:
            return False
        return (there.size, there.sha256) == (self.found.size, self.found.sha256)


def place(needed: Needed, home: Any) -> Path:
    """The path of a file on this machine, fetched from the actor ``home`` if it is not seen here.

    Raises OSError, and InputError for a file that the cache cannot hold.
    """
    if needed.is_at(needed.path):
        return needed.path
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{needed.found.sha256}-{needed.found.size}{needed.path.suffix}"
    with FileLock(folder / "lock"):  # one task fetches, the others of this machine wait
        if not needed.is_at(path):
            _make_room(folder, needed)
            _fetch(needed, home, path)
        os.utime(path)
    return path


def cache_folder() -> Path:
    """The cache of this machine; ``SDR2HDR_CACHE`` names another folder for it."""
    named = os.environ.get("SDR2HDR_CACHE")
    return (Path(named) if named else platformdirs.user_cache_path("sdr2hdr")) / "cluster"


def _fetch(needed: Needed, home: Any, path: Path) -> None:
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            while file.tell() < needed.found.size:
                piece = answer(home.piece.remote(needed.path, file.tell()))
                if not piece:
                    break
                file.write(piece)
        if not needed.is_at(part):
            raise InputError(
                f"{needed.path} changed while it was sent; run the same command again."
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _make_room(folder: Path, needed: Needed) -> None:
    """Remove what was not used for longest until another file fits. Raises InputError if none would."""
    most, size = _most(), needed.found.size
    if size > most:
        raise InputError(
            f"{needed.path} has {size / 2**30:.3g} GiB, and the cache for files of others holds {most / 2**30:.3g} GiB; "
            f"set {_MOST} before `ray start`, or put the file on shared storage."
        )
    files = sorted(
        (p for p in folder.iterdir() if p.name != "lock"), key=lambda p: p.stat().st_mtime
    )
    held = sum(p.stat().st_size for p in files)
    for path in files:
        if held + size <= most:
            return
        with suppress(OSError):
            held -= path.stat().st_size
            path.unlink()


def _most() -> int:
    """The bytes that the cache may hold. Raises InputError for a limit that is no number."""
    named = os.environ.get(_MOST)
    try:
        return CACHE if named is None else int(float(named) * 2**30)
    except (ValueError, OverflowError) as e:
        raise InputError(f"{_MOST} is {named!r}, which is not a number of GiB.") from e
