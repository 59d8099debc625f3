"""Handles Ctrl-C, SIGTERM and the loss of the terminal (SIGHUP), from the start of the program to its end."""

import os
import signal
import threading
import time
from types import FrameType

PATIENCE = 1.0
"""Seconds. A second Ctrl-C within this time is ignored; a later one ends the program at once."""
_SOON = 0.05
_ALARM: int | None = getattr(signal, "SIGALRM", None)  # Windows has none
_BREAK: int | None = getattr(signal, "SIGBREAK", None)  # Windows: Ctrl-Break, a closed window
_HANG_UP: int | None = getattr(signal, "SIGHUP", None)
_ALL = (_ALARM, _BREAK, _HANG_UP, signal.SIGINT, signal.SIGTERM)
_SIGNALS = tuple(n for n in _ALL if n is not None)
_IMPORTING = "<frozen importlib._bootstrap>"


class Stopper:
    """The handler of these signals: the first raises KeyboardInterrupt, and nothing disturbs the clean-up.

    While a module loads, the interrupt waits: a half-loaded module would raise a misleading error.
    """

    def __init__(self) -> None:
        self.asked: float | None = None
        """When the user asked to stop, by the monotonic clock."""

    def watch(self) -> None:
        """Handle the signals from now on. A signal that is already ignored (as by ``nohup``) stays ignored."""
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def over(self) -> None:
        """Everything is done: a signal during the interpreter's exit changes nothing."""
        for number in _SIGNALS:  # the interpreter takes handlers away as it ends, but leaves this
            signal.signal(number, signal.SIG_IGN)

    def _stop(self, _number: int, frame: FrameType | None) -> None:
        if self.asked is None and _imports(frame):
            _again_soon()
        elif self.asked is None:
            self.asked = time.monotonic()
            raise KeyboardInterrupt
        elif time.monotonic() - self.asked > PATIENCE:
            os.write(2, b"Stopped at once; finished work is kept.\n")
            os._exit(130)


def _again_soon() -> None:
    """Let the handler be called again in a moment."""
    if _ALARM is not None:
        signal.setitimer(signal.ITIMER_REAL, _SOON)
    else:
        threading.Timer(_SOON, signal.raise_signal, (signal.SIGINT,)).start()


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is loading."""
    while frame is not None and frame.f_code.co_filename != _IMPORTING:
        frame = frame.f_back
    return frame is not None


stopper = Stopper()
