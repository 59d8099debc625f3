"""A Ray cluster of several node processes on this machine, and a film to convert on it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_makers import make_clip

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
os.environ.setdefault("RAY_worker_niceness", "0")  # else anything else on the machine goes first
SIZE = (160, 96)
FRAMES = 64
CHUNK = 8
CUTS = (0, 32, 40, 48, 56)
STORE = 80 << 20
"""Bytes of a node's object store; Ray wants no less."""


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of noise, whose frames take a while to encode, with a list of its cuts next to it: four chunks of one scene, and
    four of a scene each."""
    folder = tmp_path_factory.mktemp("source")
    texture = np.random.default_rng(3).integers(16, 235, (SIZE[1], SIZE[0]), dtype=np.uint8)
    flat = np.full((SIZE[1] // 2, SIZE[0] // 2), 128, np.uint8)
    (folder / "cuts.txt").write_text("\n".join(map(str, CUTS)))
    return make_clip(
        folder / "film.mkv",
        size=SIZE,
        frames=FRAMES,
        picture=lambda i: [np.roll(texture, i, axis=1), flat, flat],
        options={"g": str(CHUNK)},
    )


@pytest.fixture(scope="session")
def options(film: Path) -> dict[str, Any]:
    return {
        "model": "look",
        "preset": "slower",
        "scenes": str(film.with_name("cuts.txt")),
        "chunk_frames": CHUNK,
    }


@pytest.fixture(scope="session")
def nodes() -> Iterator[Any]:
    """A head that renders nothing, and two nodes with one processor each."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    yield cluster
    cluster.shutdown()


def tasks_of(name: str) -> list[int]:
    """The processes that run a task of that name now."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and (entry / "cmdline").read_bytes().rstrip(b"\0") == f"ray::{name}".encode()
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill_raylet(node: Any) -> None:
    """Kill a node's raylet, and with it the node."""
    os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
