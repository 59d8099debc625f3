"""The program needs nothing that only POSIX systems have.

A child process does without it: what Windows lacks is taken out of the standard library before the package loads, and a text file
that is opened without naming its encoding is an error.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from media_makers import make_clip
from systems import needs

from sdr2hdr import system
from sdr2hdr.cli.main import main
from sdr2hdr.errors import OutputError
from sdr2hdr.jobs.folder import Folder

BARE = """
import importlib.abc, os, signal, sys, warnings

class Barer(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "sdr2hdr":
            sys.meta_path.remove(self)
            bare()

def bare():
    # what these choose by the system's name is theirs
    import av, concurrent.futures.process, filelock, getpass, multiprocessing.popen_spawn_posix
    import multiprocessing.resource_tracker, multiprocessing.synchronize, numba, pathlib, platformdirs.unix, psutil
    import rich.console, rich.progress, shutil, subprocess, tempfile, torch
    for name in ("fcntl", "grp", "posix", "pwd", "resource", "termios", "tty"):
        sys.modules[name] = None
    for name in (
        "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fchmod", "fchown", "fork", "geteuid", "getuid", "killpg",
        "mkfifo", "pathconf", "sched_getaffinity", "sysconf", "uname",
    ):
        delattr(os, name)
    multiprocessing.resource_tracker._HAVE_SIGMASK = False
    os.supports_dir_fd = os.supports_fd = set()
    for name in ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "pthread_kill", "pthread_sigmask", "setitimer"):
        delattr(signal, name)
    warnings.filterwarnings("error", category=EncodingWarning, module=r"sdr2hdr\\.")

sys.meta_path.insert(0, Barer())
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a program that does without."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(BARE)
    paths = [str(tmp_path / "bare"), str(Path(system.__file__).parent.parent)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNDEFAULTENCODING": "1"}


def kills() -> None:
    os.kill(0, signal.SIGKILL)


def test_tests_for_other_systems_are_known_by_what_they_use() -> None:
    assert needs(kills) == {"SIGKILL", "kill"}
    assert needs(lambda: [Path(p) for p in ("/dev/full", "a")]) == {"/dev/"}
    assert needs(lambda: Path("a").touch()) == set()


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(video=0)]


@pytest.mark.skipif(os.name != "posix", reason="what is taken away is not there")
def test_a_film_is_converted_and_resumed_without_what_posix_adds(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    """Killed, and resumed by a batch in a process of its own, which gives the packets of a whole run of the complete program."""
    (tmp_path / "in").mkdir()
    clip = make_clip(tmp_path / "in" / "clip.mkv", size=(160, 96), frames=48)
    options = ["--model", "bt2408", "--preset", "medium", "--chunk-frames", "16", "-q"]
    assert main(["convert", str(clip), str(tmp_path / "whole.mkv"), *options]) == 0
    out = tmp_path / "out" / "clip.mkv"
    out.parent.mkdir()
    work = out.parent / ".clip.mkv.sdr2hdr-work"
    start = [sys.executable, "-m", "sdr2hdr"]
    words = ["convert", str(clip), str(out), *options, "--debug"]
    with subprocess.Popen([*start, *words], env=bare, stderr=subprocess.PIPE, text=True) as begun:
        while begun.poll() is None and not list(work.glob("chunk-*.json")):
            time.sleep(0.005)
        begun.kill()
        _, said = begun.communicate()
    assert begun.returncode == -signal.SIGKILL, said
    words = ["batch", str(clip.parent), str(out.parent), *options, "--debug"]
    done = subprocess.run(
        [*start, *words], env=bare, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert '"resumed": true' in (out.parent / "report.json").read_text()
    assert packets(out) == packets(tmp_path / "whole.mkv")
    assert sorted(p.name for p in out.parent.iterdir()) == ["clip.mkv", "report.csv", "report.json"]


@pytest.fixture
def by_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that opens no folders."""
    monkeypatch.setattr(os, "supports_dir_fd", set())


def test_a_folder_without_descriptors_is_held_and_refused_alike(
    tmp_path: Path, by_paths: None
) -> None:
    assert system.open_folder(tmp_path) is None
    folder = Folder.locked(tmp_path / "work")
    with pytest.raises(BlockingIOError):
        Folder.locked(tmp_path / "work")
    folder.write_json("a.json", {"frames": 181})
    assert folder.names() == ["a.json"] and folder.read_json("a.json") == {"frames": 181}
    folder.close()
    again = Folder.locked(tmp_path / "work")
    assert again.size("a.json") == (tmp_path / "work" / "a.json").stat().st_size
    again.remove()
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere", target_is_directory=True)
    for name, word in (("file", "not a folder"), ("link", "is a link")):
        with pytest.raises(OutputError, match=word):
            Folder.locked(tmp_path / name)


def test_signals_reach_a_process_that_heeds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import signal, time; from sdr2hdr.system import heed\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\n"
        "print('ready', flush=True); time.sleep(0.2); print('slept', flush=True); heed(signal.SIGTERM)"
    )
    command = [sys.executable, "-c", code]
    with system.signals_held():
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGTERM)
        assert child.stdout.read().split() == ["slept", "heard"]


def test_an_interrupt_that_has_to_wait_comes_again_without_a_timer_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sdr2hdr.cli import stopping

    heard: list[int] = []
    before: Callable[..., object] | int | None = signal.signal(
        signal.SIGINT, lambda number, _frame: heard.append(number)
    )
    try:
        monkeypatch.setattr(stopping, "_ALARM", None)
        stopping._again_soon()
        assert not heard
        deadline = time.monotonic() + 60
        while not heard and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]
