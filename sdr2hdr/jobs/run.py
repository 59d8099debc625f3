"""Renders a plan: chunk by chunk in this process, or groups of chunks in several."""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_bool, c_longlong
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sdr2hdr.color.light import LightFacts
from sdr2hdr.errors import ModelError, OutputError
from sdr2hdr.jobs.chunk import ChunkRenderer, TileTooLarge
from sdr2hdr.jobs.encoding import in_software, takes_over
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Ticker, Watcher
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.jobs.work import Work
from sdr2hdr.media.encoder import EncoderGone
from sdr2hdr.media.source import Source
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.weights.opened import Loaded, open_model

if TYPE_CHECKING:
    from ctypes import Array


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


Tick = Callable[[int], None]
Busy = dict[str, float]


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
    the light of all, the seconds that the others took, and each stage's seconds at work."""

    plan: Plan
    resumed: int
    light: LightFacts
    seconds: float
    busy: Busy


def render(
    task: Task, here: Here, plan: Plan, work: Work, workers: int, progress: Watcher
) -> Rendered:
    """Render what an earlier run has not finished. Raises whatever a chunk raises; finished chunks stay finished."""
    since = time.monotonic()
    work.verify(plan)
    left = {i for group in unfinished(plan, work) for i in group}
    finished = [i for i in range(len(plan.chunks)) if i not in left]
    plan, busy = run(task, here, plan, work, workers, Ticker(plan, finished, progress))
    return Rendered(plan, len(finished), _light(work, plan), time.monotonic() - since, busy)


def _light(work: Work, plan: Plan) -> LightFacts:
    light = LightFacts()
    for i in range(len(plan.chunks)):
        facts = work.done(i)
        if facts is None:
            raise OutputError(
                f"Chunk {i} in {work.folder} is gone; run the same command to render it again."
            )
        light = light.merge(facts[1])
    return light


def run(
    task: Task, here: Here, plan: Plan, work: Work, workers: int, tick: Tick
) -> tuple[Plan, Busy]:
    """Render every chunk that is not done; returns the plan as it ended (the tile may have shrunk) and the stages' busy seconds.

    ``tick(frames)`` is told how many more frames are done. Raises whatever a chunk raises; finished chunks stay finished.
    """
    while True:
        todo = unfinished(plan, work)
        try:
            if workers > 1 and len(todo) > 1:
                return plan, _parallel(task, plan, workers, todo, tick)
            return plan, _alone(here, plan, work, todo, tick)
        except TileTooLarge as e:
            plan = _smaller_tiles(task, plan, work, e)
        except EncoderGone as e:
            plan = _in_software(plan, work, e)


def _alone(here: Here, plan: Plan, work: Work, todo: list[list[int]], tick: Tick) -> Busy:
    if not todo:
        return {}
    renderer = ChunkRenderer(here.source, plan, work, here.model())
    for group in todo:
        for index in group:
            renderer.render(index, lambda _: tick(1))
    return {name: watch.seconds for name, watch in renderer.busy.items()}


def _smaller_tiles(task: Task, plan: Plan, work: Work, error: TileTooLarge) -> Plan:
    """The plan with tiles of half the edge. A scene that was begun with larger tiles starts again."""
    height, width = plan.encode.height, plan.encode.width
    tile = min(plan.tile, max(height, width)) // 2 // 16 * 16
    if tile < max(32, 2 * task.spec.overlap):
        raise ModelError(
            f"Memory ran out rendering {task.source} with {task.model} even in tiles of {plan.tile} pixels; "
            "close other programs, or use --precision bfloat16 or a smaller model."
        ) from error
    for group in groups(plan):
        if not all(work.is_done(i) for i in group):
            for i in group:
                work.forget(i)
    plan = replace(plan, tile=tile)
    work.write_plan(plan)
    return plan


def _in_software(plan: Plan, work: Work, error: EncoderGone) -> Plan:
    """The plan with the software encoder. Everything is encoded again, because one stream cannot mix packets of two
    encoders."""
    plan = replace(plan, encode=in_software(plan.encode))
    work.begin(plan)
    work.notes.append(takes_over(error, plan.encode))
    return plan


class _Worker:
    """The state of a worker process: a renderer, made once, and memory that it shares with the parent process.

    Nothing of that memory is locked: a worker that is killed while it holds a lock would stop all others for ever. Each counts
    its frames in a ``place`` of its own.
    """

    def __init__(
        self, renderer: ChunkRenderer, rendered: "Array[c_longlong]", place: int, stop: c_bool
    ) -> None:
        self._renderer, self._rendered, self._place, self._stop = renderer, rendered, place, stop

    def work_off(self, group: list[int]) -> Busy:
        before = {name: watch.seconds for name, watch in self._renderer.busy.items()}
        for index in group:
            self._renderer.render(index, self._tick)
        return {name: watch.seconds - before[name] for name, watch in self._renderer.busy.items()}

    def _tick(self, _frame: int) -> None:
        self._rendered[self._place] += 1
        if self._stop.value:
            raise InterruptedError


_worker: _Worker | None = None


def _start_worker(
    task: Task, plan: Plan, threads: int, rendered: "Array[c_longlong]", stop: c_bool
) -> None:
    global _worker  # noqa: PLW0603 - a worker process holds one renderer, made once
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_one_heap()
    torch.set_num_threads(threads)
    renderer = ChunkRenderer(
        open_source(task.source, plan.settings), plan, Work(task.folder), task.open()
    )
    number = int(multiprocessing.current_process().name.rpartition("-")[2])  # they count up from 1
    _worker = _Worker(renderer, rendered, number % len(rendered), stop)


def end_with_parent() -> None:
    """A killed parent cannot stop its workers, which must not keep writing next to those of the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_off(group: list[int]) -> Busy:
    assert _worker is not None  # noqa: S101 - set by the initialiser
    return _worker.work_off(group)


def _parallel(task: Task, plan: Plan, workers: int, todo: list[list[int]], tick: Tick) -> Busy:
    """Render groups of chunks in worker processes; the first error, or Ctrl-C, stops all at their next frame."""
    busy: Busy = {}
    threads = max(1, torch.get_num_threads() // workers)
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(todo))
    rendered, stop = context.RawArray(c_longlong, count), context.RawValue(c_bool, False)
    told = 0
    with ProcessPoolExecutor(
        count,
        mp_context=context,
        initializer=_start_worker,
        initargs=(task, plan, threads, rendered, stop),
    ) as pool:
        try:
            with signals_held():
                pending = {pool.submit(_work_off, group) for group in todo}
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                now = sum(rendered)
                tick(now - told)
                told = now
                for future in done:
                    busy = {name: busy.get(name, 0.0) + s for name, s in future.result().items()}
        except BrokenProcessPool as e:
            raise ModelError(
                f"A process that rendered {task.source} was ended, by the system perhaps because memory ran out; "
                "run the same command again to continue, with fewer --workers."
            ) from e
        finally:
            stop.value = True
            pool.shutdown(wait=True, cancel_futures=True)
    return busy


@contextmanager
def signals_held() -> Iterator[None]:
    """Processes started in this block ignore Ctrl-C, which a terminal sends to all; their parent stops them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
