"""The scene split: its files, each by what reads it."""

import io
import itertools
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from sdr2hdr.cli.main import main
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.source import Source
from sdr2hdr.scene_split import scene_split
from sdr2hdr.scenes.cutlist import read_cutlist

FILM = Path(__file__).parent.parent / "examples" / "tears_of_steel.webm"


def test_the_files_of_a_split_say_the_same_scenes(tmp_path: Path) -> None:
    names = {kind: tmp_path / f"s.{kind}" for kind in ("csv", "qpfile", "edl", "sheet", "html")}
    found = scene_split(FILM, **names)
    firsts = [r.first for r in found.rows]
    assert firsts[0] == 0 and len(firsts) >= 2 and firsts == sorted(firsts)
    assert all(a.last + 1 == b.first for a, b in zip(found.rows, found.rows[1:], strict=False))
    source = Source(FILM)
    pts = [p.pts for p in source.pictures()]
    assert read_cutlist(names["csv"], pts, source.info.time_base) == [f for f in firsts if f]
    assert sum(r.frames for r in found.rows) == len(pts)
    assert [int(line.split()[0]) for line in names["qpfile"].read_text().splitlines()] == firsts
    events = re.findall(
        r"^\d{3} .*?(\d\d:\d\d:\d\d:\d\d) (\d\d:\d\d:\d\d:\d\d)",
        names["edl"].read_text(),
        re.MULTILINE,
    )
    assert len(events) == len(firsts) and all(a[1] == b[0] for a, b in itertools.pairwise(events))
    with Image.open(names["sheet"]) as sheet:
        assert sheet.format == "PNG" and len(sheet.convert("RGB").getcolors(1 << 24) or []) > 1000
    page = names["html"].read_text()
    assert page.count("<figure") == len(firsts) and "http://" not in page and "https://" not in page
    assert scene_split(FILM, scenes=str(names["csv"])).rows[1].first == firsts[1]


def test_the_table_on_the_screen_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenes", str(FILM), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert (
        rows[0]["first_frame"] == 0 and rows[1]["kind"] == "hard" and 0 < rows[1]["strength"] <= 1
    )
    assert main(["scenes", str(FILM)]) == 0
    assert f" {rows[1]['first_frame']} " in capsys.readouterr().out


def test_bad_words_end_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there.csv").write_text("")
    with pytest.raises(OutputError, match=r"there\.csv exists"):
        scene_split(FILM, csv=tmp_path / "there.csv")
    with pytest.raises(OutputError, match="same name"):
        scene_split(FILM, csv=tmp_path / "a", edl=tmp_path / "a")
    film = tmp_path / "film.webm"
    film.write_bytes(FILM.read_bytes())
    with pytest.raises(OutputError, match="the film itself"):
        scene_split(film, csv=film, overwrite=True)
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    with pytest.raises(InputError):
        scene_split(text, csv=tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert main(["scenes", str(text)]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_a_hostile_name_is_only_a_name(tmp_path: Path) -> None:
    film = tmp_path / "-<script>alert(1)<script>\nx.webm"
    film.write_bytes(FILM.read_bytes())
    scene_split(film, html=tmp_path / "p.html", edl=tmp_path / "e.edl", sheet=tmp_path / "s.png")
    page = (tmp_path / "p.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert len((tmp_path / "e.edl").read_text().splitlines()[0]) < 100
    assert "alert" in (tmp_path / "e.edl").read_text().splitlines()[0]
    Image.open(io.BytesIO((tmp_path / "s.png").read_bytes())).verify()
