"""However a command is begun and stopped, it ends with one true line and the right exit code."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from media_makers import make_clip

from sdr2hdr.cli.main import main

RUN = [sys.executable, "-m", "sdr2hdr"]
SAID = "The standard output cannot be written"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def shell(line: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """A line of bash in which ``sdr2hdr`` is the command. Its output is buffered, as a user's is, whatever it is here."""
    script = f'sdr2hdr() {{ "$PYTHON" -m sdr2hdr "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONUNBUFFERED": "", "PYTHON": sys.executable, **env},
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("sdr2hdr weights list --json > /dev/full", 4),
        ("sdr2hdr --help > /dev/full", 4),
        ("sdr2hdr weights list --json >&-", 4),
        ("sdr2hdr weights list >&-", 4),
    ],
)
def test_a_result_that_cannot_be_printed_is_told(line: str, code: int) -> None:
    done = shell(line)
    assert done.returncode == code
    assert SAID in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_message_that_cannot_be_printed_changes_no_code() -> None:
    assert shell("sdr2hdr weights show nothing 2>&-").returncode == 5
    assert shell("sdr2hdr weights show nothing 2>/dev/full").returncode == 5
    assert shell("sdr2hdr convert 2>/dev/full").returncode == 2


def test_progress_that_cannot_be_shown_ends_no_conversion(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", size=(64, 64), frames=4)
    done = shell(f"sdr2hdr convert {clip} {tmp_path}/out.mkv --model bt2408 2>/dev/full")
    assert done.returncode == 0 and (tmp_path / "out.mkv").exists()


def test_closed_streams_are_not_taken_by_other_files(tmp_path: Path) -> None:
    code = (
        "import os, sys; from sdr2hdr.cli import standard; standard.complete()\n"
        f"fd = os.open({str(tmp_path / 'film')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "print('words', file=sys.stderr); os._exit(fd)"
    )
    done = subprocess.run(
        [*RUN[:1], "-c", code], close_fds=True, preexec_fn=lambda: os.closerange(0, 3), check=False
    )
    assert done.returncode >= 3
    assert (tmp_path / "film").read_bytes() == b""


@pytest.mark.parametrize("columns", ["0", "1", "-5", "x", "9" * 5000])
def test_a_senseless_width_is_passed_over(columns: str) -> None:
    done = shell("sdr2hdr weights list", COLUMNS=columns)
    assert done.returncode == 0 and "wmnet" in done.stdout


def test_a_home_that_is_no_folder_has_no_defaults() -> None:
    done = shell("unset XDG_CONFIG_HOME XDG_CACHE_HOME; sdr2hdr weights list", HOME="/dev/null")
    assert done.returncode == 0 and "wmnet" in done.stdout, done.stderr


def test_an_argument_with_a_nul_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "a\0b", "out.mkv"]) == 2
    assert "NUL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ['[scenes]\nedl = "a\\u0000b"', "[convert]\ncrf = " + "1" * 6000, "[convert]\npeak = 600.5"],
)
def test_defaults_that_no_option_can_have(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "sdr2hdr.toml").write_text(text)
    assert main(["scenes" if "scenes" in text else "convert", "a.mp4", "b.mkv"]) in (2, 3)
    said = capsys.readouterr().err
    assert "sdr2hdr.toml" in said and "bug" not in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "CLIP", "out.mkv", "--scenes", "FIFO"],
        ["convert", "CLIP", "out.mkv", "--model", "hdrvdiff", "--exposures", "FIFO"],
        ["scenes", "CLIP", "--scenes", "FIFO"],
        ["train", "FIFO", "--corpus", ".", "--out", "run"],
    ],
)
def test_a_pipe_for_a_small_file_is_refused_and_not_waited_for(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "fifo")
    clip = make_clip(tmp_path / "clip.mkv", size=(64, 64), frames=2)
    names = {
        "CLIP": str(clip),
        "FIFO": str(tmp_path / "fifo"),
        "out.mkv": str(tmp_path / "out.mkv"),
    }
    assert main([names.get(w, w) for w in words]) == 3
    assert "is a pipe" in capsys.readouterr().err


def test_the_source_as_target_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "film.mkv", size=(64, 64), frames=2)
    before = clip.read_bytes()
    assert main(["convert", str(clip), str(clip), "-y", "-q"]) == 4
    assert f"{clip} is the source itself" in capsys.readouterr().err
    assert clip.read_bytes() == before


def stopped(after: Sequence[float], work: Path | None, *args: str | Path) -> tuple[int, str]:
    """The code and the words of a command that is stopped: at these seconds, or from the work folder's beginning on."""
    process = subprocess.Popen(
        [*RUN, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while work is not None and not (work / "plan.json").exists() and process.poll() is None:
        time.sleep(0.005)
    begun = time.monotonic()
    for moment in after:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_two_interrupts_at_once_are_one(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", size=(128, 96), frames=150)
    args = (
        "convert",
        clip,
        tmp_path / "out.mkv",
        "--model",
        "bt2408",
        "--preset",
        "medium",
        "--chunk-frames",
        "16",
        "-q",
    )
    code, said = stopped([0.1, 0.12], tmp_path / ".out.mkv.sdr2hdr-work", *args)
    assert code == 130
    wanted = "the finished part of {0} is kept next to it", "no part of {0} was finished"
    kept, nothing = (text.format(tmp_path / "out.mkv") for text in wanted)
    assert said in (
        f"Stopped; {kept}; run the same command again to continue.\n",
        f"Stopped; {nothing}; run the same command again to begin.\n",
    )
    assert not (tmp_path / "out.mkv").exists()


def test_an_interrupt_while_modules_load_waits_and_is_told(tmp_path: Path) -> None:
    """The module of a command stands for torch: it takes its time, and would fail in its own words."""
    code = (
        "import sys, types, time; from sdr2hdr.cli import main as m; from sdr2hdr.cli.commands import COMMANDS\n"
        "sys.path.insert(0, sys.argv[1]); COMMANDS['slow'] = ('slow:go', 'Slow.'); sys.argv = ['sdr2hdr', 'slow']\n"
        "sys.exit(m.main())"
    )
    (tmp_path / "slow.py").write_text(
        "import time, pathlib\nprint('loading', flush=True)\n"
        "try:\n    time.sleep(0.5)\nexcept KeyboardInterrupt:\n    raise ImportError('torn') from None\n"
        "import click\ngo = click.Command('go', callback=lambda: time.sleep(60))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.split() == ["Stopped."]


def test_a_polite_end_is_an_interrupt(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*RUN, "weights", "verify"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) in ((130, "Stopped."), (0, ""), (-signal.SIGTERM, ""))


def test_an_interrupt_while_python_ends_changes_nothing() -> None:
    code = (
        "import atexit, sys, time; from sdr2hdr.cli.main import main\n"
        "atexit.register(lambda: (print('ending', flush=True), time.sleep(0.5)))\n"
        "sys.argv = ['sdr2hdr', '--version']; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline() not in ("ending\n", ""):
        pass
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
