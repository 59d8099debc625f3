"""Frames in a pipe: those of a conversion, in a form that other programs read, and in bounded memory."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judges import ffprobe, need
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.delivery.pipe import pipe
from sdr2hdr.errors import ModelError, UsageError
from sdr2hdr.jobs.chunk import DEPTH, FrameRenderer, TileTooLarge
from sdr2hdr.kernels.compiled import why_not
from sdr2hdr.media.encoder import ChunkEncoder
from sdr2hdr.media.picture import Picture
from sdr2hdr.media.source import Source
from sdr2hdr.models import registry

SIZE = (96, 64)
FRAMES = 40
FRAME_BYTES = 96 * 64 * 3
FAST = {"model": "bt2446a"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "film.mkv"
    return make_clip(path, size=SIZE, frames=FRAMES, rate=24, audio=["aac"], chapters=["one"])


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "sdr2hdr", "convert", *map(str, args), "--model", "bt2446a"]


def run(*args: object, **kwargs: Any) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command(*args), check=False, timeout=120, **kwargs)


def frames_in(data: bytes) -> bytes:
    """The planes of a YUV4MPEG2 stream."""
    frames = data.split(b"\n", 1)[1]
    size = FRAME_BYTES + len(b"FRAME\n")
    pieces = [frames[at : at + size] for at in range(0, len(frames), size)]
    assert all(piece.startswith(b"FRAME\n") and len(piece) == size for piece in pieces)
    return b"".join(piece[6:] for piece in pieces)


@pytest.mark.parametrize("model", ["bt2446a", "look"])
def test_the_frames_and_the_light_are_those_of_a_conversion(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    encoded = io.BytesIO()
    encode = ChunkEncoder.encode

    def listen(self: ChunkEncoder, planes: Any, *rest: Any) -> None:
        for plane in planes:
            encoded.write(plane.contiguous().numpy().tobytes())
        encode(self, planes, *rest)

    monkeypatch.setattr(ChunkEncoder, "encode", listen)
    whole = convert(clip, tmp_path / "out.mkv", model, preset="ultrafast", chunk_frames=10)
    assert whole.chunks > 1
    out = io.BytesIO()
    report = pipe(clip, out, model, format="raw")
    assert out.getvalue() == encoded.getvalue()
    assert (report.max_cll, report.max_fall) == (whole.max_cll, whole.max_fall)


def test_ffmpeg_reads_what_the_command_writes_and_the_report_comes_on_standard_error(
    clip: Path,
) -> None:
    ffmpeg, ffprobe = need("ffmpeg"), need("ffprobe")
    made = run(clip, "-", "--json", "--crf", "3", capture_output=True)
    raw = frames_in(made.stdout)
    assert len(raw) == FRAMES * FRAME_BYTES
    read = [ffmpeg, "-v", "error", "-i", "-", "-f", "rawvideo", "-"]
    assert subprocess.run(read, input=made.stdout, capture_output=True, check=True).stdout == raw
    told = [ffprobe, "-v", "error", "-of", "json", "-count_frames", "-show_streams", "-"]
    said = subprocess.run(told, input=made.stdout, capture_output=True, check=True).stdout
    (stream,) = json.loads(said)["streams"]
    expected = {
        "pix_fmt": "yuv420p10le", "color_range": "tv", "width": 96, "height": 64, "r_frame_rate": "24/1",
        "nb_read_frames": str(FRAMES), "field_order": "progressive", "sample_aspect_ratio": "1:1",
    }  # fmt: skip
    assert expected.items() <= stream.items()
    levels = np.frombuffer(raw, "<u2")
    assert levels.min() >= 64 and levels.max() <= 960

    events = [json.loads(line) for line in made.stderr.splitlines()]
    assert {e["event"] for e in events} == {"progress", "report"}
    report = events[-1]
    assert (report["frames"], report["container"], report["output"]) == (FRAMES, "y4m", "-")
    assert "Not used for frames in a pipe: --crf." in report["notes"]
    assert (
        "Only the picture is written, without the source's 1 audio stream, 1 chapter."
        in report["notes"]
    )


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize(("chroma", "samples"), [("420", 1.5), ("422", 2), ("444", 3)])
def test_ffmpeg_reads_every_chroma_and_depth(
    clip: Path, tmp_path: Path, chroma: str, samples: float, bits: int
) -> None:
    pix_fmt, out = f"yuv{chroma}p{bits}", tmp_path / "film.y4m"
    with out.open("wb") as file:
        report = pipe(clip, file, **FAST, pix_fmt=pix_fmt)
    assert report.pix_fmt == pix_fmt
    (stream,) = ffprobe(out, "-show_streams", "-count_frames")["streams"]
    assert (stream["pix_fmt"], stream["nb_read_frames"]) == (f"{pix_fmt}le", str(FRAMES))
    command = [need("ffmpeg"), "-v", "error", "-i", str(out), "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    again = io.BytesIO()
    pipe(clip, again, **FAST, pix_fmt=pix_fmt, format="raw")
    assert raw == again.getvalue()
    assert len(raw) == FRAMES * SIZE[0] * SIZE[1] * 2 * samples


def test_a_reader_that_goes_away_ends_it_quietly(clip: Path) -> None:
    with subprocess.Popen(
        command(clip, "-", "-q"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.read(100)
        running.stdout.close()
        assert (running.stderr.read(), running.wait(120)) == (b"", 1)


def test_a_full_disk_is_told(clip: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(clip, "-", "-q", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 4
    assert done.stderr.startswith(b"Error: The standard output cannot be written")


def test_a_terminal_is_refused(clip: Path) -> None:
    parent, child = pty.openpty()
    done = run(clip, "-", stdout=child, stderr=subprocess.PIPE)
    os.close(child)
    os.close(parent)
    assert done.returncode == 2
    assert done.stderr.startswith(b"Error: Frames would be printed on this terminal;")
    assert len(done.stderr.splitlines()) == 1


def test_a_slow_reader_holds_rendering_back(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, ahead = [0], list[int]()
    pictures = Source.pictures

    def counted(self: Source, *rest: Any, **more: Any) -> Iterator[Picture]:
        decoded[0] = 0  # the survey reads all, rendering reads again
        for picture in pictures(self, *rest, **more):
            decoded[0] += 1
            yield picture

    class Slow(io.RawIOBase):
        taken = 0

        def write(self, data: Any) -> int:
            self.taken += len(data)
            ahead.append(decoded[0] - self.taken // FRAME_BYTES)
            time.sleep(0.01)
            return len(data)

    monkeypatch.setattr(Source, "pictures", counted)
    out = Slow()
    pipe(clip, out, **FAST, format="raw")
    assert out.taken == FRAMES * FRAME_BYTES
    # two queues, what each stage holds, and without kernels a block of frames that is rendered together
    block = 0 if why_not() is None else registry.spec(FAST["model"]).block
    assert 0 < max(ahead) <= 2 * DEPTH + 4 + block


def test_frames_without_equal_steps_are_told(tmp_path: Path) -> None:
    film = make_clip(tmp_path / "vfr.mkv", size=SIZE, frames=6, pts=[2, 3, 4, 9, 10, 30])
    notes = pipe(film, io.BytesIO(), **FAST).notes
    assert any("irregular times" in note for note in notes)


@pytest.mark.parametrize("sound", [False, True])
def test_what_frames_do_not_say_of_the_picture_is_told_once(tmp_path: Path, sound: bool) -> None:
    """In a pipe, and in a folder with and without a file of sound beside the pictures."""
    film = tmp_path / "a.mkv"
    given = "testsrc2=s=64x64:r=25:d=0.2,format=yuva420p,colorchannelmixer=aa=0.5"
    heard = ["-f", "lavfi", "-i", "sine=d=0.2"] if sound else []
    command = [need("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", given, *heard]
    views = ["-metadata:s:v", "stereo_mode=left_right"]
    subprocess.run([*command, "-c:v", "ffv1", "-c:a", "flac", *views, film], check=True)
    for report in (
        pipe(film, io.BytesIO(), **FAST),
        convert(film, tmp_path / "out", codec="png16", **FAST),
    ):
        for words in ("transparency left out", "two views"):
            assert sum(words in note for note in report.notes) == 1


def test_odd_sizes_are_made_even(tmp_path: Path) -> None:
    film = make_clip(tmp_path / "odd.mkv", codec="ffv1", pix_fmt="yuv444p", size=(97, 65), frames=2)
    out = io.BytesIO()
    pipe(film, out, **FAST)
    header, frames = out.getvalue().split(b"\n", 1)
    assert b" W98 H66 " in header
    assert len(frames) == 2 * (98 * 66 * 3 + 6)


def test_memory_running_out_halves_the_tile_unless_frames_are_out(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = FrameRenderer._finished

    def short_of_memory(self: FrameRenderer, index: int, *rest: Any) -> Any:
        if self.plan.tile > 64:
            raise TileTooLarge
        return finished(self, index, *rest)

    monkeypatch.setattr(FrameRenderer, "_finished", short_of_memory)
    out = io.BytesIO()
    report = pipe(clip, out, **FAST, tile=128, format="raw")
    assert report.tile == 48
    assert [n for n in report.notes if "Memory ran out in tiles of 128 pixels" in n]
    assert len(out.getvalue()) == FRAMES * FRAME_BYTES

    def short_in_the_middle(self: FrameRenderer, index: int, *rest: Any) -> Any:
        for number, made in enumerate(finished(self, index, *rest)):
            if number == 8:
                raise TileTooLarge
            yield made

    monkeypatch.setattr(FrameRenderer, "_finished", short_in_the_middle)
    with pytest.raises(ModelError, match=r"after 8 frames were written.*--tile 48\.$"):
        pipe(clip, io.BytesIO(), **FAST, tile=128)


def test_what_a_pipe_cannot_hold_is_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --aux-sdr out"):
        pipe(clip, io.BytesIO(), **FAST, aux_sdr=tmp_path / "sdr.mkv")
    with pytest.raises(UsageError, match="leave --hdr10plus out"):
        pipe(clip, io.BytesIO(), **FAST, hdr10plus=True)
    with pytest.raises(UsageError, match="give - instead of a file"):
        convert(clip, tmp_path / "out.mkv", **FAST, format="raw")
    assert list(tmp_path.iterdir()) == []
