"""Overlapping stages: an iterator that runs in its own thread, at most a few items ahead."""

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
        """Adds the duration of the block to the work; subtracts it if ``sign`` is -1."""
        since = time.monotonic()
        try:
            yield
        finally:
            self.seconds += sign * (time.monotonic() - since)

    def time(self, items: Iterator[T], sign: int = 1) -> Iterator[T]:
        """The items; the time to make each counts as work."""
        while True:
            with self.working(sign):
                item = next(items, _END)
            if isinstance(item, _End):
                return
            yield item

    def wait(self, items: Iterator[T]) -> Iterator[T]:
        """The items of the previous stage, taken during this stage's work; the time to make them does not count."""
        return self.time(items, -1)


@dataclass(frozen=True)
class _Raised:
    error: BaseException


class Prefetch(Generic[T]):
    """Items of an iterator made by a background thread, at most ``depth`` ahead; an error is raised in place of the item.

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
        ):  # for example Ctrl-C: nothing else would stop the thread, which may already run
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
        except BaseException as e:  # every error goes to the reading thread
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
