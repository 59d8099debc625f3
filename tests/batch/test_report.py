"""What an earlier batch says of its files is believed only as far as a batch could have said it."""

import csv
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from media_makers import make_clip

from sdr2hdr.batch.plan import make_plan
from sdr2hdr.batch.report import Row, read_rows, write_rows
from sdr2hdr.batch.run import run_batch
from sdr2hdr.errors import OutputError
from sdr2hdr.options import Options

OPTIONS = Options(model="bt2446a", device="cpu", preset="ultrafast")
ROW = asdict(Row("a.mkv", "a.mkv", "converting", ours=True))
HOSTILE: dict[str, dict[str, Any]] = {
    "up": {"output": "../outside/film.mkv"},
    "up in the middle": {"output": "sub/../../outside/film.mkv"},
    "absolute": {"output": "/OUTSIDE/film.mkv"},
    "another film": {"output": "family/wedding.mkv"},
    "another ending": {"output": "a.txt"},
    "a number that is none": {"output": "a.mkv-x.mkv"},
    "NUL": {"source": "a\0.mkv", "output": "a\0.mkv"},
    "source up": {"source": "../a.mkv", "output": "../a.mkv"},
    "source absolute": {"source": "/a.mkv", "output": "/a.mkv"},
    "source not plain": {"source": "./a.mkv", "output": "a.mkv"},
    "output a list": {"output": ["a.mkv"]},
    "ours a number": {"ours": 1},
    "ours text": {"ours": "true"},
    "bytes text": {"bytes": "100"},
    "bytes a fraction": {"bytes": 1.5},
    "seconds text": {"seconds": "1"},
    "status unknown": {"status": "finished"},
    "settings a list": {"settings": []},
    "fingerprint none": {"fingerprint": None},
    "source missing": {"source": None},
}


def write(folder: Path, *rows: object) -> None:
    (folder / "report.json").write_text(json.dumps({"files": list(rows), "earlier": []}))


@pytest.mark.parametrize("what", HOSTILE)
def test_an_entry_that_no_batch_wrote_counts_as_none(tmp_path: Path, what: str) -> None:
    good = {**ROW, "source": "b.mp4", "output": "b.mkv", "a key of tomorrow": 1}
    write(tmp_path, {**ROW, **HOSTILE[what]}, good, "text", None, [])
    assert list(read_rows(tmp_path)) == ["b.mp4"]


@pytest.mark.parametrize("source", ["a.mkv", "a", "sub/a.b.mp4", "-x \n\udce4.avi", "sub/.hidden"])
def test_every_name_that_a_batch_gives_is_read_back(tmp_path: Path, source: str) -> None:
    path = Path(source)
    for output in (path.with_suffix(".mkv"), f"{source}.mkv", f"{source}-2.mp4", ""):
        rows = [
            Row(
                source,
                str(output),
                "done",
                seconds=1,
                fingerprint={"size": 1},
                settings={"peak": 600},
            )
        ]
        write_rows(tmp_path, rows, [])
        assert read_rows(tmp_path) == {source: rows[0]}


@pytest.mark.parametrize(
    "text", ["", "[", "null", "{}", '{"files": 1, "earlier": []}', "[" * 9999, "\udcff", "\0"]
)
def test_a_report_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_bytes(text.encode(errors="surrogateescape"))
    assert read_rows(tmp_path) == {}


def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {**ROW, "seconds": float("nan")})
    assert read_rows(tmp_path) == {}


def test_a_report_is_read_from_a_file_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(tmp_path, ROW)
    (out / "report.json").symlink_to(tmp_path / "report.json")
    assert read_rows(out) == {}
    write_rows(out, [Row("b.mkv")], [])
    assert list(read_rows(out)) == ["b.mkv"] and list(read_rows(tmp_path)) == ["a.mkv"]
    (out / "report.json").unlink()
    os.mkfifo(out / "report.json")
    assert read_rows(out) == {}


def test_a_part_that_is_a_link_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("PRECIOUS")
    unlink = Path.unlink

    def planted(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if path.name.endswith(".part") and not writes:
            path.symlink_to(precious)
            writes.append(path)

    writes: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            Path, "unlink", planted
        )  # somebody plants a link between the removal and the making
        with pytest.raises(OutputError):
            write_rows(tmp_path, [Row("a.mkv")], [])
    assert writes
    write_rows(tmp_path, [Row("b.mkv")], [])
    assert precious.read_text() == "PRECIOUS" and list(read_rows(tmp_path)) == ["b.mkv"]


def test_the_table_holds_no_formula_and_no_control_code(tmp_path: Path) -> None:
    names = ["=1+1.mkv", "@SUM(A1).mkv", "-dash.mkv", "+x.mkv", "a\x1b[31m\r\n.mkv", "plain.mkv"]
    write_rows(tmp_path, [Row(n, cause=f"{n} is not a video.", bytes=-1) for n in names], [])
    with (tmp_path / "report.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert [r["source"] for r in rows] == [
        "'=1+1.mkv", "'@SUM(A1).mkv", "'-dash.mkv", "'+x.mkv", "a\ufffd[31m  .mkv", "plain.mkv",
    ]  # fmt: skip
    assert all(r["cause"][0] not in "=+-@" and r["bytes"] == "-1" for r in rows)
    assert list(read_rows(tmp_path)) == names


@pytest.mark.parametrize("output", ["../outside/film.mkv", "OUTSIDE/film.mkv"])
def test_a_report_names_no_file_outside_for_replacing(tmp_path: Path, output: str) -> None:
    source, out, film = tmp_path / "in", tmp_path / "out", tmp_path / "outside" / "film.mkv"
    for folder in (source, out, film.parent):
        folder.mkdir()
    make_clip(source / "a.mp4", size=(64, 64), frames=1)
    film.write_text("PRECIOUS")
    write(out, {**ROW, "source": "a.mp4", "output": output.replace("OUTSIDE", str(film.parent))})
    (row,) = make_plan(source, out, OPTIONS).rows
    assert (row.output, row.ours, row.status) == ("a.mkv", False, "planned")
    assert film.read_text() == "PRECIOUS"


@pytest.mark.parametrize("name", ["sub", "sub/a.mkv"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_link_in_the_output_folder_is_not_followed(tmp_path: Path, name: str, when: str) -> None:
    source, out, outside = tmp_path / "in", tmp_path / "out", tmp_path / "outside"
    (source / "sub").mkdir(parents=True)
    (out / name).parent.mkdir(parents=True)
    outside.mkdir()
    make_clip(source / "sub" / "a.mp4", size=(64, 64), frames=1)
    if when == "before":
        (out / name).symlink_to(outside)
    plan = make_plan(source, out, OPTIONS)
    if when == "after":
        (out / name).symlink_to(outside)
    run_batch(plan, 1, lambda _i, _p: None)
    assert (plan.rows[0].status, plan.rows[0].exit_code) == ("failed", 4)
    assert "link" in plan.rows[0].cause
    assert not list(outside.iterdir())
