"""Renders a plan: whatever an earlier run has not finished, by an executor, until every chunk is done."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from sdr2hdr.color.light import LightFacts, whole
from sdr2hdr.errors import ModelError, OutputError
from sdr2hdr.jobs.chunk import TileTooLarge
from sdr2hdr.jobs.encoding import in_software, takes_over
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Ticker, Watcher
from sdr2hdr.jobs.work import Work
from sdr2hdr.media.encoder import EncoderGone
from sdr2hdr.media.source import Source
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.weights.opened import Loaded, open_model


@dataclass(frozen=True)
class Task:
    """Everything a process needs to render chunks; it can be sent to another process."""

    source: Path
    folder: Path
    model: str
    weights: str | None

    def open(self) -> Loaded:
        """The model with its weights, float32, on the CPU."""
        return open_model(self.model, self.weights)

    @property
    def spec(self) -> ModelSpec:
        return registry.spec(self.model)


Busy = dict[str, float]


class Executor(Protocol):
    """Where chunks are rendered: in this process, in several, or on other machines."""

    def render(
        self, task: Task, plan: Plan, work: Work, todo: list[list[int]], tick: Ticker
    ) -> Busy:
        """Render groups of chunks, each group in its order, and record them in the work folder; returns the stages' busy
        seconds.

        ``tick(frames)`` is told how many more frames are done. Raises whatever a chunk raises; finished chunks stay finished.
        """


def groups(plan: Plan) -> list[list[int]]:
    """Groups of chunks that must be rendered in order, because a scene continues from one to the next."""
    out: list[list[int]] = []
    for i, chunk in enumerate(plan.chunks):
        if chunk[0].first > chunk[0].scene_first:
            out[-1].append(i)
        else:
            out.append([i])
    return out


def unfinished(plan: Plan, work: Work) -> list[list[int]]:
    """The chunks left to render, in :func:`groups`.

    A chunk inside a scene starts from the state after the previous one, so after a gap the rest of its group is redone.
    """
    todo = [list(itertools.dropwhile(work.is_done, group)) for group in groups(plan)]
    return [group for group in todo if group]


@dataclass(frozen=True)
class Here:
    """What this process has opened already: a source, and a model as soon as it is asked for."""

    source: Source
    model: Callable[[], Loaded]


@dataclass(frozen=True)
class Rendered:
    """Every chunk of a plan: the plan as it ended (the tile may have shrunk), how many chunks an earlier run had rendered,
    the light of each scene (straight through: of the whole film), the seconds that the others took, each stage's seconds at
    work, and, straight through, sentences for people (else they are the work folder's)."""

    plan: Plan
    resumed: int
    scenes: tuple[LightFacts, ...]
    seconds: float
    busy: Busy
    notes: tuple[str, ...] = ()

    @property
    def light(self) -> LightFacts:
        """The light of the film."""
        return whole(self.scenes)


def render(task: Task, executor: Executor, plan: Plan, work: Work, progress: Watcher) -> Rendered:
    """Render what an earlier run has not finished. Raises whatever a chunk raises; finished chunks stay finished."""
    since = time.monotonic()
    work.verify(plan)
    left = {i for group in unfinished(plan, work) for i in group}
    finished = [i for i in range(len(plan.chunks)) if i not in left]
    plan, busy = run(task, executor, plan, work, Ticker(plan, finished, progress))
    return Rendered(plan, len(finished), _scenes(work, plan), time.monotonic() - since, busy)


def _scenes(work: Work, plan: Plan) -> tuple[LightFacts, ...]:
    """The light of each scene."""
    scenes: list[LightFacts] = []
    for i, runs in enumerate(plan.chunks):
        facts = work.done(i)
        if facts is None:
            raise OutputError(
                f"Chunk {i} in {work.folder} is gone; run the same command to render it again."
            )
        for run, light in zip(runs, facts[1], strict=True):
            if run.first == run.scene_first:
                scenes.append(light)
            else:
                scenes[-1] = scenes[-1].merge(light)
    return tuple(scenes)


def run(task: Task, executor: Executor, plan: Plan, work: Work, tick: Ticker) -> tuple[Plan, Busy]:
    """Render every chunk that is not done; returns the plan as it ended (the tile may have shrunk) and the stages' busy seconds.

    Raises whatever a chunk raises; finished chunks stay finished.
    """
    while True:
        todo = unfinished(plan, work)
        try:
            return plan, executor.render(task, plan, work, todo, tick) if todo else {}
        except TileTooLarge:
            plan = _smaller_tiles(task, plan, work)
        except EncoderGone as e:
            plan = _in_software(plan, work, e)


def smaller_tile(plan: Plan, spec: ModelSpec, source: Path) -> int:
    """Half the edge of the plan's tiles, after memory ran out. Raises ModelError if a model cannot work in so small a tile."""
    height, width = plan.encode.height, plan.encode.width
    tile = min(plan.tile, max(height, width)) // 2 // 16 * 16
    if tile < max(32, 2 * spec.overlap):
        raise ModelError(
            f"Memory ran out rendering {source} with {spec.name} even in tiles of {plan.tile} pixels; "
            "close other programs, or use --precision bfloat16 or a smaller model."
        )
    return tile


def _smaller_tiles(task: Task, plan: Plan, work: Work) -> Plan:
    """The plan with tiles of half the edge. A scene that was begun with larger tiles starts again."""
    tile = smaller_tile(plan, task.spec, task.source)
    for group in groups(plan):
        if not all(work.is_done(i) for i in group):
            for i in group:
                work.forget(i)
    work.notes.append(tiles_shrink(plan.tile, tile))
    plan = replace(plan, tile=tile)
    work.write_plan(plan)
    return plan


def tiles_shrink(before: int, after: int) -> str:
    """The sentence for people."""
    return f"Memory ran out in tiles of {before} pixels, so the rest was rendered in tiles of {after}, which takes longer."


def _in_software(plan: Plan, work: Work, error: EncoderGone) -> Plan:
    """The plan with the software encoder. Everything is encoded again, because one stream cannot mix packets of two
    encoders."""
    plan = replace(plan, encode=in_software(plan.encode))
    work.begin(plan)
    work.notes.append(takes_over(error, plan.encode))
    return plan
