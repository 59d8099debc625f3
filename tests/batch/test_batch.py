"""A folder converted by the command itself, seen from outside; and its plan."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from judges import ffprobe
from media_makers import make_clip as make_any_clip

from sdr2hdr import convert
from sdr2hdr.batch.plan import BatchPlan, make_plan
from sdr2hdr.batch.report import read_rows
from sdr2hdr.batch.run import run_batch
from sdr2hdr.cli.main import main
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.hdr10 import ContentLight
from sdr2hdr.options import Options

ODD = "-dash 'q\" [b]\n\u00e9.mkv"
FAST = ["--model", "bt2446a", "--preset", "ultrafast"]
DEFAULTS = Options(model="bt2446a", device="cpu", preset="ultrafast")


def make_clip(path: Path, size: tuple[int, int] = (64, 64), **more: Any) -> Path:
    """The smallest that can be encoded."""
    return make_any_clip(path, size=size, **more)


def run_cli(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sdr2hdr", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as f:
        return [bytes(p) for p in f.demux(f.streams.video[0]) if p.size]


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {r["source"]: r for r in json.loads((out / "report.json").read_text())["files"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of one name, one without an ending, one with a hostile name; sound, a picture, texts; a link in a circle."""
    folder = tmp_path_factory.mktemp("films")
    deep = folder / "sub" / "deep"
    deep.mkdir(parents=True)
    make_clip(folder / "a.mp4", frames=5)
    make_clip(folder / "a.mov", frames=6)
    make_clip(deep / ODD, frames=7)
    shutil.copy(make_clip(folder / "x.mkv", frames=4), folder / "sub" / "no_ending")
    (folder / "x.mkv").unlink()
    make_clip(
        folder / "picture.png",
        codec="png",
        pix_fmt="rgb24",
        frames=1,
        picture=lambda _: [np.zeros((64, 192), "u1")],
    )
    with av.open(str(folder / "sound.mkv"), "w") as f:
        stream = f.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), "i2"), format="s16", layout="mono")
        sound.sample_rate = 8000
        f.mux([*stream.encode(sound), *stream.encode(None)])
    (folder / "notes.txt").write_text("not a film")
    (folder / "broken.mp4").write_text("not a film")
    (folder / "sub" / "circle").symlink_to(folder)
    (folder / "sub" / "sdr2hdr.toml").write_text("peak = 600\nsaturation = 0.9\n")
    (deep / "sdr2hdr.toml").write_text('peak = 700\ncontainer = "mp4"\n')
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = folder / "out"  # inside the source folder
    return out, run_cli("batch", folder, out, *FAST, "--jobs", "2")


def test_the_tree_is_kept_and_videos_are_known_by_content(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = ran
    made = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert made == {
        "a.mp4.mkv",
        "a.mov.mkv",
        "sub/no_ending.mkv",
        str(Path("sub/deep") / ODD.replace(".mkv", ".mp4")),
        "report.json",
        "report.csv",
    }, done.stderr


def test_a_failure_is_told_and_gives_the_exit_code(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = ran
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    rows = rows_of(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.mov": "done",
        "a.mp4": "done",
        "broken.mp4": "failed",
        "sub/no_ending": "done",
        f"sub/deep/{ODD}": "done",
    }
    assert "broken.mp4 is not a video" in rows["broken.mp4"]["cause"]


def test_figures_are_those_of_the_files_and_of_convert(
    ran: tuple[Path, subprocess.CompletedProcess[str]], folder: Path, tmp_path: Path
) -> None:
    out, _ = ran
    rows = rows_of(out)
    with (out / "report.csv").open(newline="") as f:
        table = {r["source"]: r for r in csv.DictReader(f)}
    shown = {name: name.replace("\n", " ") for name in rows}
    assert list(table) == list(shown.values())
    for name, frames in (("a.mov", 6), ("a.mp4", 5), (f"sub/deep/{ODD}", 7), ("sub/no_ending", 4)):
        row = rows[name]
        made = out / row["output"]
        said = ffprobe(
            made.absolute(),
            "-count_packets",
            "-show_frames",
            "-show_streams",
            "-select_streams",
            "v",
        )
        light = next(
            s for s in said["frames"][0]["side_data_list"] if "Content light" in s["side_data_type"]
        )
        assert (
            row["frames"]
            == frames
            == int(said["streams"][0]["nb_read_packets"])
            == int(table[shown[name]]["frames"])
        )
        assert ContentLight(row["max_cll"], row["max_fall"]) == ContentLight(
            light["max_content"], light["max_average"]
        )
        assert str(row["max_cll"]) == table[shown[name]]["max_cll"]
    alone = convert(folder / "a.mp4", tmp_path / "alone.mkv", "bt2446a", preset="ultrafast")
    assert (alone.max_cll, alone.max_fall) == (rows["a.mp4"]["max_cll"], rows["a.mp4"]["max_fall"])
    assert packets_of(tmp_path / "alone.mkv") == packets_of(out / "a.mp4.mkv")


def test_the_nearest_override_wins(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = rows_of(ran[0])
    settings = [rows[n]["settings"] for n in ("a.mp4", "sub/no_ending", f"sub/deep/{ODD}")]
    assert [(s["peak"], s["saturation"]) for s in settings] == [
        (1000, None),
        (600, 0.9),
        (700, 0.9),
    ]


def test_done_and_unchanged_is_skipped_and_what_changed_is_not(
    ran: tuple[Path, subprocess.CompletedProcess[str]], folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, symlinks=True)
    out = copy / "out"
    make_clip(copy / "a.mov", frames=9)
    (copy / "sub" / "sdr2hdr.toml").write_text("peak = 500\nsaturation = 0.9\n")
    (out / "a.mp4.mkv").write_bytes(b"somebody's own work")
    plan = make_plan(copy, out, DEFAULTS.changed(device="auto"))
    status = {row.source: row.status for row in plan.rows}
    assert status == {
        "a.mov": "planned",
        "a.mp4": "failed",  # what lies there is not what was made
        "broken.mp4": "failed",
        "sub/no_ending": "planned",
        f"sub/deep/{ODD}": "unchanged",
    }
    before = (out / "sub" / "no_ending.mkv").stat().st_mtime_ns
    assert main(["batch", str(copy), str(out), *FAST, "--include", "*.mov"]) == 0
    assert rows_of(out)["a.mov"]["frames"] == 9 == len(packets_of(out / "a.mov.mkv"))
    assert (out / "sub" / "no_ending.mkv").stat().st_mtime_ns == before
    assert (out / "a.mp4.mkv").read_bytes() == b"somebody's own work"
    assert (
        read_rows(out)[f"sub/deep/{ODD}"].status == "done"
    )  # not asked for this time, and not forgotten


def test_on_a_cluster_the_longest_begins_first(tmp_path: Path) -> None:
    """The addresses of Ray clients are refused before anything is rendered."""
    (tmp_path / "in").mkdir()
    for name, frames in (("a.mkv", 4), ("b.mkv", 12), ("c.mkv", 8)):
        make_clip(tmp_path / "in" / name, frames=frames)
    ended: list[str] = []
    plan = make_plan(tmp_path / "in", tmp_path / "out", DEFAULTS.changed(cluster="ray://nowhere"))
    run_batch(plan, 1, lambda i, moment: ended.append(plan.rows[i].source))
    assert ended == ["b.mkv", "c.mkv", "a.mkv"]
    assert {row.exit_code for row in plan.rows} == {2}


def test_dry_run_says_all_and_writes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["batch", str(folder), str(tmp_path / "new"), *FAST, "--dry-run"]
    assert main([*words, "--exclude", "out/*"]) == 0
    said = capsys.readouterr().out
    assert "about" in said
    assert "4 of 5 videos" in said
    assert list(tmp_path.iterdir()) == []


def names(plan: BatchPlan) -> list[str]:
    return [row.source for row in plan.rows]


def test_include_and_exclude(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "in", symlinks=True, ignore=shutil.ignore_patterns("out"))
    source, out = tmp_path / "in", tmp_path / "o"
    assert names(make_plan(source, out, DEFAULTS, include=["*.mp4"])) == ["a.mp4", "broken.mp4"]
    assert names(make_plan(source, out, DEFAULTS, include=["a.*", "sub/no*"])) == [
        "a.mov",
        "a.mp4",
        "sub/no_ending",
    ]
    assert names(make_plan(source, out, DEFAULTS, exclude=["sub/*", "broken*"])) == [
        "a.mov",
        "a.mp4",
    ]
    alone = make_plan(source, out, DEFAULTS, include=["a.mp4"])
    assert alone.rows[0].output == "a.mkv"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("peak = ", "must be TOML"),
        ("peek = 600", "peek"),
        ('peak = "600"', "whole number"),
        ("peak = 9999", "9999"),
        ("peak = 600.5", "whole number"),
        ("aux-sdr = 'a.mkv'", "aux-sdr"),
        ("strict = 1", "true or false"),
        ('model = "wnet"', "wnet"),
        ('scenes = "no.csv"', "no.csv does not exist"),
        ('container = "avi"', "avi"),
        ("overwrite = true", "overwrite"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("\x00", "must be TOML"),
    ],
)
def test_an_override_that_is_wrong_is_one_sentence(text: str, word: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mkv", frames=1)
    (tmp_path / "sdr2hdr.toml").write_text(text)
    with pytest.raises(InputError, match=word) as e:
        make_plan(tmp_path, tmp_path / "out", DEFAULTS)
    assert "sdr2hdr.toml" in str(e.value)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    make_clip(source / "a.mkv", frames=1)
    with pytest.raises(InputError, match="not a folder"):
        make_plan(source / "a.mkv", tmp_path / "out", DEFAULTS)
    with pytest.raises(OutputError, match="source folder itself"):
        make_plan(source, source / ".." / "in", DEFAULTS)
    with pytest.raises(
        OutputError, match="cannot be written"
    ):  # nothing can be made in /proc, by root neither
        run_batch(make_plan(source, Path("/proc/out"), DEFAULTS), 1, lambda _i, _p: None)


def test_an_output_is_never_a_source(tmp_path: Path) -> None:
    (tmp_path / "in" / "in").mkdir(parents=True)
    make_clip(tmp_path / "in" / "a.mkv", frames=1)
    make_clip(tmp_path / "in" / "in" / "a.mkv", frames=1)
    plan = make_plan(tmp_path / "in", tmp_path, DEFAULTS.changed(overwrite=True))
    assert [(r.source, r.status) for r in plan.rows] == [
        ("a.mkv", "planned"),
        ("in/a.mkv", "failed"),
    ]
    assert "is itself a source" in plan.rows[1].cause


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


@pytest.mark.parametrize("free", [1 << 20, (64 << 20) + 10])
def test_a_full_disk_is_said_and_nothing_is_written(
    free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    make_clip(source / "a.mkv", frames=4)
    plan = make_plan(source, out, DEFAULTS)
    monkeypatch.setattr("sdr2hdr.batch.run.shutil.disk_usage", lambda _path: _Usage(free))
    run_batch(plan, 1, lambda _i, _p: None)
    row = rows_of(out)["a.mkv"]
    assert (row["status"], row["exit_code"]) == ("waiting", 4)
    assert "disk" in row["cause"]
    assert {p.name for p in out.iterdir()} == {"report.json", "report.csv"}


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def test_stopped_in_the_middle_and_run_again_gives_the_undisturbed_files(tmp_path: Path) -> None:
    """Ctrl-C in the first film, kill -9 in the second."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.mkv", "b.mkv"):
        make_clip(source / name, frames=40, size=(96, 64))
    args = [*FAST, "--chunk-frames", "5", "--scenes", "none"]
    command = [sys.executable, "-m", "sdr2hdr", "batch", str(source), str(out), *args]
    for name, how, code in (("a.mkv", signal.SIGINT, 130), ("b.mkv", signal.SIGKILL, -9)):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        wait_for(lambda: bool(list(out.glob(f".{name}.*/chunk-*.json"))), process)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code, said
        assert (how == signal.SIGINT) == (b"run the same command again" in said)
    again = run_cli("batch", source, out, *args)
    assert again.returncode == 0, again.stderr
    assert [r["status"] for r in rows_of(out).values()] == ["unchanged", "done"]
    for name in ("a.mkv", "b.mkv"):
        straight = tmp_path / f"straight-{name}"
        convert(
            source / name, straight, "bt2446a", preset="ultrafast", chunk_frames=5, scenes="none"
        )
        assert packets_of(out / name) == packets_of(straight)
    assert {p.name for p in out.iterdir()} == {"a.mkv", "b.mkv", "report.json", "report.csv"}


def test_killed_before_a_finished_file_was_noted_down(tmp_path: Path) -> None:
    """The output is there, its row says ``converting``: it is made out again from what is kept, with its figures."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    make_clip(source / "a.mkv", frames=8)
    run_batch(make_plan(source, out, DEFAULTS), 1, lambda _i, _p: None)
    figures = rows_of(out)["a.mkv"]
    packets = packets_of(out / "a.mkv")
    data = json.loads((out / "report.json").read_text())
    data["files"][0] |= {"status": "converting", "max_cll": None, "bytes": None}
    (out / "report.json").write_text(json.dumps(data))
    run_batch(make_plan(source, out, DEFAULTS), 1, lambda _i, _p: None)
    again = rows_of(out)["a.mkv"]
    assert (again["status"], again["max_cll"], again["bytes"]) == (
        "done",
        figures["max_cll"],
        figures["bytes"],
    )
    assert packets_of(out / "a.mkv") == packets
    assert list(source.iterdir()) == [source / "a.mkv"]
