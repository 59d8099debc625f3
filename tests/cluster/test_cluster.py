"""Converting on a Ray cluster of several node processes on this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import pytest
from cluster.conftest import FRAMES, marked

from benchmarks.nodes import STORE, add_node, kill_raylet, tasks_of, wait_for
from sdr2hdr import convert
from sdr2hdr.errors import ModelError, UsageError

CHUNKS = 8

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def alone(film: Path, options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The film as one process converts it."""
    out = tmp_path_factory.mktemp("alone") / "out.mkv"
    assert convert(film, out, **options).chunks == CHUNKS
    return out.read_bytes()


@contextmanager
def begun(
    film: Path, out: Path, options: dict[str, Any], nodes: Any
) -> "Iterator[subprocess.Popen[str]]":
    """The command, in a session of its own, when its first chunk is done and others are being rendered."""
    process = subprocess.Popen(
        [*command("convert", film, out, options), "--cluster", nodes.address],
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


def command(name: str, source: Path, out: Path, options: dict[str, Any]) -> list[str]:
    words = [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    return [sys.executable, "-m", "sdr2hdr", name, str(source), str(out), "-q", *words]


def done(out: Path) -> set[str]:
    return {p.name for p in out.parent.glob(f".{out.name}.sdr2hdr-work/chunk-*.json")}


def scratch() -> set[str]:
    return {p.name for p in Path(gettempdir()).glob("sdr2hdr-chunk-*")}


def test_the_film_is_that_of_one_machine(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.mkv"
    report = convert(film, out, **options, cluster=nodes.address)
    assert (report.chunks, report.resumed_chunks) == (CHUNKS, 0)
    (rendered,) = [note for note in report.notes if note.startswith("Rendered on a cluster")]
    assert f" {FRAMES} frames at " in rendered and " 0 MiB of chunks were sent" in rendered
    assert out.read_bytes() == alone
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]


def test_a_task_that_waits_for_an_answer_keeps_its_processor(nodes: Any) -> None:
    import ray

    from sdr2hdr.cluster.home import answer

    def nap() -> None:
        time.sleep(0.5)

    def work() -> tuple[float, float]:
        begun = time.monotonic()
        answer(napping.remote())
        return begun, time.monotonic()

    ray.init(nodes.address, configure_logging=False, log_to_driver=False)
    try:
        napping = ray.remote(nap).options(num_cpus=0)
        working = ray.remote(work).options(num_cpus=1)
        times = ray.get([working.remote() for _ in range(6)])
    finally:
        ray.shutdown()
    for moment, _ in times:
        assert sum(begun <= moment < ended for begun, ended in times) <= 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_driver_leaves_nothing_and_another_goes_on(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path, how: int
) -> None:
    out, before = tmp_path / "out.mkv", scratch()
    with begun(film, out, options, nodes) as process:
        os.killpg(process.pid, how)
        _, said = process.communicate(timeout=200)
    wait_for(lambda: not tasks_of("chunk *"), "the tasks to end")
    if how == signal.SIGINT:
        assert process.returncode == 130, said
        assert len(said.strip().splitlines()) == 1 and "run the same command again" in said
        assert scratch() <= before
        parts = list(tmp_path.glob(".out.mkv.sdr2hdr-work/*.part"))
        assert not parts
    kept = len(done(out))
    assert kept >= 1
    # one machine goes on with a cluster's work, or another command on the cluster
    cluster = None if how == signal.SIGINT else nodes.address
    report = convert(film, out, **options, cluster=cluster)
    assert report.resumed_chunks == kept
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]
    assert out.read_bytes() == alone


@pytest.mark.slow
def test_a_chunk_that_kills_its_process_ends_the_job_with_its_cause(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path
) -> None:
    over = threading.Event()

    def poison() -> None:
        while not over.wait(0.01):
            for pid in tasks_of("chunk 2"):
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=poison)
    thread.start()
    out = tmp_path / "out.mkv"
    try:
        with pytest.raises(
            ModelError, match=r"Chunk 2 of .* failed \d+ times .*same command continues"
        ):
            convert(film, out, **options, cluster=nodes.address)
    finally:
        over.set()
        thread.join()
    assert not out.exists()
    assert "chunk-00002.json" not in done(out)
    kept = len(done(out))
    report = convert(film, out, **options, cluster=nodes.address)
    assert report.resumed_chunks == kept
    assert out.read_bytes() == alone


def test_a_node_without_the_source_fetches_it_and_a_full_store_stops_nothing(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path
) -> None:
    """A node in a mount namespace of its own, where the folders of source and work are empty, renders while all others are busy;
    and the driver's object store is full."""
    import ray

    class Busy:
        def here(self) -> None:
            pass

    cache, out = tmp_path / "cache", tmp_path / "made" / "out.mkv"
    out.parent.mkdir()
    ray.init(nodes.address, configure_logging=False, log_to_driver=False)
    alive = len(ray.nodes())
    occupied: Any = ray.remote(num_cpus=1)(Busy)
    busy = [occupied.remote() for _ in nodes.worker_nodes]
    ray.get([each.here.remote() for each in busy])
    hide = " && ".join(f"mount -t tmpfs none {each}" for each in (film.parent, out.parent))
    start = f"{hide} && exec ray start --address={nodes.address} --num-cpus=1 --block"
    environment = {**os.environ, "SDR2HDR_CACHE": str(cache)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    node = subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", start],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: len(ray.nodes()) > alive or node.poll() is not None, "the node")
        if node.poll() is not None:
            pytest.skip("mount namespaces are not allowed here")
        full = ray.put(np.zeros(STORE * 9 // 10, np.uint8))
        report = convert(film, out, **options, cluster=nodes.address)
        del full
    finally:
        ray.shutdown()
        os.killpg(node.pid, signal.SIGTERM)
        node.wait()
    assert out.read_bytes() == alone
    (fetched,) = (cache / "cluster").glob("*.mkv")
    assert fetched.read_bytes() == film.read_bytes()
    (rendered,) = [note for note in report.notes if note.startswith("Rendered on a cluster")]
    assert " MiB of chunks were sent" in rendered and " 0 MiB of chunks" not in rendered


def test_a_batch_renders_several_films_at_once(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.mkv", "b.mkv"):
        shutil.copy(film, source / name)
    ended = subprocess.run(
        [*command("batch", source, out, options), "--json", "--cluster", nodes.address],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    first_end = next(i for i, event in enumerate(events) if event["event"] == "file")
    assert {event["file"] for event in events[:first_end]} == {"a.mkv", "b.mkv"}
    assert events[-1]["whole"]["share"] == 1.0
    report = json.loads(ended.stdout)
    assert [row["status"] for row in report["files"]] == ["done", "done"]
    assert sum(each["frames"] for each in report["machines"].values()) == 2 * FRAMES
    assert all(each["frames_per_second"] > 0 for each in report["machines"].values())
    assert (out / "a.mkv").read_bytes() == (out / "b.mkv").read_bytes() == alone
    assert {p.name for p in out.iterdir()} == {"a.mkv", "b.mkv", "report.csv", "report.json"}


@pytest.mark.slow
def test_a_cluster_of_this_machine_alone_ends_with_the_batch(
    film: Path, options: dict[str, Any], temporary: Path, alone: bytes, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(film, tmp_path / "in" / "a.mkv")
    name = uuid.uuid4().hex
    ended = subprocess.run(
        [*command("batch", tmp_path / "in", tmp_path / "out", options), "--cluster", "local"],
        env={**os.environ, "SDR2HDR_TEST": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out" / "a.mkv").read_bytes() == alone
    wait_for(lambda: not marked(name), "the cluster to end", 20)
    assert not list(temporary.glob("sdr2hdr*"))


def test_lost_nodes_cost_their_chunks_alone_and_a_new_one_takes_work(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path
) -> None:
    """Every node is killed in the middle of a chunk, and one that comes later finishes the film."""
    out = tmp_path / "out.mkv"
    with ThreadPoolExecutor(1) as pool:
        converting = pool.submit(convert, film, out, **options, cluster=nodes.address)
        wait_for(lambda: done(out) or converting.done(), "the first chunk")
        lost = list(nodes.worker_nodes)
        for node in lost:
            kill_raylet(node)
        before = done(out)
        add_node(nodes)
        converting.result()
    for node in lost:
        nodes.remove_node(node)
    assert 1 <= len(before) < CHUNKS
    assert out.read_bytes() == alone


def test_without_ray_there_is_one_sentence(tmp_path: Path, film: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None; from sdr2hdr.cli.main import main; sys.exit(main("
        f"['convert', {str(film)!r}, {str(tmp_path / 'out.mkv')!r}, '--cluster', 'auto']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == UsageError.exit_code
    assert ended.stderr.strip().count("\n") == 0 and "sdr2hdr[cluster]" in ended.stderr


def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path, film: Path) -> None:
    with pytest.raises(UsageError, match="cluster auto"):
        convert(film, tmp_path / "out.mkv", cluster="ray://somewhere:10001")


def test_a_conversion_without_a_cluster_does_not_load_ray(tmp_path: Path, film: Path) -> None:
    code = (
        "import sys; from sdr2hdr import convert; from sdr2hdr.cli import main; "
        f"convert({str(film)!r}, {str(tmp_path / 'out.mkv')!r}, model='bt2446a', preset='ultrafast'); "
        "print('ray' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.stdout.strip() == "False", ended.stderr
