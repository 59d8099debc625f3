"""What tasks ask the driver's machine for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PIECE = 4 << 20
"""Bytes of a file that travel at once."""
_waiting = ThreadPoolExecutor(1, "waiting")


def answer(reference: Any) -> Any:
    """The value of an object, for a task that goes on working.

    If the main thread of a task waits for an object, Ray gives the task's processors to another task, and then both run.
    """
    return _waiting.submit(ray.get, reference).result()


class Home:
    """An actor on the driver's machine. It says whether the film is still wanted, and reads pieces of the film's files, and of
    nothing else, for machines that do not see them.

    Tasks end because they ask: Ray 2.60 can abort the driver when a task that yields is cancelled.
    """

    def __init__(self, paths: frozenset[Path]) -> None:
        self._paths = paths
        self._over = False

    def stop(self) -> None:
        self._over = True

    def is_over(self) -> bool:
        return self._over

    def piece(self, path: Path, offset: int) -> bytes:
        if path not in self._paths:
            raise PermissionError(f"{path} is not a file of the film")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE)


def open_home(paths: frozenset[Path]) -> Any:
    """A new :class:`Home` in a process on this machine, which ends with its last handle."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Home).options(
        num_cpus=0,
        max_concurrency=8,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=here,
    )
    return actor.remote(paths)
