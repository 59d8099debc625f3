"""A plan, facts or chunks that were edited or have rotted never decide what is in the film."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judges import ffprobe
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.jobs.report import Report

FRAMES = 48
HOW: dict[str, Any] = {
    "model": "bt2446a", "preset": "ultrafast", "scenes": "none", "chunk_frames": 16, "overwrite": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A clip, the work folder of its finished conversion, and the SHA-256 of the film."""
    folder = tmp_path_factory.mktemp("begun")
    clip, out = make_clip(folder / "clip.mkv", size=(64, 64), frames=FRAMES), folder / "out.mkv"
    assert convert(clip, out, **HOW, keep_work=True).chunks == 3
    return clip, folder / ".out.mkv.sdr2hdr-work", hashlib.sha256(out.read_bytes()).hexdigest()


def go_on(begun: tuple[Path, Path, str], folder: Path, change: Callable[[Path], object]) -> Report:
    """Convert again with a changed copy of the work folder; the film must be what it was."""
    clip, kept, wanted = begun
    work, out = folder / ".out.mkv.sdr2hdr-work", folder / "out.mkv"
    shutil.copytree(kept, work)
    change(work)
    report = convert(clip, out, **HOW)
    assert report.frames == FRAMES
    assert (
        int(ffprobe(out, "-count_packets", "-show_streams")["streams"][0]["nb_read_packets"])
        == FRAMES
    )
    assert hashlib.sha256(out.read_bytes()).hexdigest() == wanted
    assert sorted(p.name for p in folder.iterdir()) == ["out.mkv"]
    return report


def edit(path: Path, change: Callable[[Any], object], *, sealed: bool) -> None:
    """Change a JSON file; ``sealed``: by somebody who knows how its digest is made."""
    data = json.loads(path.read_text())
    change(data)
    if sealed:
        data.pop("sha256")
        data["sha256"] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(data))


def run(first: int, last: int) -> dict[str, int]:
    """A run of a plan that is a scene of its own."""
    return {"first": first, "last": last, "scene_first": first, "scene_last": last}


PLAN_EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "the last chunk taken out": lambda p: p["chunks"].pop(),
    "the first chunk taken out": lambda p: p["chunks"].pop(0),
    "a chunk twice": lambda p: p["chunks"].append(p["chunks"][-1]),
    "chunks in another order": lambda p: p["chunks"].reverse(),
    "a chunk from before the first frame": lambda p: p.update(chunks=[[run(-5, FRAMES)]]),
    "a chunk beyond the last frame": lambda p: p.update(chunks=[[run(0, 10**12)]]),
    "an empty chunk": lambda p: p["chunks"].append([]),
    "a scene that is not one": lambda p: p["chunks"][1].__setitem__(0, run(16, 32)),
    "a chunk of text": lambda p: p.update(chunks="chunks"),
    "no chunks": lambda p: p.update(chunks=[]),
    "no frames": lambda p: (p.update(chunks=[]), p["survey"].update(pts=[])),
    "times that go back": lambda p: p["survey"]["pts"].reverse(),
    "cuts beyond the end": lambda p: p["survey"].update(cuts=[FRAMES]),
    "a tile of no size": lambda p: p.update(tile=0),
    "no survey": lambda p: p.pop("survey"),
}


@pytest.mark.parametrize(
    ("what", "sealed"),
    [("the last chunk taken out", False), *((what, True) for what in PLAN_EDITS)],
)
def test_an_edited_plan_is_made_anew(
    begun: tuple[Path, Path, str], tmp_path: Path, what: str, sealed: bool
) -> None:
    def change(work: Path) -> None:
        edit(work / "plan.json", lambda data: PLAN_EDITS[what](data["plan"]), sealed=sealed)

    report = go_on(begun, tmp_path, change)
    assert report.resumed_chunks == 0
    assert any("plan" in note and "started again" in note for note in report.notes)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["encode"].update(width=10**9),
        lambda p: p["settings"].update(peak=4000),
        lambda p: p["source"].update(size=1),
        lambda p: p.update(chunks=[[run(0, FRAMES)]]),
    ],
)
def test_a_plan_of_something_else_is_not_gone_on_with(
    begun: tuple[Path, Path, str], tmp_path: Path, change: Callable[[Any], object]
) -> None:
    report = go_on(
        begun,
        tmp_path,
        lambda work: edit(work / "plan.json", lambda d: change(d["plan"]), sealed=True),
    )
    assert report.resumed_chunks == 0


FACT_EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "fewer frames": lambda f: f["chunk"].update(frames=9),
    "other times": lambda f: f["chunk"].update(last_pts=10**6),
    "text for a number": lambda f: f["chunk"].update(bytes="10"),
    "a histogram of one bin": lambda f: f["light"][0].update(histogram=[1]),
    "no light": lambda f: f.pop("light"),
    "no states": lambda f: f.update(states=None),
    "a second picture": lambda f: f.update(aux=f["chunk"]),
}


@pytest.mark.parametrize(
    ("what", "sealed"), [("fewer frames", False), *((what, True) for what in FACT_EDITS)]
)
def test_edited_facts_are_not_believed(
    begun: tuple[Path, Path, str], tmp_path: Path, what: str, sealed: bool
) -> None:
    report = go_on(
        begun,
        tmp_path,
        lambda work: edit(work / "chunk-00001.json", FACT_EDITS[what], sealed=sealed),
    )
    assert report.resumed_chunks == 1
    assert any("One chunk" in note and "rendered again" in note for note in report.notes)


def test_brighter_light_in_the_facts_does_not_reach_the_film(
    begun: tuple[Path, Path, str], tmp_path: Path
) -> None:
    brighter = go_on(
        begun,
        tmp_path,
        lambda work: edit(
            work / "chunk-00001.json", lambda f: f["light"][0].update(max_cll=999.0), sealed=False
        ),
    )
    assert brighter.measured_max_cll < 999


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(
            (n, "flip")
            for n in (
                "plan.json",
                "chunk-00001.json",
                "chunk-00001.packets",
                "state-00001.safetensors",
            )
        ),
        *(
            (n, "link")
            for n in (
                "plan.json",
                "chunk-00001.json",
                "chunk-00001.packets",
                "state-00001.safetensors",
            )
        ),
        *(("chunk-00001.packets", how) for how in ("cut", "empty", "fifo")),
    ],
)
def test_a_rotten_file_is_made_anew(
    begun: tuple[Path, Path, str], tmp_path: Path, name: str, how: str
) -> None:
    precious = tmp_path.parent / "precious"
    precious.write_text("PRECIOUS")

    def change(work: Path) -> None:
        path = work / name
        if how == "flip":
            flip(path)
        elif how in ("cut", "empty"):
            path.write_bytes(path.read_bytes()[:-1] if how == "cut" else b"")
        else:
            path.unlink()
            os.mkfifo(path) if how == "fifo" else path.symlink_to(precious)

    report = go_on(begun, tmp_path, change)
    assert report.resumed_chunks == (0 if name == "plan.json" else 1)
    assert report.notes
    assert precious.read_text() == "PRECIOUS"


@pytest.mark.parametrize(
    "name",
    [
        "chunk-00000.packets.part",
        "plan.json.part",
        "assembled.part",
        "state-00000.safetensors.part",
    ],
)
def test_nothing_is_written_through_a_link(
    begun: tuple[Path, Path, str], tmp_path: Path, name: str
) -> None:
    precious = tmp_path.parent / "precious"
    precious.write_text("PRECIOUS")

    def change(work: Path) -> None:
        (work / name).symlink_to(precious)
        (work / "chunk-00000.json").unlink()

    go_on(begun, tmp_path, change)
    assert precious.read_text() == "PRECIOUS"
