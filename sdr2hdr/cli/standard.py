"""The three standard streams, whatever the program was begun with: closed, full, or a pipe whose reader has gone."""

import contextlib
import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class PrintError(OSError):
    """The standard output cannot be written."""


class _Output(io.FileIO):
    """The standard output, whose errors are told from those of other files."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as e:
            raise PrintError(e.errno, e.strerror) from e


class _Messages(io.TextIOWrapper):
    """The standard error. What it cannot take is lost: no work ends because a message could not be shown."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def complete() -> None:
    """Open what the caller has closed, or the next file opened would become the standard output and be printed into.

    Messages then go nowhere. A result that is printed still fails, because it would be lost.
    """
    for fd, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free, which is this one
    if sys.platform != "win32" or not os.isatty(1):  # a window of Windows takes text, not bytes
        out = io.BufferedWriter(_Output(1, "w", closefd=False))
        encoding = sys.stdout.encoding if sys.stdout else "utf-8"
        sys.stdout = io.TextIOWrapper(
            out, encoding, errors="backslashreplace", line_buffering=out.isatty()
        )
    if sys.platform != "win32" or not os.isatty(2):
        sys.stderr = _Messages(
            io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
            sys.stderr.encoding if sys.stderr else "utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )


def flush() -> None:
    """Print what still waits. Raises PrintError or BrokenPipeError."""
    if sys.stdout is not None:
        sys.stdout.flush()


def discard() -> None:
    """Throw away what still waits for the standard output: the interpreter would try again, and change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
