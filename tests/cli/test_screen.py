"""Nothing that a file brings along reaches a terminal as anything but text, whichever command shows it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import av
import pytest
from media_makers import make_clip
from rich.table import Table

from sdr2hdr.cli import screen
from sdr2hdr.cli.main import main

EVIL = "ev\x1b[31mil\n\x9b2J\u202e[red]:smile: [link=file:///]x"
CLI = Path(screen.__file__).parent
PRINTERS = {"screen.py", "ending.py", "main.py"}


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A film whose name, tags and attachment are hostile."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / f"{EVIL.replace('/', '')}.mkv"
    clip = make_clip(tmp_path / "clip.mkv", size=(64, 64), frames=3)
    with av.open(str(clip)) as source, av.open(str(path), "w", format="matroska") as out:
        out.metadata.update({"title": EVIL, f"KEY{EVIL}": EVIL})
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.metadata["title"] = EVIL
        out.add_attachment(EVIL, "text/plain", b"hello")
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return path


@pytest.mark.parametrize("name", sorted(p.name for p in CLI.glob("*.py") if p.name not in PRINTERS))
def test_commands_print_through_the_screen_alone(name: str) -> None:
    calls = [
        n.func for n in ast.walk(ast.parse((CLI / name).read_text())) if isinstance(n, ast.Call)
    ]
    printed = {f.id for f in calls if isinstance(f, ast.Name)} & {"print", "Console"}
    printed |= {f.attr for f in calls if isinstance(f, ast.Attribute)} & {"echo", "secho", "dumps"}
    assert not printed


def harmless(text: str) -> bool:
    return not any(c in text for c in "\x1b\x9b\u202e") and "[red]" in text


@pytest.mark.parametrize(
    "words",
    [
        ["probe"],
        ["probe", "--json"],
        ["convert", "OUT", "--model", "bt2408", "--preset", "ultrafast"],
    ],
)
def test_a_hostile_film_is_shown_as_text(
    evil: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"{EVIL.replace('/', '')}-hdr.mkv"
    args = [words[0], str(evil), *(str(out) if w == "OUT" else w for w in words[1:])]
    assert main(args) == 0
    said = capsys.readouterr()
    assert harmless(said.out + said.err)
    if "--json" in words:
        assert EVIL in texts(json.loads(said.out))


def texts(value: object) -> list[object]:
    """All values in a tree."""
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(leaf for item in below for leaf in texts(item))]


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "FILE", "out.mkv"],
        ["scenes", "FILE"],
        ["FILE"],
        ["models", "FILE"],
        ["models", "--FILE"],
    ],
)
def test_errors_about_a_hostile_name_are_text(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = EVIL.replace("/", "")
    assert main([w.replace("FILE", name) for w in words]) in (2, 3)
    said = capsys.readouterr()
    assert harmless(said.out + said.err)


def test_the_edit_list_has_no_line_of_the_name_s(evil: Path, tmp_path: Path) -> None:
    edl = tmp_path / "cuts.edl"
    assert main(["scenes", str(evil), "--edl", str(edl), "-q"]) == 0
    lines = edl.read_text().splitlines()
    assert [line.split(":")[0] for line in lines if line and not line[0].isdigit()] == [
        "TITLE", "FCM", "* FROM CLIP NAME",
    ]  # fmt: skip
    assert harmless(edl.read_text())


def test_a_table_shows_text_even_if_nobody_has_cleaned_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL)
    screen.console().print(table)
    screen.console().print(EVIL)
    out = capsys.readouterr().out
    assert harmless(out) and ":smile:" in out


def test_colours_are_still_colours() -> None:
    code = "from sdr2hdr.cli.screen import console; from rich.text import Text; console().print(Text('x', style='red'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"FORCE_COLOR": "1", "TERM": "xterm"},
    )
    assert "\x1b[31mx" in done.stdout


def test_a_path_for_a_program_is_exact() -> None:
    name = EVIL.replace("/", "")
    code = f"from pathlib import Path; from sdr2hdr.cli.screen import show_path; show_path(Path({name!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode() == f"{name}\n"
