"""Watching a folder: its files are taken, in rounds, once they have stopped growing."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from watchfiles import Change, watch

from sdr2hdr.batch.plan import walk
from sdr2hdr.errors import InputError

SETTLE = 5.0
"""Seconds in which size and modification time of a file must stay the same before it is taken."""

RETRY = 60.0
"""Seconds after which a file that could not be converted for lack of disk space is tried again, and after which the folder is
looked through even if the system reports no change, as some network shares do not."""

Stamp = tuple[int, int]


class Arrivals:
    """The files of a folder that are new or have changed since they were taken, and when each is due; times in seconds."""

    def __init__(self) -> None:
        self._stamps: dict[Path, Stamp] = {}
        self._due: dict[Path, float] = {}

    def __bool__(self) -> bool:
        """Whether any file waits to be taken."""
        return bool(self._due)

    def look(self, files: Iterable[Path], now: float) -> None:
        """Note the size and the time of each file; whatever has changed since the last look has to settle."""
        before, self._stamps = self._stamps, {}
        for path in files:
            with suppress(OSError):  # it has just gone, or cannot be read yet
                found = path.stat()
                self._stamps[path] = (found.st_size, found.st_mtime_ns)
        for path, stamp in self._stamps.items():
            if before.get(path) != stamp:
                self._due[path] = now + SETTLE
        self._due = {path: at for path, at in self._due.items() if path in self._stamps}

    def take(self, now: float) -> frozenset[Path]:
        """The files that are due; they are not due again until they change or are put off."""
        taken = frozenset(path for path, at in self._due.items() if at <= now)
        for path in taken:
            del self._due[path]
        return taken

    def put_off(self, path: Path, now: float) -> None:
        """Let a file that was taken be due again later."""
        self._due[path] = now + RETRY


def check_watched(source: Path) -> None:
    """Raise InputError for anything but a folder."""
    if not source.is_dir():
        raise InputError(f"{source} is not a folder; name the folder to watch.")


def rounds(source: Path, target: Path, arrivals: Arrivals) -> Iterator[frozenset[Path]]:
    """The files to convert, round by round, without end. ``target`` is passed over. Raises InputError for a folder that
    cannot be watched, and KeyboardInterrupt when the user stops.
    """
    check_watched(source)
    inside = target.resolve()
    wakes = _Wakes(source.resolve(), inside)
    while True:
        now = time.monotonic()
        arrivals.look((each for each in walk(source, inside) if isinstance(each, Path)), now)
        looked = now
        if due := arrivals.take(now):
            yield due
        _wait(wakes, source, arrivals, looked)


class _Wakes:
    """What the system reports of a folder and all below it but the folder ``inside``."""

    def __init__(self, folder: Path, inside: Path) -> None:
        self._folder, self._inside = folder, inside
        self._reports = self._begun()

    def _begun(self) -> Iterator[set[tuple[Change, str]]]:
        return watch(
            self._folder,
            watch_filter=lambda _change, path: not Path(path).is_relative_to(self._inside),
            rust_timeout=round(SETTLE * 1000),
            yield_on_timeout=True,
        )

    def next(self) -> bool:
        """Whether anything has changed in the next seconds. Raises OSError, RuntimeError and StopIteration."""
        try:
            return bool(next(self._reports))
        except RuntimeError as e:
            if "decode path" not in str(e):
                raise
            self._reports = self._begun()  # it ends with a name that is no Unicode
            return True


def _wait(wakes: _Wakes, source: Path, arrivals: Arrivals, looked: float) -> None:
    """Return once the folder should be looked through."""
    try:
        while not wakes.next() and not arrivals and time.monotonic() - looked < RETRY:
            pass
    except (OSError, RuntimeError, StopIteration) as e:
        raise InputError(
            f"{source} cannot be watched ({e}); check that it is there, or raise the system's limit of watched folders."
        ) from e
    if not source.is_dir():
        raise InputError(f"{source} is gone; start again once it is there.")
