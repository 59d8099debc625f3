"""The three standard streams, whatever the program was begun with: closed, full, or a pipe whose reader has gone."""

import io
import os
import sys


def complete() -> None:
    """Open what the caller has closed, or the next file opened would become the standard output and be printed into.

    Messages then go nowhere. A result that is printed still fails, because it would be lost.
    """
    for fd, name, mode in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_RDWR)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free, which is this one
            if fd:
                setattr(sys, name, io.TextIOWrapper(io.FileIO(fd, "w", closefd=False), errors="backslashreplace"))


def failure() -> OSError | None:
    """Why the standard output cannot be written; None if it can."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as e:
        return e
    return None


def discard() -> None:
    """Throw away what still waits to be printed: the interpreter would try again as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
