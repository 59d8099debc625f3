"""Whole conversions: what must always hold, seen from outside."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from judges import ffprobe, mediainfo
from media_makers import Planes, make_clip, plane_shapes

from sdr2hdr import convert, detect_scenes
from sdr2hdr.cli.main import main
from sdr2hdr.codecs import CODECS
from sdr2hdr.errors import InputError, Interrupted, ModelError, OutputError
from sdr2hdr.jobs.chunk import ChunkRenderer, TileTooLarge
from sdr2hdr.jobs.progress import Progress
from sdr2hdr.kernels.compiled import SWITCH
from sdr2hdr.render.renderer import Renderer

SIZE = (96, 64)
FAST = {"model": "bt2446a", "preset": "ultrafast"}


def scene_picture(cuts: tuple[int, ...]) -> Callable[[int], Planes]:
    """Pictures of another place from each of the given frames on: a random texture and tint that drifts a little."""

    def picture(index: int) -> Planes:
        rng = np.random.default_rng(sum(index >= c for c in cuts))
        (height, width), chroma, _ = plane_shapes("yuv420p", SIZE)
        texture = np.kron(rng.uniform(40, 210, (height // 4 + 1, width // 4 + 1)), np.ones((4, 4)))
        drifted = np.roll(texture, index // 4, axis=1)[:height, :width]
        planes = [drifted] + [np.full(chroma, rng.uniform(70, 190)) for _ in range(2)]
        return [p.round().astype(np.uint8) for p in planes]

    return picture


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "three_scenes.mkv"
    return make_clip(
        path,
        size=SIZE,
        frames=60,
        picture=scene_picture((20, 41)),
        options={"crf": "10", "g": "12"},
        audio=["aac"],
    )


def test_a_scene_that_dims_and_recovers_ends_with_the_mapping_it_began_with(tmp_path: Path) -> None:
    def picture(index: int) -> Planes:  # from full light down to two fifths and back, without a cut
        light = 0.4 + 0.6 * abs(1 - index / 20)
        return [
            (
                16 + (p.astype(float) - 16) * light
                if i == 0
                else 128 + (p.astype(float) - 128) * light
            )
            .round()
            .astype(np.uint8)
            for i, p in enumerate(scene_picture(())(0))
        ]

    clip = make_clip(
        tmp_path / "dip.mkv", size=SIZE, frames=41, picture=picture, options={"crf": "1"}
    )
    report = convert(
        clip, tmp_path / "out.mkv", model="look", crf=1, preset="ultrafast", chunk_frames=10
    )
    assert report.scenes == 1 and report.chunks > 1
    with av.open(str(tmp_path / "out.mkv")) as f:
        frames = [p.to_ndarray() for p in f.decode(video=0)]
    luma = [np.frombuffer(p.tobytes(), np.uint16)[: SIZE[0] * SIZE[1]].mean() for p in frames]
    assert abs(luma[0] - luma[40]) < 0.5 < 20 < luma[0] - luma[20]


def pts_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as f:
        stream = f.streams.video[0]
        return sorted(
            p.pts * stream.time_base for p in f.demux(stream) if p.pts is not None and p.size
        )


def packets_of(path: Path) -> str:
    with av.open(str(path)) as f:
        stream = f.streams.video[0]
        digest = hashlib.sha256()
        for p in f.demux(stream):
            digest.update(f"{p.pts} {p.dts}".encode() + bytes(p))
        return digest.hexdigest()


def frames_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as f:
        return [b"".join(bytes(p) for p in frame.planes) for frame in f.decode(video=0)]


@pytest.mark.parametrize(
    ("codec", "container"),
    [(codec, each) for codec in ("hevc", "av1") for each in CODECS[codec].containers],
)
def test_every_tool_reads_hdr10_with_the_reports_own_figures(
    clip: Path, tmp_path: Path, codec: str, container: str
) -> None:
    out = tmp_path / f"out.{container}"
    preset = {"preset": "12"} if codec == "av1" else {}
    report = convert(clip, out, **(FAST | preset), codec=codec, peak=700)
    found = ffprobe(out, "-select_streams", "v", "-show_streams", "-show_frames")
    video = found["streams"][0]
    colour = [video[f"color_{what}"] for what in ("transfer", "space", "primaries", "range")]
    assert colour == ["smpte2084", "bt2020nc", "bt2020", "tv"]
    told = [video, *(frame for frame in found["frames"] if frame["key_frame"])]
    assert len(told) > 1
    for each in told:  # the container, and the bitstream at each key frame
        light = next(d for d in each["side_data_list"] if "max_content" in d)
        volume = next(d for d in each["side_data_list"] if "max_luminance" in d)
        assert (light["max_content"], light["max_average"]) == (report.max_cll, report.max_fall)
        assert Fraction(volume["max_luminance"]) == report.mastering_peak == 700
        assert float(Fraction(volume["green_y"])) == pytest.approx(0.797, abs=2e-5)
    info = mediainfo(out)
    assert "HDR10" in info["HDR_Format_Compatibility"]
    assert info["MaxCLL"].split()[0] == str(report.max_cll)
    assert info["MaxFALL"].split()[0] == str(report.max_fall)
    assert "max: 700 " in info["MasteringDisplay_Luminance"]
    assert [round(t * 1000) for t in pts_of(out)] == [round(t * 1000) for t in pts_of(clip)]
    assert sorted(tmp_path.iterdir()) == sorted(tmp_path.glob("out.*"))  # no work folder stays


def test_scenes_are_found_and_reported(clip: Path, tmp_path: Path) -> None:
    assert [s.first for s in detect_scenes(clip)] == [0, 20, 41]
    seen: list[Progress] = []
    report = convert(clip, tmp_path / "out.mkv", **FAST, progress=seen.append)
    assert report.scenes == 3
    assert {p.stage for p in seen} == {"scan", "render", "assemble", "check"}
    done = [p.done for p in seen if p.stage == "render"]
    assert done == sorted(done) and done[-1] == 60


def test_straight_resumed_and_parallel_runs_give_identical_packets(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = FAST | {
        "chunk_frames": 15,
        "hdr10plus": True,
    }  # which says of each scene what its chunks measured
    straight = tmp_path / "straight.mkv"
    assert convert(clip, straight, **how).chunks == 3
    parallel = tmp_path / "parallel.mkv"
    convert(clip, parallel, **how, workers=2)
    resumed = tmp_path / "resumed.mkv"
    render = ChunkRenderer.render

    def stop_at_first(*_: object) -> None:
        raise KeyboardInterrupt

    def stop_at_second(self: ChunkRenderer, index: int, tick: object) -> None:
        if index == 1:
            raise KeyboardInterrupt
        render(self, index, tick)

    for stop, said in (
        (stop_at_first, "no part of .* was finished; run the same command"),
        (stop_at_second, "the finished part of .* is kept next to it; run the same command"),
    ):
        monkeypatch.setattr(ChunkRenderer, "render", stop)
        with pytest.raises(Interrupted, match=said):
            convert(clip, resumed, **how)
    assert not resumed.exists()
    monkeypatch.setattr(ChunkRenderer, "render", render)
    assert convert(clip, resumed, **how).resumed_chunks == 1
    assert packets_of(resumed) == packets_of(parallel) == packets_of(straight)


def test_other_settings_start_anew(clip: Path, tmp_path: Path) -> None:
    convert(clip, tmp_path / "out.mkv", **FAST, chunk_frames=15, keep_work=True)
    again = convert(
        clip, tmp_path / "out.mkv", **FAST, chunk_frames=15, keep_work=True, overwrite=True
    )
    assert again.resumed_chunks == 3
    other = convert(clip, tmp_path / "out.mkv", **FAST, chunk_frames=15, overwrite=True, peak=500)
    assert other.resumed_chunks == 0 and other.max_cll <= 500
    assert any("was begun with other settings" in note for note in other.notes)


def test_a_long_scene_is_split_with_its_state_and_gives_the_same_frames(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "long.mkv", size=SIZE, frames=48, picture=scene_picture(()))
    options = {"preset": "ultrafast", "codec": "hevc", "crf": 0.0, "precision": "float32"}
    one = convert(path, tmp_path / "one.mkv", **options, chunk_frames=200)
    split = convert(path, tmp_path / "split.mkv", **options, chunk_frames=16)
    assert (one.chunks, split.chunks) == (1, 3)
    # encoded apart, so equal in the light that was measured before encoding, which sees every pixel
    assert (one.measured_max_cll, one.measured_max_fall, one.p9999) == (
        split.measured_max_cll,
        split.measured_max_fall,
        split.p9999,
    )


def test_cutting_the_file_at_a_scene_change_gives_the_frames_of_the_whole(tmp_path: Path) -> None:
    lossless = {"codec": "ffv1", "size": SIZE}
    picture = scene_picture((20,))
    whole = make_clip(tmp_path / "whole.mkv", frames=40, picture=picture, **lossless)
    pts = list(range(20, 40))
    tail = make_clip(
        tmp_path / "tail.mkv", frames=20, picture=lambda i: picture(i + 20), pts=pts, **lossless
    )
    options = {**FAST, "chunk_frames": 20}
    convert(whole, tmp_path / "a.mkv", **options)
    convert(tail, tmp_path / "b.mkv", **options)
    assert frames_of(tmp_path / "a.mkv")[20:] == frames_of(tmp_path / "b.mkv")


def test_variable_rate_keeps_every_time_stamp(tmp_path: Path) -> None:
    pts = [40, 80, 90, 200, 201, 350, 700, 701, 702, 1000, 1400, 1401, 1500, 1544]
    path = make_clip(
        tmp_path / "vfr.mp4",
        size=SIZE,
        frames=len(pts),
        pts=pts,
        time_base=Fraction(1, 600),
        rate=30,
    )
    for name in ("out.mp4", "out.mov"):
        convert(path, tmp_path / name, **FAST)
        assert pts_of(tmp_path / name) == pts_of(path)


def test_memory_running_out_in_the_middle_halves_the_tile_and_goes_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun = Renderer.new_states, list[int]()

    def short_of_memory(self: Renderer, *rest: Any) -> Any:
        begun.append(max(tile.bottom - tile.top for tile in self.tiles))
        if begun[-1] > 48 and len(begun) > 1:  # after the first scene
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return begin(self, *rest)

    monkeypatch.setattr(Renderer, "new_states", short_of_memory)
    report = convert(clip, tmp_path / "out.mkv", **FAST, tile=128, chunk_frames=20)
    assert report.tile == 48 and begun == [64, 64, 48, 48]
    (said,) = [note for note in report.notes if "Memory ran out" in note]
    assert said.startswith("Memory ran out in tiles of 128 pixels, so the rest was rendered in")
    assert pts_of(tmp_path / "out.mkv") == pts_of(clip)
    monkeypatch.setattr(
        ChunkRenderer, "_finished", lambda *_: (_ for _ in ()).throw(TileTooLarge())
    )
    with pytest.raises(ModelError, match="Memory ran out"):
        convert(clip, tmp_path / "never.mkv", **FAST, tile=128)


def test_odd_sizes_are_made_even_and_said(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "odd.mkv", codec="ffv1", pix_fmt="yuv444p", size=(97, 65), frames=3)
    report = convert(path, tmp_path / "out.mkv", **FAST)
    assert (report.width, report.height) == (98, 66)
    assert any("97x65" in note for note in report.notes)


def run_cli(*args: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sdr2hdr", *map(str, args)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, **kwargs
    )


def test_without_numba_a_film_is_converted_and_one_sentence_says_that_it_takes_longer(
    clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('built for another processor')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    out = tmp_path / "out.mkv"
    done = run_cli("convert", clip, out, "--model", "bt2446a", "--preset", "ultrafast", "--json",
                   env={**os.environ, "PYTHONPATH": path, SWITCH: "on"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = "numba does not load here (built for another processor), so nothing is compiled"
    assert [n for n in json.loads(done.stdout)["notes"] if n.startswith(wanted)]
    assert pts_of(out) == pts_of(clip)


def test_kill_9_and_again_gives_the_undisturbed_file(clip: Path, tmp_path: Path) -> None:
    args = ["--model", "bt2446a", "--preset", "ultrafast", "--chunk-frames", "10", "-q"]
    out, undisturbed = tmp_path / "killed.mkv", tmp_path / "undisturbed.mkv"
    process = subprocess.Popen(
        [sys.executable, "-m", "sdr2hdr", "convert", str(clip), str(out), *args]
    )
    work = tmp_path / ".killed.mkv.sdr2hdr-work"
    deadline = time.monotonic() + 60
    while (
        not list(work.glob("chunk-*.json"))
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode == -signal.SIGKILL:
        assert not out.exists()
    done = run_cli("convert", clip, out, "-y", *args)
    assert done.returncode == 0, done.stderr
    assert main(["convert", str(clip), str(undisturbed), *args]) == 0
    assert packets_of(out) == packets_of(undisturbed)


def test_ctrl_c_keeps_the_work_and_says_how_to_go_on(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    args = [
        sys.executable,
        "-m",
        "sdr2hdr",
        "convert",
        str(clip),
        str(out),
        "--model",
        "bt2446a",
        "-q",
    ]
    process = subprocess.Popen(
        [*args, "--chunk-frames", "10", "--preset", "veryslow"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while (
        not (tmp_path / ".out.mkv.sdr2hdr-work" / "plan.json").exists()
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        "run the same command again" in said
        and "Traceback" not in said
        and len(said.strip().splitlines()) == 1
    )
    assert not out.exists() and (tmp_path / ".out.mkv.sdr2hdr-work" / "plan.json").exists()


def bad_cases(clip: Path, tmp: Path) -> dict[str, tuple[list[object], int, str]]:
    """Arguments, exit code, and a word that the message must hold."""
    (tmp / "empty.mp4").touch()
    (tmp / "text.mp4").write_text("this is no video\n" * 50)
    (tmp / "exists.mkv").write_text("mine")
    (tmp / "scenes.txt").write_text("0\n30\n20\n")
    (tmp / "folder").mkdir()
    out = tmp / "out.mkv"
    return {
        "missing": ([tmp / "none.mp4", out], 3, "none.mp4"),
        "empty": ([tmp / "empty.mp4", out], 3, "empty.mp4"),
        "no video": ([tmp / "text.mp4", out], 3, "text.mp4"),
        "folder": ([tmp / "folder", out], 3, "folder"),
        "target exists": ([clip, tmp / "exists.mkv"], 4, "-y"),
        "no such folder": ([clip, tmp / "nowhere" / "out.mkv"], 4, "nowhere"),
        "target is a folder": ([clip, tmp / "folder", "--container", "mkv"], 4, "folder"),
        "source is target": ([clip, clip, "-y"], 4, "source"),
        "model": ([clip, out, "--model", "wmnett"], 5, "wmnett"),
        "device": ([clip, out, "--device", "cuda:7"], 5, "cuda:7"),
        "precision": ([clip, out, "--precision", "int4"], 2, "int4"),
        "codec": ([clip, out, "--codec", "vp9"], 2, "vp9"),
        "container": ([clip, tmp / "out.avi"], 4, ".mkv"),
        "peak": ([clip, out, "--peak", "399"], 2, "from 400 to 4000"),
        "half a nit": ([clip, out, "--peak", "600.5"], 2, "whole number"),
        "no such container": ([clip, out, "--container", "avi"], 2, "mkv, mp4 or mov"),
        "tile": ([clip, out, "--tile", "63"], 2, "64 or more"),
        "look": ([clip, out, "--look", "nice"], 2, "no look 'nice'"),
        "range": ([clip, out, "--input-range", "tv"], 2, "limited or full"),
        "dark": ([clip, out, "--brightness", "0"], 2, "from 0.5 to 8"),
        "bright": ([clip, out, "--brightness", "100"], 2, "from 0.5 to 8"),
        "preset": ([clip, out, "--preset", "hurry"], 4, "hurry"),
        "scene list": ([clip, out, "--scenes", tmp / "scenes.txt"], 3, "scenes.txt"),
        "no scene list": ([clip, out, "--scenes", tmp / "lost.txt"], 3, "lost.txt"),
        "matrix": ([clip, out, "--input-matrix", "bt999"], 2, "bt999"),
    }


def test_bad_input_ends_in_one_sentence(clip: Path, tmp_path: Path) -> None:
    for name, (args, code, word) in bad_cases(clip, tmp_path).items():
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            options = [] if "--model" in args else ["--model", "bt2408"]
            assert main(["convert", *map(str, args), *options, "-q"]) == code, (
                name,
                said.getvalue(),
            )
        text = said.getvalue()
        assert word in text and "Traceback" not in text and len(text.strip().splitlines()) == 1, (
            name,
            text,
        )
    assert (tmp_path / "exists.mkv").read_text() == "mine"
    assert not (tmp_path / "out.mkv").exists()


def test_a_closed_folder_is_said(clip: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        convert(clip, tmp_path / "out.mkv", **FAST)


def test_a_truncated_file_is_converted_as_far_as_it_goes_or_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "whole.mkv", size=SIZE, frames=60, options={"g": "10", "crf": "5"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    report = convert(cut, tmp_path / "out.mkv", **FAST)
    assert 10 < report.frames < 60
    assert report.loss and "missing" in report.loss
    with pytest.raises(InputError):
        convert(cut, tmp_path / "strict.mkv", **FAST, strict=True)


def test_hdr_input_is_refused(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "hdr.mkv",
        size=SIZE,
        codec="libx265",
        pix_fmt="yuv420p10le",
        color_trc=16,
        color_primaries=9,
        colorspace=9,
    )
    with pytest.raises(InputError, match="HDR already"):
        convert(path, tmp_path / "out.mkv", **FAST)


def test_a_full_disk_is_said_and_work_goes_on_when_there_is_space(
    clip: Path, tmp_path: Path
) -> None:
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from sdr2hdr.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out.mkv"
    args = ["convert", str(clip), str(out), "--model", "bt2446a", "--crf", "0", "-q"]
    full = subprocess.run(
        [sys.executable, "-c", script, *args],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert full.returncode == 4, full.stderr
    assert "Traceback" not in full.stderr and len(full.stderr.strip().splitlines()) == 1
    assert not out.exists()
    assert main(args) == 0
    assert out.exists()


def test_json_output_is_the_report_alone(clip: Path, tmp_path: Path) -> None:
    done = run_cli(
        "convert",
        clip,
        tmp_path / "out.mp4",
        "--model",
        "bt2408",
        "--preset",
        "ultrafast",
        "--chunk-frames",
        "20",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == 60 and report["max_cll"] > 0
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {e["event"] for e in events} == {"progress", "note"}
    said = [e["note"] for e in events if e["event"] == "note"]
    assert sum(note.startswith("The film takes about") for note in said) == 1


def test_two_conversions_to_one_target_are_refused(clip: Path, tmp_path: Path) -> None:
    from sdr2hdr.jobs.work import Work

    held = Work.beside(tmp_path / "out.mkv")
    with pytest.raises(OutputError, match="Another conversion"):
        convert(clip, tmp_path / "out.mkv", **FAST)
    held.close(remove=True)
    convert(clip, tmp_path / "out.mkv", **FAST)


def test_work_that_was_tampered_with_is_done_again(clip: Path, tmp_path: Path) -> None:
    out, work = tmp_path / "out.mkv", tmp_path / ".out.mkv.sdr2hdr-work"
    convert(clip, out, **FAST, chunk_frames=15, keep_work=True)
    undisturbed = packets_of(out)
    chunk = work / "chunk-00001.packets"
    flipped = bytearray(chunk.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    chunk.write_bytes(flipped)
    (work / "chunk-00002.json").write_text("{not json")
    report = convert(clip, out, **FAST, chunk_frames=15, keep_work=True, overwrite=True)
    assert report.resumed_chunks == 1 and packets_of(out) == undisturbed
    (work / "plan.json").write_text("[]")
    assert convert(clip, out, **FAST, chunk_frames=15, overwrite=True).resumed_chunks == 0
    assert packets_of(out) == undisturbed


@pytest.mark.parametrize(
    "name",
    [b"[/b]x.mkv", b"[red]x.mkv", b"\xff\xfe.mkv", b"a\nb\x1b[2J.mkv", "日本 ü.mkv".encode()],
)
def test_the_report_shows_any_name(clip: Path, tmp_path: Path, name: bytes) -> None:
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    out.parent.mkdir(exist_ok=True)
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stderr(said):
        assert (
            main(["convert", str(clip), str(out), "--model", "bt2446a", "--preset", "ultrafast"])
            == 0
        )
    assert out.stat().st_size > 1000
    text = said.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert "MaxCLL" in text and "\x1b[2J" not in text
    assert not name.startswith(b"[") or name.decode()[:4] in text.replace("\n", "")
