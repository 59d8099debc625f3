"""Working a plan off: chunk by chunk in this process, or scene groups in several."""

import itertools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sdr2hdr.errors import ModelError
from sdr2hdr.jobs.chunk import ChunkRenderer, TileTooLarge, open_source
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.work import Work
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.weights import load_model


@dataclass(frozen=True)
class Task:
    """What a process needs to render chunks: all of it can be sent to another process."""

    source: Path
    folder: Path
    model: str
    weights: str | None

    @property
    def spec(self) -> ModelSpec:
        return registry.spec(self.model)


Tick = Callable[[int], None]
Busy = dict[str, float]


def groups(plan: Plan) -> list[list[int]]:
    """Chunks that must follow each other, because a scene goes on from one to the next."""
    out: list[list[int]] = []
    for i, chunk in enumerate(plan.chunks):
        if chunk[0].first > chunk[0].scene_first:
            out[-1].append(i)
        else:
            out.append([i])
    return out


def run(task: Task, plan: Plan, work: Work, workers: int, tick: Tick) -> tuple[Plan, Busy]:
    """Render every chunk that is not done; returns the plan as it ended (the tile may have shrunk) and the stages' busy seconds.

    ``tick(frames)`` is told how many more frames are done. Raises whatever a chunk raises; finished chunks stay finished.
    """
    while True:
        # a chunk inside a scene starts from the state after the one before, so a gap redoes the rest of its group
        todo = [list(itertools.dropwhile(work.is_done, group)) for group in groups(plan)]
        todo = [group for group in todo if group]
        try:
            if workers > 1 and len(todo) > 1:
                return plan, _parallel(task, plan, work, workers, todo, tick)
            return plan, _here(task, plan, work, todo, tick)
        except TileTooLarge as e:
            plan = _smaller_tiles(task, plan, work, e)


def _here(task: Task, plan: Plan, work: Work, todo: list[list[int]], tick: Tick) -> Busy:
    if not todo:
        return {}
    model = load_model(task.model, weights=task.weights)
    with open_source(task.source, plan) as source:
        renderer = ChunkRenderer(source, plan, work, model, task.spec)
        for group in todo:
            for index in group:
                renderer.render(index, lambda _: tick(1))
        return {name: watch.seconds for name, watch in renderer.busy.items()}


def _smaller_tiles(task: Task, plan: Plan, work: Work, error: TileTooLarge) -> Plan:
    """The plan with tiles of half the edge. A scene that was begun with the larger ones is begun again."""
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


_worker: ChunkRenderer | None = None


def _start_worker(task: Task, plan: Plan, threads: int) -> None:
    global _worker  # noqa: PLW0603 - a worker process holds one renderer, made once
    torch.set_num_threads(threads)
    work = Work(task.folder)
    model = load_model(task.model, weights=task.weights)
    _worker = ChunkRenderer(open_source(task.source, plan), plan, work, model, task.spec)


def _work_off(group: list[int]) -> tuple[int, Busy]:
    assert _worker is not None  # noqa: S101 - set by the initialiser
    before = {name: watch.seconds for name, watch in _worker.busy.items()}
    frames = 0
    for index in group:
        _worker.render(index, lambda _: None)
        frames += _worker.plan.chunks[index][-1].last - _worker.plan.chunks[index][0].first
    return frames, {name: watch.seconds - before[name] for name, watch in _worker.busy.items()}


def _parallel(task: Task, plan: Plan, work: Work, workers: int, todo: list[list[int]], tick: Tick) -> Busy:
    """Groups of chunks in processes of their own; the first error stops what has not begun."""
    busy: Busy = {}
    threads = max(1, torch.get_num_threads() // workers)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(todo)), mp_context=context, initializer=_start_worker, initargs=(task, plan, threads)
    ) as pool:
        pending = {pool.submit(_work_off, group) for group in todo}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    frames, spent = future.result()
                    tick(frames)
                    busy = {name: busy.get(name, 0.0) + s for name, s in spent.items()}
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return busy
