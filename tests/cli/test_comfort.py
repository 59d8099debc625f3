"""Defaults of one's own, completion, the reference and the doctor."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sdr2hdr.cli import config
from sdr2hdr.cli.commands import COMMANDS, cli
from sdr2hdr.cli.config import defaults
from sdr2hdr.cli.convert import convert
from sdr2hdr.cli.main import main
from sdr2hdr.cli.reference import reference
from sdr2hdr.errors import ModelError
from sdr2hdr.weights import fetch

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of defaults, in a home of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("SDR2HDR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SDR2HDR_OFFLINE", "")
    monkeypatch.setenv("COLUMNS", "200")
    assert config.config_path() == tmp_path / "sdr2hdr.toml"
    return tmp_path / "sdr2hdr.toml"


def shown_default(option: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["convert", "--help"]) == 0
    found = re.search(rf"\n  {option} .*?\[default: ([^\]]*)\]", capsys.readouterr().out, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(
    "words", [["evaluate", "x", "--peak"], ["dataset", "scenes", "x", "y", "--share"]]
)
def test_a_value_that_is_no_number_lies_in_no_range(
    words: list[str], settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "nan"]) == 2
    assert "'nan' is not a number" in capsys.readouterr().err
    settings.write_text("[evaluate]\npeak = nan\n")
    assert main(["evaluate", "x"]) == 3
    assert "peak in [evaluate] = nan does not fit: nan is not a number" in capsys.readouterr().err


def test_a_default_of_ones_own_stands_where_the_command_line_says_nothing(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown_default("--peak", capsys) == "1000"
    settings.write_text('[convert]\npeak = 600\nmodel = "bt2446a"\ninput-range = "full"\n[probe]\n')
    assert shown_default("--peak", capsys) == "600"
    assert shown_default("--model", capsys) == "bt2446a"
    map_of = defaults(convert, "convert", COMMANDS)["convert"]
    for words, peak in (([], 600), (["--peak", "700"], 700)):
        ctx = convert.make_context(
            "convert",
            ["a.mp4", "b.mkv", *words],
            default_map=map_of,
            help_option_names=["-h", "--help"],
        )
        assert ctx.params["peak"] == peak


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[convert\n", "must be TOML"),
        ("peak = 600\n", "'peak' is not a command"),
        ("[konvert]\n", "'konvert' is not a command"),
        ("[convert]\npaek = 600\n", "paek in [convert] is no option"),
        ('[convert]\npeak = "bright"\n', "peak in [convert] = 'bright' does not fit"),
        ("[convert]\npeak = 99999\n", "peak in [convert] = 99999 does not fit"),
        ("[convert]\npeak = nan\n", "peak in [convert] = nan does not fit"),
        ("[convert]\nworkers = 0\n", "workers in [convert] = 0 does not fit"),
        ("[convert]\nstrict = 1\n", "strict in [convert] = 1 does not fit"),
        ("[convert]\npeak = true\n", "peak in [convert] = True does not fit"),
        ("[convert]\noverwrite = true\n", "is no option"),
        ("[convert.peak]\nx = 1\n", "does not fit"),
        ("[weights.list]\nmanifest = 3\n", "is no option"),
        ('[preview]\nat = "0.5"\n', "does not fit: It must be a list, such as ['0.5']"),
    ],
)
def test_a_bad_file_of_defaults_is_said_in_one_line(
    settings: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    settings.write_text(text)
    command = next((name for name in ("weights", "preview") if name in text), "convert")
    assert main([command, "list" if command == "weights" else "--help"]) == 3
    err = capsys.readouterr().err
    assert str(settings) in err and said in err and err.count("\n") == 1
    assert main(["--help"]) == 0  # which needs no defaults


def test_the_file_of_defaults_loads_no_torch(settings: Path) -> None:
    settings.write_text("[convert]\npeak = 600\n")
    code = "import sys; from sdr2hdr.cli.main import main\nmain(['convert', '--help'])\nsys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def completed(*words: str) -> list[str]:
    """What bash would offer after the words, the last one begun."""
    environment = {
        **os.environ,
        "_SDR2HDR_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("sdr2hdr", *words)),
    }
    environment["COMP_CWORD"] = str(len(words))
    code = "import sys; from sdr2hdr.cli.main import main; sys.argv = ['sdr2hdr']; main()"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return [line.partition(",")[2] for line in run.stdout.splitlines()]


def test_commands_options_and_values_are_completed() -> None:
    assert completed("conv") == ["convert"]
    assert "--aux-sdr" in completed("convert", "--a")
    assert completed("convert", "--model", "wm") == ["wmnet", "wmnet-deep", "wmnet-fast"]
    assert set(completed("convert", "--model", "bt")) == {"bt2408", "bt2446a"}
    assert completed("convert", "--codec", "a") == ["av1"]
    assert "wmnet" in completed("train", "wm")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_one_that_the_shell_reads(
    shell: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capfd.readouterr().out)
    assert "_SDR2HDR_COMPLETE" in script.read_text()
    assert (
        subprocess.run([shell, "-n", str(script)], capture_output=True, check=False).returncode == 0
    )


def test_the_reference_is_that_of_the_commands() -> None:
    kept = (ROOT / "docs" / "reference.md").read_text()
    assert kept == reference(), "run: python -m sdr2hdr.cli.reference > docs/reference.md"
    assert all(f"## sdr2hdr {name}" in kept for name in cli.list_commands(None))  # type: ignore[arg-type]


def test_the_doctor_finds_what_conversions_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["doctor", str(tmp_path), "--json"])
    found = {(f["topic"], f["name"]): f for f in json.loads(capsys.readouterr().out)}
    assert found["encoders", "hevc"]["state"] == "ok" and found["weights", "wmnet"]["state"] == "ok"
    assert found["versions", "torch"]["said"] and found["devices", "cpu"]["state"] == "ok"
    assert all(f["way_out"] for f in found.values() if f["state"] != "ok")


def test_the_doctor_says_what_is_wrong_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(path: Path, entry: object) -> None:
        raise ModelError(f"{path} has another SHA-256")

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 10**12))
    assert main(["doctor", str(tmp_path)]) == 0
    assert "Conversions can work." in capsys.readouterr().err
    monkeypatch.setattr(fetch, "check", damaged)
    assert main(["doctor", str(tmp_path)]) == 5
    assert "weights wmnet" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 1000)
    )
    assert main(["doctor", str(tmp_path)]) == 4
    assert "disk" in capsys.readouterr().err
