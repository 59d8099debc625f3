"""Stages that overlap: an iterator run in a thread of its own, a few items ahead and no more."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    pass


_END = _End()


class Stopwatch:
    """Seconds a stage has worked, without the time it waited for the stage before."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def working(self, sign: int = 1) -> Iterator[None]:
        """Counts the block as work; as no work where ``sign`` is -1."""
        since = time.monotonic()
        try:
            yield
        finally:
            self.seconds += sign * (time.monotonic() - since)

    def time(self, items: Iterator[T], sign: int = 1) -> Iterator[T]:
        """The items, the making of each counted as work."""
        while True:
            with self.working(sign):
                item = next(items, _END)
            if isinstance(item, _End):
                return
            yield item

    def wait(self, items: Iterator[T]) -> Iterator[T]:
        """The items of the stage before, taken inside this stage's work: their making is not counted."""
        return self.time(items, -1)


@dataclass(frozen=True)
class _Raised:
    error: BaseException


class Prefetch(Generic[T]):
    """Items of an iterator made by a background thread, at most ``depth`` ahead; errors come out where the item would.

    A context manager: leaving it stops the thread before its next item and waits for it.
    """

    def __init__(self, make: Callable[[], Iterator[T]], depth: int) -> None:
        self._queue: queue.Queue[T | _Raised | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        # no daemon: a program that ends while a thread computes is aborted
        self._thread = threading.Thread(target=self._work, args=(make,))

    def __enter__(self) -> Iterator[T]:
        try:
            self._thread.start()
        except (
            BaseException
        ):  # Ctrl-C, say: nobody else would stop the thread, which may run already
            self._stop.set()
            raise
        return self._items()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _put(self, item: T | _Raised | _End) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def _work(self, make: Callable[[], Iterator[T]]) -> None:
        try:
            for item in make():
                self._put(item)
                if self._stop.is_set():
                    return
        except BaseException as e:  # handed over, whatever it is, to the thread that reads
            self._put(_Raised(e))
        else:
            self._put(_END)

    def _items(self) -> Iterator[T]:
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            if isinstance(item, _Raised):
                raise item.error
            yield item
