"""A folder of this user's own, in which nothing is trusted and nothing is written through.

All files are reached from the open folder, never by following a link. What is made is made anew, so that no link, pipe or second
name of another file can be written to. JSON files carry a digest of what they hold.

Windows opens no folder. There, files are reached by their paths; the open lock keeps the folder from being moved or removed.
"""

import errno
import hashlib
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from filelock import lock_descriptor

from sdr2hdr.errors import OutputError
from sdr2hdr.system import BINARY, NO_LINK, NO_WAIT, is_mine, open_folder

_LOCK = "lock"
_ATTEMPTS = 1000
"""Attempts to make and lock a folder that others may remove in between."""


class Folder:
    """An open folder. Raises OutputError for a link, a file, and a folder of another user; OSError if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        try:
            self._fd = open_folder(path)
        except OSError as e:
            if e.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            kind = "a link" if path.is_symlink() else "not a folder"
            raise OutputError(
                f"{path} is {kind}, but the work folder must be there; remove it."
            ) from e
        if self._fd is not None and not is_mine(self._fd):
            os.close(self._fd)
            raise OutputError(
                f"{path} belongs to another user, and what is in it cannot be trusted; "
                "remove it, or choose another name for the output."
            )
        with suppress(OSError):  # some network file systems keep no modes
            os.chmod(path if self._fd is None else self._fd, 0o700)  # noqa: PTH101 - a descriptor

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
        flags = os.O_RDWR | os.O_CREAT | NO_LINK | NO_WAIT | BINARY
        try:
            if self._is_odd(_LOCK):
                self.unlink(_LOCK)
            self._lock = os.open(self._at(_LOCK), flags, 0o600, dir_fd=self._fd)
            if not lock_descriptor(self._lock, blocking=False):
                raise BlockingIOError
            lock, folder = self._stat(_LOCK), self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            if not self._is_odd(_LOCK):  # a link, a folder or a socket has come in the meantime
                raise
            return False
        return os.path.samestat(lock, os.fstat(self._lock)) and (
            self._fd is None or os.path.samestat(folder, os.fstat(self._fd))
        )

    def close(self) -> None:
        """Release the folder and keep it."""
        for fd in (self._lock, self._fd):
            if fd is not None:
                os.close(fd)
        self._lock = self._fd = None

    def remove(self) -> None:
        """Remove the folder with its content, and release it. Files that cannot be removed stay."""
        with suppress(OSError):
            for name in self.names():
                self.unlink(name)
            if self._fd is None:  # Windows removes no open file, be it ours or the next holder's
                self.close()
            self.unlink(_LOCK)
            self.path.rmdir()
        self.close()

    def names(self) -> list[str]:
        """The names in the folder, except the lock."""
        with os.scandir(self.path if self._fd is None else self._fd) as entries:
            return sorted(e.name for e in entries if e.name != _LOCK)

    def _at(self, name: str) -> str:
        """A name for calls that take the open folder as ``dir_fd``."""
        return name if self._fd is not None else str(self.path / name)

    def _stat(self, name: str) -> os.stat_result:
        return os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)

    def _is_odd(self, name: str) -> bool:
        """Whether there is something of that name that is not a regular file."""
        try:
            return not stat.S_ISREG(self._stat(name).st_mode)
        except FileNotFoundError:
            return False

    def size(self, name: str) -> int | None:
        """The size of a regular file in bytes; None if there is none of that name."""
        try:
            found = self._stat(name)
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of that name, not a link to one."""
        try:
            return stat.S_ISDIR(self._stat(name).st_mode)
        except OSError:
            return False

    def unlink(self, name: str) -> None:
        """Remove the entry of that name, if there is one; a link is removed, never its target."""
        try:
            os.unlink(self._at(name), dir_fd=self._fd)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):  # EISDIR on Linux, EPERM in POSIX
            if not stat.S_ISDIR(self._stat(name).st_mode):
                raise
            shutil.rmtree(self._at(name), dir_fd=self._fd)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing any entry of the new name."""
        os.replace(self._at(old), self._at(new), src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def create(self, name: str) -> BinaryIO:
        """A new file that replaces any entry of the name."""
        self.unlink(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK | BINARY
        return os.fdopen(os.open(self._at(name), flags, 0o666, dir_fd=self._fd), "wb")

    def read(self, name: str) -> bytes:
        """The content of a regular file."""
        with self._open(name) as f:
            return f.read()

    def _open(self, name: str) -> BinaryIO:
        flags = os.O_RDONLY | NO_LINK | NO_WAIT | BINARY
        return os.fdopen(os.open(self._at(name), flags, dir_fd=self._fd), "rb")

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
