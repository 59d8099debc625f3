"""Converting on a Ray cluster of several node processes on this machine."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import pytest
from cluster.conftest import CHUNKS, FRAMES, MARK, begun, command, done, marked
from media_makers import make_clip

from benchmarks.nodes import STORE, add_node, kill_raylet, tasks_of, wait_for
from sdr2hdr import convert
from sdr2hdr.errors import ModelError, UsageError
from sdr2hdr.jobs.work import folder_for

pytest.importorskip("ray")

import ray

from sdr2hdr.cluster.home import answer


def writes(pid: int, name: str) -> bool:
    """Whether a process has a file open whose path holds that name."""
    with contextlib.suppress(OSError):  # it has ended
        return any(name in str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


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


def test_a_cluster_goes_on_with_the_work_of_one_machine(
    film: Path, options: dict[str, Any], nodes: Any, work_alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mkv"
    shutil.copytree(folder_for(work_alone), folder_for(out))
    for index in (3, 5):
        (folder_for(out) / f"chunk-{index:05d}.json").unlink()
    report = convert(film, out, **options, cluster=nodes.address)
    assert report.resumed_chunks == CHUNKS - 2
    assert out.read_bytes() == work_alone.read_bytes()


def test_a_task_that_waits_for_an_answer_keeps_its_processors(nodes: Any) -> None:
    def nap() -> None:
        time.sleep(0.3)

    def work() -> tuple[float, float]:
        begun = time.monotonic()
        answer(napping.remote())
        return begun, time.monotonic()

    napping = ray.remote(nap).options(num_cpus=0)
    working = ray.remote(work).options(num_cpus=2)
    times = ray.get([working.remote() for _ in range(6)])
    for moment, _ in times:
        assert sum(begun <= moment < ended for begun, ended in times) <= 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_driver_leaves_nothing_and_another_goes_on(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path, how: int
) -> None:
    out, before = tmp_path / "out.mkv", scratch()
    with begun(command("convert", film, out, options, nodes.address), out) as process:
        os.killpg(process.pid, how)
        _, said = process.communicate(timeout=200)
    wait_for(lambda: not tasks_of("chunk *"), "the tasks to end")
    if how == signal.SIGINT:
        assert process.returncode == 130, said
        assert len(said.strip().splitlines()) == 1 and "run the same command again" in said
        assert scratch() <= before
        parts = list(folder_for(out).glob("*.part"))
        assert not parts
    kept = len(done(out))
    assert kept >= 1
    # one machine goes on with a cluster's work, or another command on the cluster
    cluster = None if how == signal.SIGINT else nodes.address
    report = convert(film, out, **options, cluster=cluster)
    assert report.resumed_chunks == kept
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]
    assert out.read_bytes() == alone


def test_a_chunk_that_kills_its_process_ends_the_job_with_its_cause(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path
) -> None:
    over = threading.Event()

    def poison() -> None:
        while not over.wait(0.01):
            for pid in tasks_of("chunk 2"):
                if writes(pid, "chunk-00002.packets"):  # it has said where it runs
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


def test_nodes_without_the_source_fetch_it_and_a_full_store_stops_nothing(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, temporary: Path
) -> None:
    """On no node do the folders of source and work lie where they lie on the head, and the head's object store is full."""
    shutil.copy(film, temporary / "head" / "film.mkv")
    seen = Path("/proc/self/cwd")
    full = ray.put(np.zeros(STORE * 9 // 10, np.uint8))
    with contextlib.chdir(temporary / "head"):
        report = convert(seen / "film.mkv", seen / "out.mkv", **options, cluster=nodes.address)
    del full
    assert (temporary / "head" / "out.mkv").read_bytes() == alone
    (fetched,) = (temporary / "cache" / "cluster").glob("*.mkv")
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
        [*command("batch", source, out, options, nodes.address), "--json"],
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


def test_ctrl_c_ends_a_batch_with_its_cluster_and_another_goes_on(
    film: Path, options: dict[str, Any], temporary: Path, alone: bytes, tmp_path: Path
) -> None:
    """On a cluster of this machine alone, which must end with either batch, whatever its end."""
    source, target = tmp_path / "in", tmp_path / "out"
    out, mark = target / "a.mkv", uuid.uuid4().hex
    source.mkdir()
    shutil.copy(film, source / "a.mkv")
    whole = command("batch", source, target, options, "local")
    with begun(whole, out, {MARK: mark}) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert len(said.strip().splitlines()) == 1 and "run the same command again" in said
    wait_for(lambda: not marked(mark), "the cluster to end", 20)
    assert not list(temporary.glob("sdr2hdr*"))
    assert not list(target.rglob("*.part"))
    assert {p.name for p in target.iterdir()} == {folder_for(out).name, "report.csv", "report.json"}
    kept = len(done(out))
    assert 1 <= kept < CHUNKS
    ended = subprocess.run(
        whole, env={**os.environ, MARK: mark}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    (row,) = json.loads((target / "report.json").read_text())["files"]
    assert (row["status"], row["resumed"]) == ("done", True)
    assert out.read_bytes() == alone
    wait_for(lambda: not marked(mark), "the cluster to end", 20)
    assert not list(temporary.glob("sdr2hdr*"))


def test_lost_nodes_cost_their_chunks_alone_and_a_new_one_takes_work(
    film: Path, options: dict[str, Any], nodes: Any, alone: bytes, tmp_path: Path
) -> None:
    """Every node is killed in the middle of a chunk, and one that comes later finishes the film. It has one processor, and the
    nodes before had two."""
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


def test_nothing_else_loads_ray(tmp_path: Path, film: Path) -> None:
    """A package of its name, which every process finds first, leaves a mark if it is imported."""
    mark, trap = tmp_path / "imported", tmp_path / "trap" / "ray"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text(f"open({str(mark)!r}, 'w')")
    source = tmp_path / "in" / "a.mkv"
    source.parent.mkdir()
    make_clip(source, size=(96, 64), frames=4)
    out = tmp_path / "out"
    fast = ["--model", "bt2446a", "--preset", "ultrafast", "-q"]
    commands = (
        ["convert", source, tmp_path / "a.mkv", *fast],
        ["batch", source.parent, out, *fast],
    )
    code = "import sys; from sdr2hdr.cli.main import main; sys.exit(max(map(main, %r)))"
    listed = [[*map(str, words)] for words in (*commands, ["probe", out / "a.mkv"])]
    path = os.pathsep.join((str(trap.parent), os.environ.get("PYTHONPATH", "")))
    ended = subprocess.run(
        [sys.executable, "-c", code % listed],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert (out / "a.mkv").exists() and not mark.exists()
