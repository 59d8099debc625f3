"""How far a conversion is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sdr2hdr.jobs.plan import Plan


@dataclass(frozen=True)
class Progress:
    """A moment of a conversion: the stage (``scan``, ``render``, ``assemble``, ``check``), and frames of it that are done."""

    stage: str
    done: int
    total: int
    scene: int = 0
    scenes: int = 0


Watcher = Callable[[Progress], None]


class Ticker:
    """Turns finished frames into progress, beginning with the chunks that an earlier run has ``finished``."""

    def __init__(self, plan: Plan, finished: Iterable[int], progress: Watcher) -> None:
        self._plan, self._progress = plan, progress
        self._done = sum(plan.chunks[i][-1].last - plan.chunks[i][0].first for i in finished)
        self(0)

    def __call__(self, frames: int) -> None:
        self._done = min(
            self._done + frames, len(self._plan.survey.pts)
        )  # some are done twice if memory runs out
        total, cuts = len(self._plan.survey.pts), self._plan.survey.cuts
        scene = 1 + sum(cut <= self._done for cut in cuts)
        self._progress(
            Progress("render", self._done, total, min(scene, len(cuts) + 1), len(cuts) + 1)
        )
