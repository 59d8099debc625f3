"""What a chunk asks of a machine."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")

from sdr2hdr.cluster.resources import Machine, Share
from sdr2hdr.models import registry

GIB = 1 << 30
LARGE, SMALL = Machine(16, 0, 64 * GIB), Machine(4, 0, 32 * GIB)


def share(among: list[Machine], workers: int = 1, device: str = "cpu") -> Share:
    plan: Any = SimpleNamespace(
        settings=SimpleNamespace(device=device),
        encode=SimpleNamespace(height=1080, width=1920),
        tile=4096,
    )
    task: Any = SimpleNamespace(spec=registry.spec("wmnet"))
    return Share.of(task, plan, workers, among)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_smallest_machine_renders_as_many_chunks_as_workers(workers: int) -> None:
    found = share([LARGE, SMALL], workers)
    assert found.fits(SMALL) == workers
    assert found.fits(LARGE) >= workers
    assert found.options()["num_cpus"] == 4 // workers


def test_without_a_machine_the_memory_of_a_chunk_is_asked_for() -> None:
    """Else an autoscaler would add a machine that takes a chunk for each of its processors."""
    found = share([])
    assert found.cpus == 1
    assert found.memory == share([LARGE]).memory > GIB
    assert found.fits(Machine(64, 0, found.memory * 2.5)) == 2


def test_machines_without_a_gpu_do_not_count_for_one() -> None:
    found = share([SMALL, Machine(8, 2, 64 * GIB)], 2, "cuda")
    assert (found.cpus, found.gpus) == (4, 0.5)
    assert found.fits(SMALL) == 0 and found.fits(Machine(8, 2, 64 * GIB)) == 2


def test_no_chunk_asks_for_more_memory_than_the_largest_machine_has() -> None:
    tight = Machine(4, 0, 0.25 * GIB)
    assert share([tight]).fits(tight) == 1
