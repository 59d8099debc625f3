"""Worker processes: stopped with their parent, whatever becomes of it, and never a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media_makers import make_clip

SIZE = (320, 192)


def processes_of(session: int) -> dict[int, str]:
    """The live processes of a session: their numbers and command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                pid = int(entry.name)
                if (
                    os.getsid(pid) == session
                    and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                ):
                    found[pid] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


def wait_for(condition: object, what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(
        tmp_path_factory.mktemp("source") / "long.mkv", size=SIZE, frames=120, options={"g": "30"}
    )


def begin(clip: Path, folder: Path) -> "subprocess.Popen[str]":
    """A conversion with two workers that has work for long enough, in a session of its own, when both have begun."""
    (folder / "cuts.txt").write_text("\n".join(str(n) for n in range(0, 120, 30)))
    args = [
        sys.executable,
        "-m",
        "sdr2hdr",
        "convert",
        str(clip),
        str(folder / "out.mkv"),
        "--model",
        "bt2446a",
        "-q",
    ]
    args += [
        "--preset",
        "placebo",
        "--workers",
        "2",
        "--chunk-frames",
        "30",
        "--scenes",
        str(folder / "cuts.txt"),
    ]
    process = subprocess.Popen(args, stderr=subprocess.PIPE, text=True, start_new_session=True)
    work = folder / ".out.mkv.sdr2hdr-work"
    wait_for(
        lambda: len(list(work.glob("*.packets.part"))) == 2 or process.poll() is not None,
        "two workers",
    )
    assert process.poll() is None, process.communicate()[1]
    return process


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "a lost terminal"])
def test_a_stop_ends_the_workers_with_one_line(clip: Path, tmp_path: Path, how: str) -> None:
    process = begin(clip, tmp_path)
    if how == "SIGTERM":
        process.terminate()
    else:  # as a terminal does it
        os.killpg(process.pid, signal.SIGINT if how == "Ctrl-C" else signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "run the same command again" in said
    # a lost terminal ends a helper of Python's own, too, and shows nobody what that says
    if how != "a lost terminal":
        assert len(said.strip().splitlines()) == 1
    wait_for(lambda: not processes_of(process.pid), "the workers to end")
    assert not (tmp_path / "out.mkv").exists()


def test_workers_do_not_outlive_a_parent_that_was_killed(clip: Path, tmp_path: Path) -> None:
    process = begin(clip, tmp_path)
    process.kill()
    process.wait()
    wait_for(lambda: not processes_of(process.pid), "the workers to end")


def test_a_worker_that_was_killed_is_said(clip: Path, tmp_path: Path) -> None:
    process = begin(clip, tmp_path)
    workers = [pid for pid, line in processes_of(process.pid).items() if "spawn_main" in line]
    os.kill(workers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5, said
    assert len(said.strip().splitlines()) == 1 and "--workers" in said
    wait_for(lambda: not processes_of(process.pid), "the workers to end")


@pytest.mark.parametrize("piped", [False, True])
def test_a_script_without_a_guard_runs_once(tmp_path: Path, piped: bool) -> None:
    """Spawned processes load the main module again, from which they need nothing."""
    clip = make_clip(tmp_path / "film.mkv", size=(64, 64), frames=24)
    (tmp_path / "cuts.txt").write_text("8\n16\n")
    code = (
        "from sdr2hdr import convert; print('runs');"
        f"r = convert({str(clip)!r}, {str(tmp_path / 'out.mkv')!r}, 'bt2408', preset='ultrafast', workers=2,"
        f" scenes={str(tmp_path / 'cuts.txt')!r}, chunk_frames=8); print(r.chunks, r.frames)"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-" if piped else script],
        input=code if piped else "",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["runs", "3", "24"], done.stderr
