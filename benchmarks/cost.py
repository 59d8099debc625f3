"""What work costs: processor time, and the memory of a process that does nothing else."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def in_child(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of a function of a module, called in a fresh process, so that :func:`peak_mib` there is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()


def peak_mib() -> float:
    """The most memory that this process has held so far, MiB. Linux."""
    lines = (
        Path("/proc/self/status").read_text("utf-8").splitlines()
    )  # getrusage counts the parent's memory, too
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def least(
    *runs: Callable[[], object], times: int = 5, clock: Callable[[], float] = time.thread_time
) -> list[float]:
    """Each run's least time in seconds, of so many :func:`in_turns`."""
    return [min(mine) for mine in in_turns(*runs, times=times, clock=clock)]


def in_turns(
    *runs: Callable[[], object], times: int, clock: Callable[[], float] = time.thread_time
) -> list[list[float]]:
    """Each run's times in seconds; they take turns, so that a busy moment meets all. The first round does not count."""
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(times + 1):
        for run, mine in zip(runs, taken, strict=True):
            since = clock()
            run()
            mine.append(clock() - since)
    return [mine[1:] for mine in taken]
