"""The work folder is locked without a race, and nothing in it leads anywhere else."""

import multiprocessing
import os
import random
import signal
import socket
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pytest

from sdr2hdr.errors import OutputError
from sdr2hdr.jobs.folder import Folder
from sdr2hdr.jobs.work import Work, folder_for


def hold_again_and_again(
    path: Path,
    seed: int,
    holders: "Synchronized[int]",
    held: "Synchronized[int]",
    wrong: "Synchronized[int]",
) -> None:
    """Take the folder and remove it for a second, counting moments with another holder and files that vanished."""
    rest = random.Random(seed)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        try:
            folder = Folder.locked(path)
        except BlockingIOError:
            continue
        with holders.get_lock():
            holders.value += 1
            bad = holders.value > 1
        (path / "plan.json").write_text("{}")
        time.sleep(rest.random() * 0.001)
        bad |= not (path / "plan.json").exists()
        with held.get_lock(), wrong.get_lock():
            held.value += 1
            wrong.value += bad
        with holders.get_lock():
            holders.value -= 1
        folder.remove()


def test_no_two_hold_one_folder_however_it_comes_and_goes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    counts = [context.Value("i", 0) for _ in range(3)]
    processes = [
        context.Process(target=hold_again_and_again, args=(tmp_path / "work", n, *counts))
        for n in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0] * 4
    _, held, wrong = (c.value for c in counts)
    assert held > 20 and wrong == 0
    assert not list(tmp_path.iterdir())


def test_a_lock_held_by_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        Work.beside(tmp_path / "out.mkv")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    Work.beside(tmp_path / "out.mkv").close(remove=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["lock", "plan.json", "plan.json.part", "chunk-00000.packets", "assembled.part"]
)
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder", "socket", "hard link"])
def test_what_is_not_a_file_of_the_folder_is_neither_followed_nor_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    precious, nothing = tmp_path / "diary.txt", tmp_path / "nothing"
    precious.write_text("PRECIOUS")
    path = folder_for(tmp_path / "out.mkv")
    path.mkdir()
    entry = path / name
    if kind == "link":
        entry.symlink_to(precious)
    elif kind == "dangling":
        entry.symlink_to(nothing)
    elif kind == "fifo":
        os.mkfifo(entry)
    elif kind == "folder":
        entry.mkdir()
        (entry / "diary.txt").symlink_to(precious)
    elif kind == "socket":
        monkeypatch.chdir(path)  # a socket's path holds 107 bytes at most
        socket.socket(socket.AF_UNIX).bind(name)
    else:
        entry.hardlink_to(precious)
    work = Work.beside(tmp_path / "out.mkv")
    assert not (entry.is_symlink() or entry.is_fifo() or entry.is_socket() or entry.is_dir())
    assert bool(work.notes) == (name != "lock" and kind != "hard link")
    with work._files.create(name) as f:
        f.write(b"ours")
    assert entry.read_bytes() == b"ours"
    assert precious.read_text() == "PRECIOUS" and not nothing.exists()
    work.close(remove=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["diary.txt"]


def test_a_link_or_a_file_in_the_folder_s_stead_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    for name, word in (("link", "is a link"), ("file", "not a folder"), ("fifo", "not a folder")):
        with pytest.raises(OutputError, match=word):
            Folder.locked(tmp_path / name)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder_for(tmp_path / "out.mkv")
    path.mkdir()
    (path / "plan.json").write_text("theirs")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(OutputError, match="another user"):
        Work.beside(tmp_path / "out.mkv")
    assert [p.name for p in path.iterdir()] == ["plan.json"]


def test_nobody_else_may_look_in(tmp_path: Path) -> None:
    path = tmp_path / "work"
    path.mkdir(0o777)
    path.chmod(0o777)
    Folder.locked(path).close()
    assert path.stat().st_mode & 0o777 == 0o700


def test_json_that_was_changed_is_not_read(tmp_path: Path) -> None:
    folder = Folder.locked(tmp_path / "work")
    folder.write_json("a.json", {"frames": 181, "name": "\udce4"})
    assert folder.read_json("a.json") == {"frames": 181, "name": "\udce4"}
    path = tmp_path / "work" / "a.json"
    whole = path.read_text()
    for text in (whole.replace("181", "180"), whole[:-1], "", "[]", "null", "{}", "[" * 99999):
        path.write_text(text)
        with pytest.raises((ValueError, RecursionError)):
            folder.read_json("a.json")
    folder.remove()


@pytest.mark.parametrize("length", [236, 237, 255])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, length: int) -> None:
    target = tmp_path / ("\u00e9" * ((length - 4) // 2) + "x" * (length % 2) + ".mkv")
    assert len(os.fsencode(target.name)) == length
    target.touch()
    assert (target.name in folder_for(target).name) == (length + len("..sdr2hdr-work") <= 255)
    Work.beside(target).close(remove=True)
