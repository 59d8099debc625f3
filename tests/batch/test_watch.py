"""A watched folder: files that have stopped growing are converted, once, and the same command goes on after a stop."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from media_makers import make_clip

from sdr2hdr.batch import run, watch
from sdr2hdr.batch.plan import BatchPlan
from sdr2hdr.batch.report import write_rows
from sdr2hdr.batch.watch import RETRY, SETTLE, Arrivals
from sdr2hdr.cli.batch import batch
from sdr2hdr.cli.main import main
from sdr2hdr.errors import InputError, UsageError


def test_a_file_is_due_once_it_has_stopped_growing(tmp_path: Path) -> None:
    film, arrivals = tmp_path / "film.mp4", Arrivals()
    film.write_bytes(b"a")
    arrivals.look([film], 0.0)
    assert arrivals and not arrivals.take(SETTLE - 0.1)
    film.write_bytes(b"ab")
    arrivals.look([film], SETTLE)
    assert not arrivals.take(2 * SETTLE - 0.1)
    arrivals.look([film], 2 * SETTLE)
    assert arrivals.take(2 * SETTLE) == {film}
    arrivals.look([film], 3 * SETTLE)
    assert not arrivals and not arrivals.take(9 * SETTLE)
    film.write_bytes(b"abc")
    arrivals.look([film], 10 * SETTLE)
    assert arrivals.take(11 * SETTLE) == {film}
    arrivals.put_off(film, 11 * SETTLE)
    assert not arrivals.take(11 * SETTLE + RETRY - 1)
    assert arrivals.take(11 * SETTLE + RETRY) == {film}


def test_a_file_that_goes_while_it_settles_is_forgotten(tmp_path: Path) -> None:
    film, arrivals = tmp_path / "film.mp4", Arrivals()
    film.write_bytes(b"a")
    arrivals.look([film], 0.0)
    film.unlink()
    arrivals.look([film], 1.0)
    assert not arrivals


def test_the_output_folder_is_not_watched_and_a_lost_folder_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SETTLE", 0.0)
    inside = tmp_path / "out"
    inside.mkdir()
    (inside / "made.mkv").write_bytes(b"x")
    (tmp_path / "film.mp4").write_bytes(b"x")
    assert next(watch.rounds(tmp_path, inside, Arrivals())) == {tmp_path / "film.mp4"}
    with pytest.raises(InputError, match="name the folder to watch"):
        next(watch.rounds(tmp_path / "nothing", inside, Arrivals()))


def test_what_arrives_is_converted_once_and_a_restart_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the conversion itself, which the tests of batches see."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    converted: list[str] = []
    film = make_clip(tmp_path / "film.mp4", frames=4, size=(64, 64)).read_bytes()

    def convert(plan: BatchPlan, _jobs: int, _progress: object) -> None:
        plan.target.mkdir(exist_ok=True)
        for row in (plan.rows[i] for i in plan.todo):
            converted.append(row.source)
            (plan.target / row.output).write_bytes(b"film")
            row.status, row.bytes, row.ours = "done", 4, True
        write_rows(plan.target, plan.rows, plan.earlier)
        if "second.mp4" in converted:
            raise KeyboardInterrupt
        (source / "second.mp4").write_bytes(film)

    monkeypatch.setattr(watch, "SETTLE", 0.2)
    monkeypatch.setattr(run, "run_batch", convert)
    (source / "first.mp4").write_bytes(film)
    args = ["batch", str(source), str(out), "--watch", "--model", "bt2446a"]
    assert main(args) == 130
    assert converted == ["first.mp4", "second.mp4"]
    shown = capsys.readouterr().err
    assert shown.startswith(f"Watching {source}; Ctrl-C ends it.")
    assert shown.endswith(f"Stopped watching {source}; run the same command again to go on.\n")

    (source / "third.mp4").write_bytes(film)
    assert main(args) == 130
    assert converted == ["first.mp4", "second.mp4", "third.mp4"]
    rows = json.loads((out / "report.json").read_text())["files"]
    status = {row["source"]: row["status"] for row in rows}
    assert status == {"first.mp4": "unchanged", "second.mp4": "unchanged", "third.mp4": "done"}


def test_a_wrong_file_of_options_that_arrives_makes_its_folder_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "new").mkdir(parents=True)
    options = source / "new" / "sdr2hdr.toml"
    film = make_clip(tmp_path / "film.mp4", frames=4, size=(64, 64)).read_bytes()
    rounds: list[dict[str, str]] = []

    def convert(plan: BatchPlan, _jobs: int, _progress: object) -> None:
        rounds.append({row.source: row.status for row in plan.rows})
        for row in (plan.rows[i] for i in plan.todo):
            row.status = "done"
        if len(rounds) == 1:
            options.write_text('modle = "look"\n')
            (source / "new" / "b.mp4").write_bytes(film)
        elif len(rounds) == 2:
            assert f"{options} names 'modle'" in plan.rows[-1].cause
            options.write_text('model = "bt2408"\n')
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "SETTLE", 0.2)
    monkeypatch.setattr(watch, "RETRY", 0.4)
    monkeypatch.setattr(run, "run_batch", convert)
    (source / "a.mp4").write_bytes(film)
    args = ["batch", str(source), str(out), "--watch", "--model", "bt2446a"]
    assert main(args) == 130
    assert rounds == [{"a.mp4": "planned"}, {"new/b.mp4": "waiting"}, {"new/b.mp4": "planned"}]
    capsys.readouterr()
    options.write_text('modle = "look"\n')
    assert main(args) == 3  # at the start it is an error, as in any batch
    assert "names 'modle'" in capsys.readouterr().err


def test_a_wrong_file_of_options_that_arrives_first_is_told_and_ends_no_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json, too, which tells of every file that is not converted."""
    source, seen = tmp_path / "in", list[str]()
    source.mkdir()
    film = make_clip(tmp_path / "film.mp4", frames=4, size=(64, 64)).read_bytes()

    def arrive() -> None:
        (source / "new").mkdir()
        (source / "new" / "sdr2hdr.toml").write_text("pek = 3\n")
        (source / "new" / "b.mp4").write_bytes(film)
        (source / "bad.mp4").write_bytes(b"no film")
        (source / "a.mp4").write_bytes(film)

    def convert(plan: BatchPlan, _jobs: int, _progress: object) -> None:
        for row in (plan.rows[i] for i in plan.todo):
            seen.append(row.source)
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "SETTLE", 0.5)
    monkeypatch.setattr(run, "run_batch", convert)
    threading.Timer(1.0, arrive).start()
    args = ["batch", str(source), str(tmp_path / "out"), "--watch", "--model", "bt2446a", "--json"]
    assert main(args) == 130
    assert seen == ["a.mp4"]
    lines = [json.loads(x) for x in capsys.readouterr().err.splitlines() if x.startswith("{")]
    told = {line["source"]: line["status"] for line in lines if line["event"] == "file"}
    assert told == {"bad.mp4": "failed", "new/b.mp4": "waiting"}


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no Unicode are Linux's")
def test_a_name_that_is_no_unicode_is_a_change_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SETTLE", 0.2)
    (tmp_path / "in").mkdir()
    found = watch.rounds(tmp_path / "in", tmp_path / "out", Arrivals())
    odd = tmp_path / "in" / os.fsdecode(b"bad\xff.mp4")
    for wait, path in ((0.5, odd), (1.0, tmp_path / "in" / "good.mp4")):
        threading.Timer(wait, path.write_bytes, [b"x"]).start()
    taken: set[Path] = set()
    while len(taken) < 2:
        taken |= next(found)
    assert taken == {odd, tmp_path / "in" / "good.mp4"}


def test_a_second_batch_is_refused_while_a_watch_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    with run.held(tmp_path / "out"):
        monkeypatch.setattr(run, "_ours", set())  # as another process has none
        assert main(["batch", str(tmp_path / "in"), str(tmp_path / "out"), "--watch"]) == 4
    assert "Another batch is writing" in capsys.readouterr().err
    assert main(["batch", str(tmp_path / "none"), str(tmp_path / "other"), "--watch"]) == 3
    assert not (tmp_path / "other").exists()


def test_ctrl_c_ends_it_while_it_waits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sdr2hdr", "batch", tmp_path, tmp_path / "out", "--watch"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith("Watching")
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
        assert (running.wait(60), said.count("\n")) == (130, 1)
    assert said.startswith("Stopped watching")


def test_a_plan_to_look_at_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        batch.main(
            [str(tmp_path), str(tmp_path / "o"), "--watch", "--dry-run"], standalone_mode=False
        )
