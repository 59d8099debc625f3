"""The process that has joined a cluster. It is not that of the command, because Ray ends a process whose head is lost."""

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from sdr2hdr.cluster.connection import AUTH, LOCAL, cannot_join, check, connected, is_connected
from sdr2hdr.errors import ModelError
from sdr2hdr.jobs.child import Child, begin
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Ticker
from sdr2hdr.jobs.run import Busy, Executor, Task, unfinished
from sdr2hdr.jobs.work import Work

PATIENCE = 120.0
"""Seconds in which a cluster is joined again after its head was lost."""
LOSSES = 3
"""Losses without a finished chunk in between that end the job."""
_JOINING = 60.0
"""Seconds in which Ray joins a cluster; it would try for longer."""
_JOINING_AGAIN = 30.0
"""The same after a loss: it may have turned to a machine of the old cluster, and then never joins the new one."""
_PAUSE = 1.0
"""Seconds between two attempts."""
_LEAVING = 30.0
"""Seconds in which the process leaves the cluster; a head that is gone would keep it for longer."""


@contextmanager
def joined(address: str, workers: int) -> Iterator[Executor]:
    """An executor on the cluster of this machine (``auto``), on one that lives as long as the block (``local``), or on the one
    whose head has the address ``HOST:PORT``.

    ``workers`` is the number of chunks that the smallest machine renders at a time. If this process has joined a cluster
    itself, that one is used. Raises UsageError without Ray, and ModelError if the cluster cannot be joined.
    """
    check(address)
    if is_connected():
        from sdr2hdr.cluster.executor import Cluster

        yield Cluster(workers)
        return
    driver = Driver(address, workers)
    try:
        yield driver
    finally:
        driver.leave()


@contextmanager
def shared(address: str | None) -> Iterator[str | None]:
    """The address under which several processes join one cluster: for ``local``, a cluster that lives as long as the block.

    Raises as :func:`joined` does.
    """
    if address != LOCAL:
        yield address
        return
    check(LOCAL)
    driver = Driver(LOCAL, 1)
    before = os.environ.get(AUTH)
    os.environ[AUTH] = driver.auth  # for the processes that join it
    try:
        yield driver.head
    finally:
        if before is None:
            del os.environ[AUTH]
        else:
            os.environ[AUTH] = before
        driver.leave()


@dataclass(frozen=True)
class _Wanted:
    task: Task
    plan: Plan
    todo: list[list[int]]


@dataclass
class Driver:
    """An executor in a child process that has joined a cluster.

    If the child ends, the chunks that were being rendered are lost. Another child then joins the cluster and goes on.
    """

    address: str
    workers: int
    head: str = field(init=False)
    """The address under which other processes join the cluster."""
    auth: str = field(init=False)
    """What :data:`AUTH` must be in them."""

    def __post_init__(self) -> None:
        self._join()

    def _join(self, seconds: float = _JOINING) -> None:
        """Raises ModelError if the cluster cannot be joined within many ``seconds``."""
        self._child = Child.start(_main, self.address, self.workers)
        begun = False
        try:
            while (said := self._next(seconds if begun else _JOINING)) is None:
                begun = True
            if isinstance(said, Exception):
                raise said
            self.head, self.auth = said
        except BaseException as e:
            if begun:
                self._child.process.terminate()
            else:
                self._child.process.kill()
            self._child.end(_LEAVING)
            if isinstance(e, EOFError):
                raise cannot_join(self.address, "Ray ended; its logs in /tmp/ray say why") from None
            if isinstance(e, TimeoutError):
                raise cannot_join(
                    self.address, f"it has not answered for {seconds:.0f} seconds"
                ) from None
            raise

    def _next(self, seconds: float | None = None) -> Any:
        """What the child says next, within many ``seconds``. Raises EOFError if it has ended, and TimeoutError."""
        try:
            if not self._child.pipe.poll(seconds):
                raise TimeoutError
            return self._child.pipe.recv()
        except TimeoutError:
            raise
        except OSError:
            raise EOFError from None

    def render(
        self, task: Task, plan: Plan, work: Work, todo: list[list[int]], tick: Ticker
    ) -> Busy:
        fruitless = 0
        while True:
            told = _Told(tick, work)
            try:
                return self._render(_Wanted(task, plan, todo), told)
            except EOFError:
                before, todo = todo, unfinished(plan, work)
            left = {i for group in todo for i in group}
            done = [plan.chunks[i] for group in before for i in group if i not in left]
            tick(sum(runs[-1].last - runs[0].first for runs in done) - told.frames)
            fruitless = 0 if done else fruitless + 1
            self._join_again(task, fruitless)
            told.note("The connection to the cluster was lost, and the cluster was joined again.")

    def _render(self, wanted: _Wanted, told: "_Told") -> Busy:
        """Raises EOFError if the child ends."""
        said: Any = None
        try:
            with suppress(OSError):  # it has ended, which the answer says
                self._child.pipe.send(wanted)
            while not isinstance(said := self._next(), dict | Exception):
                if isinstance(said, str):
                    told.note(said)
                else:
                    told(*said)
        except BaseException:  # it goes on rendering
            self._child.process.terminate()
            self._child.end()
            raise
        if isinstance(said, Exception):
            raise said
        return said

    def _join_again(self, task: Task, fruitless: int) -> None:
        """Wait for a new head. Raises ModelError if none comes, or if heads are lost without a chunk in between."""
        deadline = time.monotonic() + PATIENCE
        cause: ModelError | None = None
        while fruitless < LOSSES and time.monotonic() < deadline:
            try:
                check(self.address if self.address == LOCAL else self.head)
                return self._join(_JOINING_AGAIN)
            except ModelError as e:
                cause = e
            time.sleep(_PAUSE)
        raise ModelError(
            f"The connection to the Ray cluster {self.address!r} was lost while {task.source} was rendered; finished chunks are "
            "kept: see whether its head runs, then run the same command again to continue."
        ) from cause

    def leave(self) -> None:
        """Leave the cluster."""
        with suppress(OSError):
            self._child.pipe.send(None)
        self._child.end(_LEAVING)


class _Told:
    """What the child tells."""

    def __init__(self, tick: Ticker, work: Work) -> None:
        self._tick, self._work = tick, work
        self.frames = 0

    def __call__(self, frames: int, machine: str) -> None:
        self.frames += frames
        self._tick(frames, machine)

    def note(self, words: str) -> None:
        self._tick.note(words)
        self._work.notes.append(words)


class _Telling:
    """Tells the parent what a :class:`Ticker` would be told."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.machines: dict[str, int] = {}

    def __call__(self, frames: int, machine: str = "") -> None:
        self.machines[machine] = self.machines.get(machine, 0) + frames
        self._pipe.send((frames, machine))

    def note(self, words: str) -> None:
        self._pipe.send(words)


def _main(address: str, workers: int, pipe: Connection) -> None:
    """The main function of the child. It renders what it is asked for until it is asked for nothing more.

    Ray writes its own messages to standard error. The parent says what people need to know.
    """
    with suppress(KeyboardInterrupt):
        begin()
        pipe.send(None)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            with connected(address) as head:
                pipe.send((head, os.environ.get(AUTH, "disabled")))
                while (wanted := _wanted(pipe)) is not None:
                    pipe.send(_rendered(wanted, workers, pipe))
        except Exception as e:
            pipe.send(_with_traceback(e))


def _wanted(pipe: Connection) -> _Wanted | None:
    try:
        wanted: _Wanted | None = pipe.recv()
    except EOFError:  # the parent has ended
        return None
    return wanted


def _rendered(wanted: _Wanted, workers: int, pipe: Connection) -> Busy | Exception:
    from sdr2hdr.cluster.executor import Cluster

    try:
        work = Work(wanted.task.folder)
        return Cluster(workers).render(wanted.task, wanted.plan, work, wanted.todo, _Telling(pipe))
    except Exception as e:
        return _with_traceback(e)


def _with_traceback(error: Exception) -> Exception:
    error.add_note("".join(traceback.format_exception(error)))
    return error
