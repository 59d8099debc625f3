"""What not every operating system has, and what stands in for it.

POSIX systems open files relative to a folder, refuse links as they open, and block signals. Windows does none of this.
"""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
"""Flag of ``os.open``: a link is an error."""

NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
"""Flag of ``os.open``: does not wait for the other end of a pipe."""

BINARY: int = getattr(os, "O_BINARY", 0)
"""Flag of ``os.open``: Windows leaves the ends of lines as they are."""

_LONGEST_NAME = 255
"""Characters on NTFS and APFS."""


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait for work, and NumPy's linear algebra start none; to be called before either is
    imported.

    By default they keep a core busy for some milliseconds after each piece of work, which decoder and encoder then lack.
    OpenBLAS's threads turn for a while as soon as NumPy is loaded, and frames need no large products of matrices.
    ``OMP_WAIT_POLICY`` (OpenMP 5.2, 21.4) and ``OPENBLAS_NUM_THREADS``, if they are set, say otherwise.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def open_folder(path: Path) -> int | None:
    """A descriptor of a folder, relative to which its files can be opened; None if the system has no such descriptors.

    Raises OSError, with ENOTDIR or ELOOP if it is not itself a folder.
    """
    if os.open in os.supports_dir_fd and os.scandir in os.supports_fd:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | NO_LINK)
    path.lstat()  # raises FileNotFoundError
    if not path.is_dir() or path.resolve() != path.parent.resolve() / path.name:  # a junction
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return None


def is_mine(fd: int) -> bool:
    """Whether an open file belongs to this user; True if the system does not tell."""
    return not hasattr(os, "geteuid") or os.fstat(fd).st_uid == os.geteuid()


def longest_name(folder: Path) -> int:
    """The most bytes that the name of a file in a folder may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return _LONGEST_NAME


@contextmanager
def main_left_out() -> Iterator[None]:
    """Processes spawned in this block do not load the program's main module, of which they need nothing.

    A script that does its work without ``if __name__ == "__main__":`` would begin anew in each of them.
    """
    main: dict[str, object] = sys.modules["__main__"].__dict__
    kept: dict[str, object] = {
        name: main[name] for name in ("__spec__", "__file__") if name in main
    }
    main.update(dict.fromkeys(kept))
    try:
        yield
    finally:
        main.update(kept)


@contextmanager
def signals_held() -> Iterator[None]:
    """Processes started in this block ignore Ctrl-C, which a terminal sends to all; their parent stops them.

    On POSIX systems SIGTERM waits, too, until :func:`heed`. On Windows, Ctrl-C within the block is lost.
    """
    if hasattr(signal, "pthread_sigmask"):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    _pass_over_ctrl_c(True)
    try:
        yield
    finally:
        _pass_over_ctrl_c(False)


def heed(number: signal.Signals) -> None:
    """Let a signal through that :func:`signals_held` holds in a process started within it."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


def _pass_over_ctrl_c(passed_over: bool) -> None:
    """Processes inherit this from the one that starts them (Windows, SetConsoleCtrlHandler)."""
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, passed_over)
