"""Renders the chunks of a plan as Ray tasks; the journal in the work folder, which this process alone writes, is the truth."""

import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    RayError,
    RayTaskError,
)  # fmt: skip

from sdr2hdr.cluster.arrival import Arrival
from sdr2hdr.cluster.files import Needed
from sdr2hdr.cluster.home import open_home
from sdr2hdr.cluster.node import Begun, Done, Job, Piece, Unfit, Word, mixed, render_chunk
from sdr2hdr.cluster.resources import Machine, Share, machines
from sdr2hdr.errors import InputError, ModelError, OutputError
from sdr2hdr.jobs.chunk import TileTooLarge
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Speeds, Ticks
from sdr2hdr.jobs.run import Busy, Task
from sdr2hdr.jobs.work import PART, Work
from sdr2hdr.media.encoder import EncoderGone
from sdr2hdr.weights import fetch
from sdr2hdr.weights.load import choose

ATTEMPTS = 3
"""Failures of a chunk, each on another machine if there are so many, that end the job."""
LOSSES = 12
"""Machines that may be lost with a chunk, and failures of it wherever they were, before it is taken for the reason."""
_HELD = 4
"""Pieces of a chunk that may wait in the object store."""
_LOOK = 2.0
"""Seconds between two looks at the cluster's machines."""
_SOON = 0.5
"""Seconds in which the first word of a task that has begun arrives."""
_PATIENCE = 20.0
"""Seconds that tasks have to end by themselves."""


@dataclass(frozen=True)
class Cluster:
    """An executor on the cluster that this process has joined, with ``workers`` chunks at a time on the smallest machine."""

    workers: int

    def render(
        self, task: Task, plan: Plan, work: Work, todo: list[list[int]], tick: Ticks
    ) -> Busy:
        run = _Run(task, plan, work, todo, tick, self.workers)
        try:
            return run.finish()
        finally:
            run.stop()


@dataclass(eq=False)
class _Flight:
    """A task under way: the chunk at the head of its group."""

    group: list[int]
    stream: Any
    arrival: Arrival
    share: Share
    avoids: frozenset[str]
    at: Begun | None = None
    frames: int = 0

    @property
    def index(self) -> int:
        return self.group[0]


@dataclass
class _Trouble:
    """What went wrong with a chunk: the machines on which it failed, by their ids, and how many were lost with it."""

    failed: dict[str, str] = field(default_factory=dict)
    attempts: int = 0
    losses: int = 0


class _Run:
    def __init__(
        self, task: Task, plan: Plan, work: Work, todo: list[list[int]], tick: Ticks, workers: int
    ) -> None:
        self.task, self.plan, self.work, self.tick, self.workers = task, plan, work, tick, workers
        self.machines: dict[str, Machine] = {}
        self._see_machines()
        source, weights = Needed.at(task.source), _weights(task)
        self.home = open_home(frozenset(n.path for n in (source, weights) if n is not None))
        key = uuid.uuid4().hex
        self.token = f"seen-{key}{PART}"
        work.create(self.token).close()
        token = work.folder.absolute() / self.token
        self.job = Job(key, task, ray.put(plan), source, weights, self.home, token)
        self.function = ray.remote(render_chunk)
        self.waiting = deque(sorted(todo, key=self._frames, reverse=True))
        self.flights: dict[Any, _Flight] = {}
        self.trouble: dict[int, _Trouble] = {}
        self.unfit: dict[str, str] = {}
        self.processors: set[str] = set()
        self.looked = time.monotonic()
        self.busy: Busy = {}
        self.speeds = Speeds()
        self.sent = 0

    def finish(self) -> Busy:
        """Render all; the longest groups begin first, so that none is left alone at the end."""
        while self.waiting or self.flights:
            self._look()
            while self.waiting and len(self.flights) < self._most():
                self._send(self.waiting.popleft())
            streams = list(self.flights)
            ready, rest = ray.wait(streams, timeout=0.5, fetch_local=False)
            if rest and ready:
                ready += ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]
            for stream in ready:
                self._listen(self.flights[stream])
        self._note(
            f"Rendered on a cluster: {self.speeds.words()}. "
            f"{self.sent / 2**20:.3g} MiB of chunks were sent, the others written to the work folder."
        )
        return self.busy

    def _frames(self, group: list[int]) -> int:
        return sum(self.plan.chunks[i][-1].last - self.plan.chunks[i][0].first for i in group)

    def _see_machines(self) -> None:
        """Look at the machines. The share of further chunks follows them, so that a smaller machine has work, too."""
        self.machines = machines()
        self.share = Share.of(self.task, self.plan, self.workers, self.machines.values())

    def _look(self) -> None:
        """From time to time, see how many chunks run at a time, and whether a task waits for a machine that is gone."""
        if time.monotonic() - self.looked < _LOOK:
            return
        self.looked = time.monotonic()
        self._see_machines()
        for flight in list(self.flights.values()):
            if flight.at is None and self._waits_in_vain(flight):
                self._drop(flight)
                self.waiting.appendleft(flight.group)
                ray.cancel(flight.stream)

    def _waits_in_vain(self, flight: _Flight) -> bool:
        """Whether no machine may take a task, though there are some for its chunk."""
        able = self._able()
        takes = {key for key in able if flight.share.fits(self.machines[key])}
        return bool(able) and not takes - flight.avoids

    def _able(self) -> set[str]:
        """The live machines that can render a chunk."""
        large = {key for key, machine in self.machines.items() if self.share.fits(machine)}
        return large - self.unfit.keys()

    def _most(self) -> int:
        """Tasks to hold: twice what runs at a time, so that a new machine has work at once, and an autoscaler sees a need."""
        return 2 + 2 * sum(self.share.fits(m) for m in self.machines.values())

    def _send(self, group: list[int]) -> None:
        index = group[0]
        first = self.plan.chunks[index][0]
        states = self.work.read_states_file(index - 1) if first.first > first.scene_first else None
        failed = self.trouble.get(index, _Trouble()).failed
        avoids = frozenset(self.unfit) | frozenset(failed)
        if not self._able() - avoids:
            avoids = frozenset(self.unfit)
        where = {"ray.io/node-id": f"!in({','.join(sorted(avoids))})"} if avoids else None
        task = self.function.options(
            **self.share.options(),
            name=f"chunk {index}",
            max_retries=0,
            num_returns="streaming",
            label_selector=where,
            _generator_backpressure_num_objects=_HELD,
        )
        pulse = 1.0 + len(self.flights) / 500
        arrival = Arrival(self.work, self.plan, index)
        stream = task.remote(self.job, index, states, arrival.parts, pulse)
        self.flights[stream] = _Flight(group, stream, arrival, self.share, avoids)

    def _listen(self, flight: _Flight) -> None:
        """Take the next word of a task, or its end."""
        try:
            self._take(flight, ray.get(next(flight.stream)))
        except StopIteration:
            self._failed(flight, RuntimeError("it ended without a result"))
        except RayTaskError as e:
            cause = e.cause
            if isinstance(cause, TileTooLarge | EncoderGone):
                raise cause from e
            if isinstance(cause, Unfit) and flight.at is not None:
                self._cannot(flight, flight.at, str(cause))
            else:
                self._failed(flight, cause)
        except (NodeDiedError, ObjectLostError) as e:
            self._lost(flight, e)
        except RayError as e:
            self._failed(flight, e)

    def _take(self, flight: _Flight, word: Word) -> None:
        match word:
            case Begun():
                flight.at = word
                self._count(flight, 0)
                if word.processor not in self.processors:
                    self.processors.add(word.processor)
                    if said := mixed(self.processors, self.plan.settings.precision):
                        self._note(said)
            case Piece():
                flight.arrival.add(word.name, word.data)
                self.sent += len(word.data)
            case Done():
                if flight.arrival.accept():
                    self._drop(flight)
                    for name, seconds in word.busy.items():
                        self.busy[name] = self.busy.get(name, 0.0) + seconds
                    if rest := flight.group[1:]:
                        self.waiting.appendleft(rest)
                else:
                    self._failed(flight, RuntimeError("its files did not arrive as they were sent"))
            case int():
                flight.frames += word
                self._count(flight, word)

    def _count(self, flight: _Flight, frames: int) -> None:
        self.tick(frames, "" if flight.at is None else flight.at.host)
        self.speeds.see(self.tick.machines)

    def _note(self, words: str) -> None:
        self.tick.note(words)
        self.work.notes.append(words)

    def _drop(self, flight: _Flight) -> None:
        """Forget a task; what arrived of a chunk that is not done is removed."""
        del self.flights[flight.stream]
        flight.arrival.discard()

    def _again(self, flight: _Flight) -> None:
        self._drop(flight)
        self._count(flight, -flight.frames)
        self.waiting.appendleft(flight.group)

    def _cannot(self, flight: _Flight, at: Begun, why: str) -> None:
        """A machine cannot render the film: the others go on without it."""
        self._again(flight)
        if at.node in self.unfit:
            return
        self.unfit[at.node] = why
        self._see_machines()
        if not self._able():
            raise ModelError(
                f"No machine of the cluster can render {self.task.source}: {why} ({at.host}); see docs/cluster.md."
            )
        self._note(f"{at.host} renders nothing of this film: {why}.")

    def _lost(self, flight: _Flight, error: RayError) -> None:
        """The machine is gone; that says nothing of the chunk, unless it happens again and again."""
        self._again(flight)
        trouble = self.trouble.setdefault(flight.index, _Trouble())
        trouble.losses += 1
        if trouble.losses >= LOSSES:
            raise self._end(
                flight.index, f"{LOSSES} machines were lost while they rendered it", error
            )

    def _failed(self, flight: _Flight, cause: BaseException) -> None:
        """The chunk failed, or its process died. The job ends after three failures on different machines."""
        self._again(flight)
        self._see_machines()
        trouble = self.trouble.setdefault(flight.index, _Trouble())
        if flight.at is not None and flight.at.node not in self.machines:
            trouble.losses += 1  # the process died with its machine
            return
        trouble.attempts += 1
        if flight.at is not None:
            trouble.failed[flight.at.node] = flight.at.host
        here = trouble.failed.keys() & self.machines.keys()
        everywhere = len(here) >= min(ATTEMPTS, len(self._able()))
        # a process that dies before it says where it runs tells no machine
        if trouble.attempts >= (ATTEMPTS if everywhere else LOSSES):
            raise self._end(flight.index, _words(cause), cause)

    def _end(self, index: int, why: str, cause: BaseException) -> Exception:
        kind = next((k for k in (InputError, OutputError) if isinstance(cause, k)), ModelError)
        trouble = self.trouble[index]
        hosts = ", ".join(sorted(set(trouble.failed.values()))) or "the cluster"
        return kind(
            f"Chunk {index} of {self.task.source} failed {trouble.attempts or trouble.losses} times on {hosts}: {why}; "
            "finished chunks are kept, and the same command continues from there."
        )

    def stop(self) -> None:
        """End the tasks under way, and remove what arrived of them. One that has not begun ends as it begins."""
        with suppress(RayError):
            ray.get(self.home.stop.remote(), timeout=_PATIENCE)
        self.work.remove(self.token)
        # some have begun, but their first word has not been taken yet
        begun = {flight.stream for flight in self.flights.values() if flight.at}
        if unheard := list(self.flights.keys() - begun):
            begun.update(
                ray.wait(unheard, num_returns=len(unheard), timeout=_SOON, fetch_local=False)[0]
            )
        ends = [stream.completed() for stream in begun]
        if ends:
            ray.wait(ends, num_returns=len(ends), timeout=_PATIENCE, fetch_local=False)
        for flight in list(self.flights.values()):
            self._drop(flight)


def _weights(task: Task) -> Needed | None:
    entry = choose(task.model, task.weights)
    return None if entry is None else Needed.at(fetch.locate(entry))


def _words(cause: BaseException) -> str:
    """A cause in one line."""
    text = str(cause).strip() or type(cause).__name__
    return " ".join(text.split("\n", 1)[0].split()).rstrip(".")
