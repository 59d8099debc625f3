"""A Ray cluster of several node processes on this machine, and what can happen to it; for tests and benchmarks."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import psutil

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
os.environ.setdefault("RAY_worker_niceness", "0")  # else anything else on the machine goes first
STORE = 80 << 20
"""Bytes of a node's object store; Ray wants no less."""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for all temporary files of this process and of what it starts, with a path that is short enough for sockets."""
    top = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"], tempfile.tempdir = str(top), None
    try:
        yield top
    finally:
        if before[0] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[0]
        tempfile.tempdir = before[1]
        shutil.rmtree(top, ignore_errors=True)


@contextmanager
def started(count: int, cpus: int = 1, port: int | None = None) -> Iterator[Any]:
    """A head that renders nothing, at a free port or this one, and ``count`` nodes with ``cpus`` processors each."""
    from ray.cluster_utils import Cluster

    head = {
        "num_cpus": 0,
        "object_store_memory": STORE,
        "include_dashboard": False,
        "include_log_monitor": False,
        "gcs_server_port": port,
    }
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(count):
            add_node(cluster, cpus)
        yield cluster
    finally:
        cluster.shutdown()


def free_port() -> int:
    """A port on which a head, and later the one that replaces it, can listen."""
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def add_node(cluster: Any, cpus: int = 1) -> None:
    """A further node with ``cpus`` processors."""
    cluster.add_node(num_cpus=cpus, object_store_memory=STORE)


def kill_raylet(node: Any) -> None:
    """Kill a node's raylet, and with it the node: its workers end once no process has the raylet's number."""
    raylet = node.all_processes["raylet"][0].process
    raylet.kill()
    raylet.wait()


def kill_head(cluster: Any) -> None:
    """Kill the head, which forgets the cluster: its record is in the memory of this process."""
    record = cluster.head_node.all_processes["gcs_server"][0].process
    record.kill()
    record.wait()
    kill_raylet(cluster.head_node)


def tasks_of(pattern: str) -> list[int]:
    """The processes of this program's clusters that run a task now whose name fits a shell pattern.

    A worker is a child of its raylet, and so of this process; without its raylet it has no parent that lives.
    """
    here = {p.pid for p in psutil.Process().children(recursive=True)}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            title = " ".join(process.cmdline()).rstrip()
            if fnmatchcase(title, f"ray::{pattern}") and (
                process.pid in here or process.ppid() == 1
            ):
                found.append(process.pid)
    return found


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 240) -> None:
    """Wait until a condition holds. Raises AssertionError after many ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
