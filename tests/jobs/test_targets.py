"""What may be named as a target, and what the work folder beside it survives."""

import itertools
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.errors import InputError, OutputError, UsageError
from sdr2hdr.jobs import planning
from sdr2hdr.jobs import program as program_module
from sdr2hdr.jobs.progress import Progress

FAST = {"model": "bt2446a", "preset": "ultrafast"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(
        tmp_path_factory.mktemp("source") / "clip.mkv",
        size=(96, 64),
        frames=6,
        options={"crf": "10"},
    )


def test_a_link_is_followed(clip: Path, tmp_path: Path) -> None:
    link, film = tmp_path / "link.mkv", tmp_path / "disk" / "film.mkv"
    film.parent.mkdir()
    link.symlink_to(film)
    convert(clip, link, **FAST)
    assert link.is_symlink() and film.stat().st_size > 1000
    with pytest.raises(OutputError, match="exists"):
        convert(clip, link, **FAST)


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_a_link_to_the_source_is_refused(clip: Path, tmp_path: Path, make: object) -> None:
    source = tmp_path / "clip.mkv"
    source.write_bytes(clip.read_bytes())
    make(tmp_path / "link.mkv", source)  # type: ignore[operator]
    with pytest.raises(OutputError, match="source itself"):
        convert(source, tmp_path / "link.mkv", **FAST, overwrite=True)
    assert source.read_bytes() == clip.read_bytes()


def test_what_is_no_file_is_refused(clip: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mkv")
    (tmp_path / "circle.mkv").symlink_to("circle.mkv")
    for name in ("pipe.mkv", "circle.mkv", "a\0.mkv", "a" * 300 + ".mkv", "a" * 252 + ".mkv"):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(OutputError):
            convert(clip, tmp_path / name, **FAST, overwrite=True)
        assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "pipe.mkv").is_fifo()


def test_an_error_before_anything_is_rendered_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    small = make_clip(tmp_path / "small.mkv", size=(32, 32), frames=3)
    (tmp_path / "cuts.txt").write_text("3\n4000\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="hurry"):
        convert(clip, tmp_path / "out.mkv", model="bt2446a", preset="hurry")
    with pytest.raises(Exception, match="32x32"):
        convert(small, tmp_path / "out.mkv", **FAST)
    with pytest.raises(Exception, match=r"cuts\.txt"):
        convert(clip, tmp_path / "out.mkv", **FAST, scenes=str(tmp_path / "cuts.txt"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_link_in_the_work_folders_place_is_not_followed(clip: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "diary.txt").touch()
    (tmp_path / ".out.mkv.sdr2hdr-work").symlink_to(precious)
    with pytest.raises(OutputError, match="is a link"):
        convert(clip, tmp_path / "out.mkv", **FAST)
    assert [p.name for p in precious.iterdir()] == ["diary.txt"]


def test_a_source_changed_in_place_starts_anew(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mkv", size=(96, 64), frames=6)
    out = tmp_path / "out.mkv"
    assert convert(source, out, **FAST, keep_work=True).resumed_chunks == 0
    assert convert(source, out, **FAST, keep_work=True, overwrite=True).resumed_chunks == 1
    times = source.stat()
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert convert(source, out, **FAST, overwrite=True).resumed_chunks == 0


@pytest.mark.parametrize("stage", ["render", "assemble", "check"])
def test_a_source_that_changes_meanwhile_is_noticed(tmp_path: Path, stage: str) -> None:
    source, out = make_clip(tmp_path / "clip.mkv", size=(96, 64), frames=6), tmp_path / "out.mkv"
    whole = source.read_bytes()

    def meanwhile(progress: Progress) -> None:
        if progress.stage == stage and source.read_bytes() == whole:
            source.write_bytes(whole + b"more")

    with pytest.raises(InputError, match="changed during the conversion"):
        convert(source, out, **FAST, progress=meanwhile)
    assert not out.exists()
    assert convert(source, out, **FAST).resumed_chunks == 0 and out.exists()


@pytest.mark.parametrize("year", [1970, 2100])
def test_a_clock_that_jumped_loses_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    clip, how = (
        make_clip(tmp_path / "clip.mkv", size=(96, 64), frames=48),
        {**FAST, "scenes": "none", "chunk_frames": 16},
    )
    out, work = tmp_path / "out.mkv", tmp_path / ".out.mkv.sdr2hdr-work"
    times = itertools.count(4e9, -1e6)
    monkeypatch.setattr(time, "time", lambda: next(times))  # and it runs backwards
    first = convert(clip, out, **how, keep_work=True)
    whole = out.read_bytes()
    for path in work.iterdir():
        os.utime(path, ((year - 1970) * 31_557_600,) * 2)
    again = convert(clip, out, **how, overwrite=True)
    assert again.resumed_chunks == first.chunks > 1
    assert out.read_bytes() == whole and again.seconds >= 0


@pytest.mark.parametrize("looks", [[[0.5] * 128] * 2, [None, [0.5] * 127], [None, ["x"] * 128], 3])
def test_a_plan_with_looks_that_do_not_fit_starts_anew(
    clip: Path, tmp_path: Path, looks: object
) -> None:
    out, work = tmp_path / "out.mkv", tmp_path / ".out.mkv.sdr2hdr-work"
    options = {"model": "look", "preset": "ultrafast"}
    scenes = convert(clip, out, **options, keep_work=True).scenes
    plan = json.loads((work / "plan.json").read_text())
    assert len(plan["plan"]["survey"]["looks"]) == scenes
    plan["plan"]["survey"]["looks"] = looks
    (work / "plan.json").write_text(json.dumps(plan))
    assert convert(clip, out, **options, overwrite=True).resumed_chunks == 0


def test_the_look_of_the_film_is_half_of_every_scene_s(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", size=(96, 64), frames=40, options={"crf": "10"})
    cuts = tmp_path / "cuts.txt"
    cuts.write_text("9\n30\n")
    found = {}
    for look in ("scene", "film"):
        out, work = tmp_path / f"{look}.mkv", tmp_path / f".{look}.mkv.sdr2hdr-work"
        options = {"model": "look", "preset": "ultrafast", "scenes": str(cuts), "look_over": look}
        scenes = convert(clip, out, **options, keep_work=True).scenes
        survey = json.loads((work / "plan.json").read_text())["plan"]["survey"]
        found[look] = torch.tensor(survey["looks"])
    assert scenes == len(found["scene"]) == 3
    begins = [0, *survey["cuts"], len(survey["pts"])]
    read = torch.tensor([len(range(-(-a // 8) * 8, b, 8)) for a, b in itertools.pairwise(begins)])
    film = (found["scene"] * read[:, None]).sum(0) / read.sum()
    torch.testing.assert_close(found["film"], (found["scene"] + film) / 2, atol=1e-5, rtol=0)
    assert (tmp_path / "scene.mkv").read_bytes() != (tmp_path / "film.mkv").read_bytes()
    with pytest.raises(UsageError, match="--look-over film or scene"):
        convert(clip, tmp_path / "other.mkv", look_over="cinema")


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"version": 1}', "\0", '{"version": "0", "plan": {}}', "[" * 9999]
)
def test_a_plan_that_cannot_be_read_starts_anew(clip: Path, tmp_path: Path, text: str) -> None:
    out, work = tmp_path / "out.mkv", tmp_path / ".out.mkv.sdr2hdr-work"
    convert(clip, out, **FAST, keep_work=True)
    (work / "plan.json").write_text(text)
    assert convert(clip, out, **FAST, overwrite=True).resumed_chunks == 0


def test_chunks_of_another_program_are_not_used(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mkv"
    convert(clip, out, **FAST, keep_work=True)
    again = convert(clip, out, **FAST, keep_work=True, overwrite=True)
    assert again.resumed_chunks == again.chunks
    monkeypatch.setattr(planning, "program", lambda: "another")
    other = convert(clip, out, **FAST, keep_work=True, overwrite=True)
    assert other.resumed_chunks == 0
    assert any("was begun by another version of sdr2hdr" in note for note in other.notes)
    after = convert(clip, out, **FAST, keep_work=True, overwrite=True)
    assert after.resumed_chunks == after.chunks and not any(
        "another version" in note for note in after.notes
    )


def test_the_program_is_its_code_and_what_it_stands_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One changed byte in a file that decides pixels, or another version of torch, makes another program."""
    package = Path(program_module.__file__).parent.parent
    for room in program_module.ROOMS:
        shutil.copytree(
            package / room,
            tmp_path / room,
            ignore=lambda _, names: [n for n in names if "." in n and n[-3:] != ".py"],
        )
    monkeypatch.setattr(program_module, "__file__", str(tmp_path / "jobs" / "program.py"))
    read = program_module.program.__wrapped__
    first = read()
    assert first == program_module.program() == read()
    changed = tmp_path / "color" / "transfer.py"
    text = changed.read_bytes()
    changed.write_bytes(text + b"#")
    assert read() != first
    changed.write_bytes(text)
    assert read() == first
    monkeypatch.setattr(program_module, "version", lambda name: "0.0" if name == "torch" else "1.0")
    assert read() != first


def test_a_fresh_start_uses_nothing_of_an_earlier_run(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    convert(clip, out, **FAST, keep_work=True)
    again = convert(clip, out, **FAST, overwrite=True, fresh=True)
    assert again.resumed_chunks == 0 and not any("earlier run" in note for note in again.notes)


@pytest.mark.parametrize("change", ["flip", "cut", "remove"])
def test_a_state_that_is_not_what_was_saved_is_made_again(tmp_path: Path, change: str) -> None:
    source = make_clip(tmp_path / "clip.mkv", size=(96, 64), frames=48)
    out, work = tmp_path / "out.mkv", tmp_path / ".out.mkv.sdr2hdr-work"
    how = {**FAST, "scenes": "none", "chunk_frames": 16, "keep_work": True}
    assert convert(source, out, **how).chunks == 3
    state = work / "state-00001.safetensors"
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    if change == "remove":
        state.unlink()
    else:
        state.write_bytes(data if change == "flip" else data[:-1])
    whole = out.read_bytes()
    assert (
        convert(source, out, **how, overwrite=True).resumed_chunks == 1
    )  # and what comes after it
    assert out.read_bytes() == whole


@pytest.mark.parametrize("size", [(2, 2), (4, 96), (96, 62)])
def test_a_picture_too_small_to_encode_is_refused_by_name(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    clip = make_clip(tmp_path / "clip.mkv", size=size, frames=2)
    with pytest.raises(InputError, match=rf"{clip} is {size[0]}x{size[1]}, .* scale it first"):
        convert(clip, tmp_path / "out.mkv", "bt2408", preset="ultrafast")
    assert list(tmp_path.iterdir()) == [clip]
