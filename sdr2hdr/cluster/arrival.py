"""The files of a chunk on their way into the work folder."""

import uuid
from typing import BinaryIO

from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.work import PART, Work


class Arrival:
    """Collects the files of one attempt at a chunk, under names of their own, until all are there.

    ``parts`` are these names. A machine that sees the work folder writes the files itself. Raises OutputError if the work
    folder cannot be written.
    """

    def __init__(self, work: Work, plan: Plan, index: int) -> None:
        self._work, self._plan, self._index = work, plan, index
        attempt = uuid.uuid4().hex[:8]
        self.parts = {name: f"{name}.{attempt}{PART}" for name in work.names(plan, index)}
        self._open: dict[str, BinaryIO] = {}

    def discard(self) -> None:
        """Remove what was not accepted."""
        self._close()
        for part in self.parts.values():
            self._work.remove(part)

    def add(self, name: str, data: bytes) -> None:
        """Append to a file of the chunk; KeyError for a name that is none of its files."""
        if name not in self._open:
            self._open[name] = self._work.create(self.parts[name])
        try:
            self._open[name].write(data)
        except OSError as e:
            raise self._work.cannot_write(name, e) from e

    def accept(self) -> bool:
        """Give the files their names, which records the chunk as done; False if they are not as they were rendered."""
        self._close()
        return self._work.receive(self._plan, self._index, self.parts)

    def _close(self) -> None:
        while self._open:
            name, file = self._open.popitem()
            try:
                file.close()
            except OSError as e:
                raise self._work.cannot_write(name, e) from e
