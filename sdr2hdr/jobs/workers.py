"""Renders chunks on this machine: one by one in this process, or groups of them in several."""

import multiprocessing
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_bool, c_longlong
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdr2hdr.errors import ModelError
from sdr2hdr.jobs.child import end_with_parent
from sdr2hdr.jobs.chunk import ChunkRenderer
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Ticker
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.jobs.run import Busy, Here, Task
from sdr2hdr.jobs.work import Work
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.system import main_left_out, signals_held

if TYPE_CHECKING:
    from ctypes import Array


@dataclass(frozen=True)
class Local:
    """An executor with up to ``workers`` processes. With one worker, chunks are rendered with what ``here`` holds."""

    here: Here
    workers: int

    def render(
        self, task: Task, plan: Plan, work: Work, todo: list[list[int]], tick: Ticker
    ) -> Busy:
        if self.workers > 1 and len(todo) > 1:
            return _parallel(task, plan, self.workers, todo, tick)
        renderer = ChunkRenderer(self.here.source, plan, work, self.here.model())
        for group in todo:
            for index in group:
                renderer.render(index, lambda _: tick(1))
        return {name: watch.seconds for name, watch in renderer.busy.items()}


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


def _work_off(group: list[int]) -> Busy:
    assert _worker is not None  # noqa: S101 - set by the initialiser
    return _worker.work_off(group)


def _parallel(task: Task, plan: Plan, workers: int, todo: list[list[int]], tick: Ticker) -> Busy:
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
            with signals_held(), main_left_out():
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
