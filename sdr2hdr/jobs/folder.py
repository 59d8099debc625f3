"""A folder of this user's own, in which nothing is trusted and nothing is written through.

All files are reached from the open folder, never by following a link. What is made is made anew, so that no link, pipe or second
name of another file can be written to. JSON files carry a digest of what they hold.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from sdr2hdr.errors import OutputError

_LOCK = "lock"
_ATTEMPTS = 1000
"""Attempts to make and lock a folder that others may remove in between."""


class Folder:
    """An open folder. Raises OutputError for a link, a file, and a folder of another user; OSError if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as e:
            if e.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            kind = "a link" if path.is_symlink() else "not a folder"
            raise OutputError(
                f"{path} is {kind}, but the work folder must be there; remove it."
            ) from e
        if os.fstat(self._fd).st_uid != os.geteuid():
            os.close(self._fd)
            raise OutputError(
                f"{path} belongs to another user, and what is in it cannot be trusted; "
                "remove it, or choose another name for the output."
            )
        with suppress(OSError):  # some network file systems keep no modes
            os.fchmod(self._fd, 0o700)

    @classmethod
    def locked(cls, path: Path) -> Self:
        """The folder, made if it is not there, and held by this process until :meth:`close` or :meth:`remove`.

        Raises BlockingIOError if another process holds it, and otherwise as the class does.
        """
        for _ in range(_ATTEMPTS):
            with suppress(FileExistsError):
                path.mkdir(0o700)
            try:
                folder = cls(path)
            except FileNotFoundError:  # removed by its holder in the meantime
                continue
            try:
                if folder._take():
                    return folder
            except BaseException:
                folder.close()
                raise
            folder.close()
        raise BlockingIOError

    def _take(self) -> bool:
        """Lock the folder; False if it was removed in the meantime.

        A lock counts only on the file that now has the name, in the folder that now has the name: whoever removes a folder
        removes its files first, the lock last of them, and then the folder, which fails if another lock is already in it.
        """
        flags = (
            os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )  # never waits for a pipe
        try:
            self._lock = os.open(_LOCK, flags, 0o600, dir_fd=self._fd)
            if not stat.S_ISREG(os.fstat(self._lock).st_mode):
                self.unlink(_LOCK)
                return False
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock = os.stat(_LOCK, dir_fd=self._fd, follow_symlinks=False)
            folder = self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError as e:
            if e.errno not in (
                errno.ELOOP,
                errno.EISDIR,
                errno.ENXIO,
            ):  # a link, a folder, a socket
                raise
            self.unlink(_LOCK)
            return False
        mine = os.fstat(self._lock), os.fstat(self._fd)
        return os.path.samestat(lock, mine[0]) and os.path.samestat(folder, mine[1])

    def close(self) -> None:
        """Release the folder and keep it."""
        if self._lock is not None:
            os.close(self._lock)
        os.close(self._fd)

    def remove(self) -> None:
        """Remove the folder with its content, and release it. Files that cannot be removed stay."""
        with suppress(OSError):
            for name in self.names():
                self.unlink(name)
            self.unlink(_LOCK)
            self.path.rmdir()
        self.close()

    def names(self) -> list[str]:
        """The names in the folder, except the lock."""
        with os.scandir(self._fd) as entries:
            return sorted(e.name for e in entries if e.name != _LOCK)

    def size(self, name: str) -> int | None:
        """The size of a regular file in bytes; None if there is none of that name."""
        try:
            found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def unlink(self, name: str) -> None:
        """Remove the entry of that name, if there is one; a link is removed, never its target."""
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):  # EISDIR on Linux, EPERM in POSIX
            if not stat.S_ISDIR(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode):
                raise
            shutil.rmtree(name, dir_fd=self._fd)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing any entry of the new name."""
        os.replace(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def create(self, name: str) -> BinaryIO:
        """A new file that replaces any entry of the name."""
        self.unlink(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(name, flags, 0o666, dir_fd=self._fd), "wb")

    def read(self, name: str) -> bytes:
        """The content of a regular file."""
        with self._open(name) as f:
            return f.read()

    def _open(self, name: str) -> BinaryIO:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.fdopen(os.open(name, flags, dir_fd=self._fd), "rb")

    def sha256(self, name: str) -> str | None:
        """The digest of a file; None if it cannot be read."""
        digest = hashlib.sha256()
        try:
            with self._open(name) as f:
                while block := f.read(1 << 20):
                    digest.update(block)
        except OSError:
            return None
        return digest.hexdigest()

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write a JSON file and its digest, whole or not at all. Raises OSError."""
        with self.create(f"{name}.part") as f:
            f.write(json.dumps({"sha256": _seal(data), **data}).encode())
            f.flush()
            os.fsync(f.fileno())
        self.rename(f"{name}.part", name)

    def read_json(self, name: str) -> dict[str, Any]:
        """The value that :meth:`write_json` wrote. Raises OSError, ValueError or RecursionError for anything else."""
        data = json.loads(self.read(name))
        if not isinstance(data, dict) or data.pop("sha256", None) != _seal(data):
            raise ValueError(f"{name} is not as it was written")
        return data


def _seal(data: dict[str, Any]) -> str:
    """The SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
