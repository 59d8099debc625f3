"""A process of our own that works apart from this one and talks with it."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Self

from sdr2hdr.system import heed, main_left_out, signals_held


@dataclass(frozen=True)
class Child:
    """A process, and this end of a pipe to it. It ends with this process, and Ctrl-C does not reach it."""

    process: BaseProcess
    pipe: Connection

    @classmethod
    def start(cls, function: Callable[..., None], *args: Any) -> Self:
        """Call ``function(*args, pipe)`` in a new process. It calls :func:`begin` first."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=function, args=(*args, theirs))
        with signals_held(), main_left_out():
            process.start()
        theirs.close()
        return cls(process, ours)

    def end(self, seconds: float = float("inf")) -> None:
        """Wait until it has ended, and kill it after many ``seconds``. What it still says is passed over."""
        deadline = time.monotonic() + seconds
        while self.process.is_alive():
            if time.monotonic() > deadline:
                self.process.kill()
            with suppress(EOFError, OSError):
                if self.pipe.poll(0.1):
                    self.pipe.recv()  # a full pipe would block it
            self.process.join(0.05)
        self.pipe.close()


def begin() -> None:
    """The first call in a child: from now on SIGTERM raises KeyboardInterrupt, and the child ends with its parent."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its children
    heed(signal.SIGTERM)


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is being ended is not interrupted again
    raise KeyboardInterrupt


def end_with_parent() -> None:
    """A killed parent cannot stop its children, which must not keep writing next to those of the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
