"""A head that is lost while a film is rendered."""

import shutil
from pathlib import Path
from tempfile import gettempdir
from types import SimpleNamespace
from typing import Any

import pytest
from cluster.conftest import CHUNKS, begun, command, done
from cluster.lost import end_when_asked

from benchmarks.nodes import free_port, kill_head, started
from sdr2hdr.cluster import driver
from sdr2hdr.cluster.connection import _join, check
from sdr2hdr.cluster.driver import joined
from sdr2hdr.errors import ModelError, UsageError
from sdr2hdr.jobs.progress import Progress, Ticker
from sdr2hdr.jobs.run import Task, unfinished
from sdr2hdr.jobs.work import Work, folder_for

pytest.importorskip("ray")


@pytest.mark.usefixtures("temporary")
def test_a_restarted_head_costs_the_chunks_that_were_being_rendered(
    film: Path,
    options: dict[str, Any],
    alone: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new head has the address of the old one, and knows nothing of the old cluster. The command goes on there."""
    # seconds, else 60, in which what is left of the first cluster waits for its head
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "15")
    out, port = tmp_path / "out.mkv", free_port()
    with started(1, 1, port) as first:
        line = [*command("convert", film, out, options, first.address), "--keep-work", "--json"]
        with begun(line, out) as process:
            kill_head(first)
            kept = facts_of(out)
            with started(1, 1, port) as second:
                assert second.address == first.address
                _, said = process.communicate(timeout=180)
    assert process.returncode == 0, said
    assert (
        '"note": "The connection to the cluster was lost, and the cluster was joined again."'
        in said
    )
    assert "Traceback" not in said and "StackTrace" not in said
    assert 1 <= len(kept) < CHUNKS and kept.items() <= facts_of(out).items()
    assert out.read_bytes() == alone
    for left in Path(gettempdir()).glob("sdr2hdr-chunk-*"):  # of a task that was killed as the last
        shutil.rmtree(left)


def facts_of(out: Path) -> dict[str, tuple[int, int]]:
    """The finished chunks, each with what changes if it is written again."""
    found = {name: (folder_for(out) / name).stat() for name in done(out)}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def test_a_cluster_that_is_lost_again_and_again_ends_the_job(
    film: Path, work_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child ends as Ray ends it whenever it is asked to render."""
    monkeypatch.setattr(driver, "_main", end_when_asked)
    monkeypatch.setattr(driver, "check", lambda _: None)
    folder = shutil.copytree(folder_for(work_alone), tmp_path / "work")
    (folder / "chunk-00002.json").unlink()
    work = Work(folder)
    shown: list[Progress] = []
    plan = work.read_plan()
    assert plan is not None
    todo = unfinished(plan, work)
    tick = Ticker(plan, (), shown.append)
    with (
        joined("127.0.0.1:1", 1) as executor,
        pytest.raises(ModelError, match=r"film\.mkv .* finished chunks are kept"),
    ):
        executor.render(Task(film, folder, "look", None), plan, work, todo, tick)
    assert len(work.notes) == driver.LOSSES - 1
    assert {moment.done for moment in shown} == {0}


def test_an_address_at_which_nothing_answers_is_one_sentence() -> None:
    with pytest.raises(ModelError, match=r"cannot be joined .*ray start --head"):
        check(f"127.0.0.1:{free_port()}")
    with pytest.raises(UsageError, match="HOST:PORT"):
        check("somewhere")


def test_a_token_that_is_missing_is_named() -> None:
    def init(*_words: object, **_named: object) -> None:
        raise RuntimeError(
            "RPC error: InvalidAuthToken: Authentication token is missing or incorrect. Note: ..."
        )

    with pytest.raises(ModelError, match=r"token is missing or incorrect.* RAY_AUTH_MODE=token"):
        _join(SimpleNamespace(init=init), "127.0.0.1:1", None)
