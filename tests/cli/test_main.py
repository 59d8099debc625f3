"""The command line answers fast, teaches, and ends every failure with one line and the right exit code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from sdr2hdr import __version__
from sdr2hdr.cli import commands as cli_commands
from sdr2hdr.cli.commands import COMMANDS, LazyGroup, cli, with_flags
from sdr2hdr.cli.main import main
from sdr2hdr.cli.probe import groups, shown
from sdr2hdr.errors import InputError, Interrupted, ModelError, OutputError
from sdr2hdr.models import registry
from sdr2hdr.weights import manifest

RUN = [sys.executable, "-m", "sdr2hdr.cli.main"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("SDR2HDR_OFFLINE", "")  # set, so that what --offline leaves is undone


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes ``sdr2hdr models`` raise an error."""

    def install(error: BaseException) -> None:
        @click.command("models")
        def broken() -> None:
            raise error

        monkeypatch.setitem(cli.commands, "models", with_flags(broken))

    return install


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["--version"], ["convrt"], []])
def test_help_loads_neither_torch_nor_av(args: list[str]) -> None:
    code = (
        "import sys; from sdr2hdr.cli.main import main\n"
        f"main({args!r})\n"
        "sys.exit(bool({'torch', 'av', 'numpy', 'huggingface_hub', 'rich'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize(
    "args", [["weights", "list"], ["weights", "--help"], ["weights", "verify"]]
)
def test_listing_weights_loads_no_torch(args: list[str]) -> None:
    code = f"import sys; from sdr2hdr.cli.main import main\nsys.exit(main({args!r}) or 'torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def test_help_names_every_command_and_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    assert "sdr2hdr convert film.mp4" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def commands() -> list[list[str]]:
    """Every command whose module is there, with its sub-commands."""
    ctx = click.Context(cli)
    found = []
    for name in ("probe", "preview", "compare", "models", "weights"):
        command = LazyGroup.get_command(cli, ctx, name)  # type: ignore[arg-type]
        found.append([name])
        if isinstance(command, click.Group):
            found += [[name, below] for below in command.commands]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_teaches_by_an_example_and_takes_the_common_flags(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"sdr2hdr {words[0]}" in out.partition("Example:")[2]
    assert "--debug" in out
    assert "--offline" in out


@pytest.mark.parametrize(
    ("args", "hint"),
    [(["convrt", "a", "b"], "'convert'"), (["weight"], "'weights'"), (["xyzzy"], "probe")],
)
def test_an_unknown_command_gets_a_suggestion(
    args: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    assert hint in capsys.readouterr().err


def test_a_file_without_a_command_gets_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "film.mp4"
    film.write_text("")
    assert main([str(film)]) == 2
    assert f"sdr2hdr convert {film}" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["--nothing"], ["models", "--nothing"], ["weights", "show"], []])
def test_wrong_usage_ends_with_2(args: list[str]) -> None:
    assert main(args) == 2


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a.mp4: no."), 3, "Error: a.mp4: no."),
        (OutputError("a.mp4: no."), 4, "Error: a.mp4: no."),
        (ModelError("a.mp4: no."), 5, "Error: a.mp4: no."),
        (Interrupted("Stopped; kept."), 130, "Stopped; kept."),
        (KeyboardInterrupt(), 130, "Stopped."),
        (InputError("a\nb\x1b[2J.mp4: no."), 3, "Error: a b\N{REPLACEMENT CHARACTER}[2J.mp4: no."),
        (
            ZeroDivisionError("by zero"),
            1,
            "This is a bug in sdr2hdr: ZeroDivisionError: by zero; run again with --debug",
        ),
        (EOFError("no more"), 1, "This is a bug in sdr2hdr: EOFError: no more"),
        (MemoryError(), 1, "This is a bug in sdr2hdr: MemoryError;"),
    ],
)
def test_every_error_is_one_line_and_a_code(
    failing: Any, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    failing(error)
    assert main(["models"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().startswith(line)
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize("args", [["--debug", "models"], ["models", "--debug"]])
@pytest.mark.parametrize("error", [InputError("a.mp4: no."), ZeroDivisionError("by zero")])
def test_debug_shows_the_traceback_wherever_it_stands(
    failing: Any, capsys: pytest.CaptureFixture[str], args: list[str], error: Exception
) -> None:
    failing(error)
    assert main(args) == getattr(error, "exit_code", 1)
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "raise error" in err


@pytest.mark.parametrize(
    "args", [["--offline", "models", "--json"], ["models", "--json", "--offline"]]
)
def test_offline_reaches_the_workers_environment(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 0
    assert os.environ["SDR2HDR_OFFLINE"] == "1"


@pytest.mark.parametrize("args", [["models", "--json"], ["weights", "--help"]])
def test_a_closed_pipe_is_quiet(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*RUN, *args], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1


def test_ctrl_c_ends_with_130_and_one_line(tmp_path: Path) -> None:
    code = (
        "import sys, time, click; from sdr2hdr.cli.commands import cli, with_flags; from sdr2hdr.cli.main import main\n"
        "@click.command()\n"
        "def wait():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "cli.commands['models'] = with_flags(wait)\n"
        "sys.exit(main(['models']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.split() == ["Stopped."]


def test_a_command_is_loaded_once_and_only_when_called(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str) -> ModuleType:
        loaded.append(name)
        module = ModuleType(name)
        module.go = click.Command("go", callback=lambda: None)  # type: ignore[attr-defined]
        return module

    monkeypatch.setattr(cli_commands, "import_module", load)
    monkeypatch.setitem(COMMANDS, "go", ("somewhere:go", "Go."))
    monkeypatch.setattr(cli, "commands", {})
    assert main(["--help"]) == 0
    assert loaded == []
    assert main(["go"]) == main(["go"]) == 0
    assert loaded == ["somewhere"]


def test_models_lists_what_the_registry_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    facts = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert list(facts) == registry.names()
    assert facts["bt2408"]["parameters"] == 0
    assert facts["bt2408"]["weight"] is None
    default = manifest.default_for("wmnet")
    built = registry.build("wmnet", default.config if default else None)
    assert facts["wmnet"]["parameters"] == sum(p.numel() for p in built.parameters())
    assert facts["wmnet"]["weight"] == (default.name if default else None)
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in facts)


FACTS = {
    "container": "mov",
    "duration": 3.25,
    "video": {
        "codec": "h264",
        "tagged": False,
        "colour": {"matrix": "bt709", "assumed": ["range", "transfer"]},
    },
    "audio": [{"codec": "aac"}, {"codec": "flac", "title": None}],
    "subtitles": [],
}


def fake_probe(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[Path, str], dict[str, Any]]
) -> None:
    module = ModuleType("sdr2hdr.media.probe")
    module.probe = look  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sdr2hdr.media.probe", module)


def test_probe_shows_every_fact(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Path, str]] = []
    fake_probe(monkeypatch, lambda *words: asked.append(words) or FACTS)  # type: ignore[func-returns-value]
    assert main(["probe", "[red]film.mp4"]) == 0
    out = capsys.readouterr().out
    assert asked == [(Path("[red]film.mp4"), "mkv")]
    assert all(
        word in out
        for word in ("[red]film.mp4", "3.25", "h264", "bt709", "range, transfer", "audio", "flac")
    )
    assert main(["probe", "film.mp4", "--json", "--for", "mov"]) == 0
    assert asked[-1] == (Path("film.mp4"), "mov")
    assert json.loads(capsys.readouterr().out) == FACTS


def test_probe_says_what_the_file_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(path: Path, container: str) -> dict[str, Any]:
        raise InputError(f"{path}: this is not a video file.")

    fake_probe(monkeypatch, look)
    assert main(["probe", "film.mp4"]) == 3
    assert capsys.readouterr().err == "Error: film.mp4: this is not a video file.\n"


def test_groups_put_plain_facts_first() -> None:
    assert [title for title, _ in groups(FACTS, "film")] == ["film", "video", "colour", "audio"]
    assert shown(True) == "yes"
    assert shown(None) == "-"
    assert shown([1.0, "a"]) == "1, a"
