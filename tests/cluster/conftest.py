"""A Ray cluster of several node processes on this machine, and a film to convert on it."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_makers import make_clip

from benchmarks import nodes as cluster_of_nodes
from benchmarks.nodes import wait_for
from sdr2hdr import convert
from sdr2hdr.jobs.work import folder_for

SIZE = (160, 96)
FRAMES = 64
CHUNK = 8
CUTS = (0, 32, 40, 48, 56)
CHUNKS = 8
MARK = "SDR2HDR_TEST"


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
def work_alone(
    film: Path, options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The film as one process converts it, with its work folder next to it."""
    out = tmp_path_factory.mktemp("alone") / "out.mkv"
    assert convert(film, out, **options, keep_work=True).chunks == CHUNKS
    return out


@pytest.fixture(scope="session")
def alone(work_alone: Path) -> bytes:
    """The film as one process converts it."""
    return work_alone.read_bytes()


@pytest.fixture(scope="module")
def temporary() -> Iterator[Path]:
    """The folder of temporary files of all that these tests start. At their end, nothing that was started runs, and the folder
    holds no file of sdr2hdr."""
    name = uuid.uuid4().hex
    resource_tracker.ensure_running()  # Python's own, which lives as long as these tests
    with pytest.MonkeyPatch.context() as patch, cluster_of_nodes.folder() as top:
        patch.setenv(MARK, name)
        patch.setenv("SDR2HDR_CACHE", str(top / "cache"))
        yield top
        wait_for(lambda: not marked(name), "all processes to end", 60)
        assert not sorted(path.name for path in top.glob("sdr2hdr*"))


def marked(name: str) -> list[int]:
    """The processes that were started with that mark, besides this one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            inside = f"{MARK}={name}".encode() in (entry / "environ").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and int(entry.name) != os.getpid() and inside:
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def nodes(temporary: Path) -> Iterator[Any]:
    """A head that renders nothing, and two nodes with two processors each, which this process has joined.

    The working folder of the head is ``/tmp/.../head``; that of the nodes is another. A path below ``/proc/self/cwd`` therefore
    leads to a file on the head, and on the nodes to none.
    """
    import ray

    (temporary / "head").mkdir()
    with contextlib.ExitStack() as stack:
        with contextlib.chdir(temporary / "head"):
            cluster = stack.enter_context(cluster_of_nodes.started(0))
        for _ in range(2):
            cluster_of_nodes.add_node(cluster, 2)
        ray.init(cluster.address, configure_logging=False, log_to_driver=False)
        stack.callback(ray.shutdown)
        yield cluster


@contextlib.contextmanager
def begun(
    command: list[str], out: Path, environment: dict[str, str] | None = None
) -> "Iterator[subprocess.Popen[str]]":
    """A command, in a session of its own, when the first chunk of ``out`` is done and others are being rendered."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: done(out) or process.poll() is not None, "the first chunk")
        assert process.poll() is None, process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def command(name: str, source: Path, out: Path, options: dict[str, Any], cluster: str) -> list[str]:
    words = [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    start = [sys.executable, "-m", "sdr2hdr", name, str(source), str(out), "-q"]
    return [*start, *words, "--cluster", cluster]


def done(out: Path) -> set[str]:
    return {p.name for p in folder_for(out).glob("chunk-*.json")}
