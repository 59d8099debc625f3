"""The progress of a conversion."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sdr2hdr.jobs.plan import Plan
from sdr2hdr.kernels.compiled import seconds_compiling
from sdr2hdr.text import time_text


@dataclass(frozen=True)
class Progress:
    """A moment of a conversion: the stage (``scan``, ``render``, ``assemble``, ``check``) and its finished frames.

    A moment with a ``note``, a sentence for people, has no new progress. ``machines`` are the frames that each machine of a
    cluster has rendered in this run.
    """

    stage: str
    done: int
    total: int
    scene: int = 0
    scenes: int = 0
    note: str = ""
    machines: Mapping[str, int] = field(default_factory=dict)


Watcher = Callable[[Progress], None]


class Speeds:
    """The frames of each machine of a cluster, and the seconds from its first word to its last."""

    def __init__(self) -> None:
        self._frames: dict[str, dict[object, int]] = {}
        self._times: dict[str, tuple[float, float]] = {}

    def see(self, machines: Mapping[str, int], film: object = None) -> None:
        """Take the frames of one film so far (:attr:`Progress.machines`)."""
        now = time.monotonic()
        for name, frames in machines.items():
            films = self._frames.setdefault(name, {})
            if films.get(film) != frames:
                films[film] = frames
                first, _ = self._times.get(name, (now, now))
                self._times[name] = first, now

    def frames(self) -> dict[str, int]:
        """The frames of each machine."""
        return {name: sum(films.values()) for name, films in sorted(self._frames.items())}

    def rates(self) -> dict[str, float]:
        """The frames per second of each machine; 0 for one that has just begun."""
        return {
            name: frames / (last - first) if last > first else 0.0
            for name, frames in self.frames().items()
            for first, last in [self._times[name]]
        }

    def facts(self) -> dict[str, dict[str, float]]:
        """Frames, and frames per second, of each machine, for JSON."""
        rates = self.rates()
        return {
            name: {"frames": frames, "frames_per_second": rates[name]}
            for name, frames in self.frames().items()
        }

    def words(self) -> str:
        """What each machine has done, for people."""
        rates = self.rates()
        return "; ".join(
            f"{name} {frames} frames at {rates[name]:.3g} a second"
            for name, frames in self.frames().items()
        )


class Ticks(Protocol):
    """What a rendering tells: frames, with the machine that rendered them, and sentences for people."""

    machines: dict[str, int]

    def __call__(self, frames: int, machine: str = "") -> None: ...

    def note(self, words: str) -> None: ...


class Ticker:
    """Turns finished frames into progress, beginning with the chunks that an earlier run has ``finished``.

    After the first chunk of this run a note says how long the rest will take.
    """

    def __init__(self, plan: Plan, finished: Iterable[int], progress: Watcher) -> None:
        self._plan, self._progress = plan, progress
        self.machines: dict[str, int] = {}
        lengths = [chunk[-1].last - chunk[0].first for chunk in plan.chunks]
        earlier = set(finished)
        self._done = sum(lengths[i] for i in earlier)
        first = next((n for i, n in enumerate(lengths) if i not in earlier), 0)
        self._forecast_at: int | None = self._done + first
        self._begun: tuple[float, int] | None = (
            None  # when the first frames came, and how many were done
        )
        self(0)

    def __call__(self, frames: int, machine: str = "") -> None:
        if machine:
            self.machines[machine] = self.machines.get(machine, 0) + frames
        self._done = min(
            self._done + frames, len(self._plan.survey.pts)
        )  # some are done twice if memory runs out
        total, cuts = len(self._plan.survey.pts), self._plan.survey.cuts
        self._forecast(total, frames)
        scene = 1 + sum(cut <= self._done for cut in cuts)
        scene, scenes = min(scene, len(cuts) + 1), len(cuts) + 1
        machines = dict(self.machines)
        self._progress(Progress("render", self._done, total, scene, scenes, machines=machines))

    def note(self, words: str) -> None:
        """Tell the watcher a sentence about the rendering."""
        total, machines = len(self._plan.survey.pts), dict(self.machines)
        self._progress(Progress("render", self._done, total, note=words, machines=machines))

    def _forecast(self, total: int, frames: int) -> None:
        """A note, once: the time of the first chunk without its start, for each frame that is left."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = (now, self._done) if frames else None
            if frames and (seconds := seconds_compiling()) >= 1:
                note = f"Kernels were compiled for this machine, once, in {time_text(seconds)}."
                self.note(note)
            return
        since, before = self._begun
        if self._forecast_at is None or self._done < self._forecast_at:
            return
        self._forecast_at = None
        if total > self._done > before and now > since:
            rate = (self._done - before) / (now - since)
            left = time_text((total - self._done) / rate)
            note = f"The film takes about {left} from here, at {rate:.3g} frames a second."
            self.note(note)
