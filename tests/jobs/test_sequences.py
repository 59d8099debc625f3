"""A film as a folder of pictures: what outside readers find in it, and when it appears."""

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenEXR
import pytest
from handed import frames_handed
from judges import ffprobe, need
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.batch.plan import make_plan
from sdr2hdr.errors import OutputError, UsageError
from sdr2hdr.jobs.report import Report
from sdr2hdr.media import pictures
from sdr2hdr.options import Options

FRAMES, SIZE = 14, (128, 96)
FAST: dict[str, Any] = {"model": "bt2446a", "chunk_frames": 5}
ENDINGS = {"exr": ".exr", "png16": ".png", "tiff16": ".tif"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "film.mkv"
    return make_clip(
        path, size=SIZE, frames=FRAMES, audio=["aac"], subtitles=["deu"], chapters=["one"]
    )


@pytest.fixture(scope="module")
def made(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Report]]:
    """The film in every form, cut into two chunks."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "cuts.txt").write_text("7")
    films = {}
    for codec in ENDINGS:
        out = folder / codec
        films[codec] = out, convert(clip, out, codec=codec, scenes=folder / "cuts.txt", **FAST)
    return films


@pytest.fixture(scope="module")
def codes(clip: Path, made: dict[str, tuple[Path, Report]]) -> "np.ndarray[Any, Any]":
    """The same film in FFV1, read by FFmpeg: R'G'B' codes of 16 bits ``T,H,W,3``."""
    out = made["exr"][0].parent / "film.mkv"
    cuts = out.with_name("cuts.txt")
    convert(clip, out, codec="ffv1", pix_fmt="gbrp16", scenes=cuts, **FAST)
    raw = raw_frames(str(out), "gbrp16le")
    green, blue, red = np.frombuffer(raw, "<u2").reshape(FRAMES, 3, SIZE[1], SIZE[0]).swapaxes(0, 1)
    return np.stack([red, green, blue], -1)


def raw_frames(source: str, pix_fmt: str) -> bytes:
    """The frames of a film, or of numbered pictures, as FFmpeg decodes them."""
    command = [need("ffmpeg"), "-v", "error", "-i", source, "-fps_mode", "passthrough"]
    form = ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]
    return subprocess.run([*command, *form], check=True, capture_output=True).stdout


def png_chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, with their checksums checked."""
    data = path.read_bytes()
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(
            kind + content
        )
        yield kind, content
        at += 12 + size


def light_of(codes: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Nits of PQ codes 0..1, written out again from ST 2084."""
    m1, m2, c2, c3 = 2610 / 16384, 2523 / 32, 2413 / 128, 2392 / 128
    power = codes ** (1 / m2)
    return 10000 * (np.maximum(power - (c3 - c2 + 1), 0) / (c2 - c3 * power)) ** (1 / m1)


@pytest.mark.parametrize("codec", ENDINGS)
def test_a_folder_holds_the_pictures_and_nothing_else(
    made: dict[str, tuple[Path, Report]], codec: str
) -> None:
    out, report = made[codec]
    names = sorted(path.name for path in out.iterdir())
    films = [f"{n:06d}{ENDINGS[codec]}" for n in range(1, FRAMES + 1)]
    assert names == [*films, "sequence.json", "sound.mka"]
    assert (report.frames, report.chunks, report.container) == (FRAMES, 2, "folder")
    about = json.loads((out / "sequence.json").read_text())
    assert (about["pictures"], about["rate"], about["max_cll"]) == (FRAMES, "25", report.max_cll)
    assert not [path for path in out.parent.iterdir() if path.name.endswith("-work")]


@pytest.mark.parametrize(
    ("codec", "name", "pix_fmt"),
    [("exr", "exr", "gbrpf32le"), ("png16", "png", "rgb48be"), ("tiff16", "tiff", "rgb48le")],
)
def test_ffprobe_reads_every_picture(
    made: dict[str, tuple[Path, Report]], codec: str, name: str, pix_fmt: str
) -> None:
    """FFmpeg 5 widens half floats to 32 bits, FFmpeg 8 does not."""
    pattern = made[codec][0] / f"%06d{ENDINGS[codec]}"
    (stream,) = ffprobe(pattern, "-show_streams", "-count_frames")["streams"]
    assert (stream["codec_name"], stream["nb_read_frames"]) == (name, str(FRAMES))
    assert (stream["width"], stream["height"]) == SIZE
    assert stream["pix_fmt"] in (pix_fmt, pix_fmt.replace("f32", "f16"))


@pytest.mark.parametrize("codec", ["png16", "tiff16"])
def test_16_bit_pictures_hold_the_codes_of_ffv1_to_the_bit(
    made: dict[str, tuple[Path, Report]], codes: "np.ndarray[Any, Any]", codec: str
) -> None:
    out, _ = made[codec]
    raw = raw_frames(str(out / f"%06d{ENDINGS[codec]}"), "rgb48le")
    assert np.array_equal(np.frombuffer(raw, "<u2").reshape(codes.shape), codes)


def test_png_names_its_colours_and_its_light(made: dict[str, tuple[Path, Report]]) -> None:
    out, report = made["png16"]
    for path in (out / "000001.png", out / f"{FRAMES:06d}.png"):
        there = dict(png_chunks(path))
        assert there[b"IHDR"] == struct.pack(">2I5B", *SIZE, 16, 2, 0, 0, 0)
        assert there[b"cICP"] == bytes((9, 16, 0, 1))
        assert struct.unpack(">2I", there[b"cLLI"]) == (
            report.max_cll * 10000,
            report.max_fall * 10000,
        )
        display = struct.unpack(">8H2I", there[b"mDCV"])
        assert display == (35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450, 10_000_000, 1)
        kinds = [kind for kind, _ in png_chunks(path)]
        assert kinds.index(b"cICP") < kinds.index(b"IDAT")
    with av.open(str(out / "000001.png")) as file:  # FFmpeg 8 reads the chunk
        frame = next(file.decode(video=0))
    assert (frame.color_primaries, frame.color_trc, frame.color_range) == (9, 16, 2)


def test_openexr_holds_the_light_of_the_codes(
    made: dict[str, tuple[Path, Report]], codes: "np.ndarray[Any, Any]"
) -> None:
    out, report = made["exr"]
    assert (report.pix_fmt, report.transfer) == ("half", "linear")
    for number in (0, FRAMES - 1):
        picture = OpenEXR.File(str(out / f"{number + 1:06d}.exr"), separate_channels=True)
        header = picture.header()
        assert header["whiteLuminance"] == 203
        assert header["chromaticities"] == pytest.approx(
            (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329), abs=1e-6
        )
        assert (header["framesPerSecond"], header["pixelAspectRatio"]) == (25, 1)
        channels = [picture.channels()[name].pixels for name in "RGB"]
        assert all(c.dtype == np.float16 and c.shape == SIZE[::-1] for c in channels)
        found = np.stack(channels, -1).astype(float) * 203
        # half floats have 11 bits; below 0.012 nits they are 6e-8 of white apart
        np.testing.assert_allclose(found, light_of(codes[number] / 65535), rtol=5e-4, atol=1e-5)


def test_white_of_203_nits_is_one_in_openexr_and_code_573_in_png(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BT.2408 table 1: 203 nits are 58 % PQ; of 1023 codes of full range 594, of limited range 573."""
    import torch

    grey = make_clip(
        tmp_path / "white.mkv",
        codec="ffv1",
        size=(64, 64),
        frames=2,
        picture=lambda _: tuple(
            np.full(s, v, np.uint8) for s, v in (((64, 64), 235), ((32, 32), 128), ((32, 32), 128))
        ),
    )
    how: dict[str, Any] = {"model": "bt2408"}
    convert(grey, tmp_path / "png", codec="png16", **how)
    convert(grey, tmp_path / "exr", codec="exr", **how)
    with av.open(str(tmp_path / "png" / "000001.png")) as file:
        pixels = torch.from_numpy(next(file.decode(video=0)).to_ndarray().astype("int32"))
    signal_of_white = pixels.double().mean() / 65535
    assert 64 + 876 * signal_of_white == pytest.approx(573, abs=0.5)
    exr = OpenEXR.File(str(tmp_path / "exr" / "000001.exr"), separate_channels=True)
    assert exr.channels()["G"].pixels.astype(float).mean() == pytest.approx(1, rel=2e-3)


def test_sound_subtitles_and_chapters_lie_beside_the_pictures(
    clip: Path, made: dict[str, tuple[Path, Report]]
) -> None:
    out, report = made["exr"]
    found = ffprobe(out / "sound.mka", "-show_streams", "-show_chapters")
    assert [stream["codec_type"] for stream in found["streams"]] == ["audio", "subtitle"]
    assert len(found["chapters"]) == 1
    assert any("sound.mka" in note for note in report.notes)
    packets = []
    for path in (clip, out / "sound.mka"):
        with av.open(str(path)) as file:
            packets.append([(p.pts * p.time_base, bytes(p)) for p in file.demux(audio=0) if p.size])
    assert packets[0] == packets[1]


def test_without_sound_there_is_no_file_of_it_and_irregular_times_are_told(tmp_path: Path) -> None:
    film = make_clip(
        tmp_path / "vfr.mkv", size=(64, 64), frames=6, pts=[2, 3, 4, 9, 10, 30], chapters=["one"]
    )
    report = convert(film, tmp_path / "out", codec="png16", **FAST)
    assert not (tmp_path / "out" / "sound.mka").exists()
    assert any("1 chapter" in note for note in report.notes)
    assert any("irregular times" in note for note in report.notes)


def test_kill_9_and_again_in_parallel_gives_the_undisturbed_pictures(
    clip: Path, made: dict[str, tuple[Path, Report]], tmp_path: Path
) -> None:
    undisturbed, _ = made["png16"]
    out, cuts = tmp_path / "out", undisturbed.with_name("cuts.txt")
    words = ["--codec", "png16", "--model", "bt2446a", "--chunk-frames", "5", "--scenes", str(cuts)]
    command = [sys.executable, "-m", "sdr2hdr", "convert", str(clip), str(out), *words, "-q"]
    process = subprocess.Popen(command)
    first = tmp_path / ".out.sdr2hdr-work" / "chunk-00000.json"
    while not first.exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = process.returncode == -signal.SIGKILL
    assert killed != out.exists()
    if killed:
        half = tmp_path / ".out.sdr2hdr-work" / "pictures.part"  # as if killed in the middle of it
        half.mkdir(exist_ok=True)
        (half / "000001.png").write_bytes(b"half")
        report = convert(clip, out, codec="png16", scenes=cuts, workers=2, **FAST)
        assert report.resumed_chunks >= 1
        assert not any("does not make" in note for note in report.notes)
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in undisturbed.iterdir())
    for path in undisturbed.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_only_pictures_of_an_earlier_run_are_replaced(clip: Path, tmp_path: Path) -> None:
    out, how = tmp_path / "out", {**FAST, "codec": "tiff16"}
    out.mkdir()  # an empty folder may be filled
    convert(clip, out, **how)
    with pytest.raises(OutputError, match=r"holds a film's pictures; .* replace them with -y"):
        convert(clip, out, **how)
    convert(clip, out, **{**how, "codec": "png16"}, overwrite=True)
    assert not list(out.glob("*.tif")) and len(list(out.glob("*.png"))) == FRAMES
    (out / "000099.png").write_bytes(b"another's")
    before = sorted(out.iterdir())
    with pytest.raises(OutputError, match=r"holds 000099\.png, which sdr2hdr did not write there"):
        convert(clip, out, **how, overwrite=True)
    (out / "000099.png").unlink()
    (out / "sequence.json").write_text('{"pictures": 1e99}')
    with pytest.raises(OutputError, match=r"holds 000001\.png, which"):
        convert(clip, out, **how, overwrite=True)
    assert sorted([*out.iterdir(), out / "000099.png"]) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_is_refused_before_the_work(clip: Path, tmp_path: Path) -> None:
    for name, why in (
        ("out.mp4", "MP4 cannot hold OpenEXR; name a folder as OUT"),
        ("%05d.exr", "names one picture, and a film is many; name a folder, without .exr"),
        ("none/out", "does not exist; make it first"),
    ):
        with pytest.raises(OutputError, match=why):
            convert(clip, tmp_path / name, codec="exr", **FAST)
    with pytest.raises(OutputError, match="MKV cannot hold OpenEXR"):
        convert(clip, tmp_path / "out", codec="exr", container="mkv", **FAST)
    with pytest.raises(OutputError, match="holds the source"):
        convert(clip, clip.parent, codec="exr", **FAST)
    with pytest.raises(OutputError, match="leave --aux-sdr out"):
        convert(clip, tmp_path / "out", codec="exr", model="didnet", aux_sdr=tmp_path / "s.mkv")
    for wrong, why in (
        ({"pix_fmt": "yuv420p10"}, "OpenEXR has one pixel format; leave --pix-fmt out"),
        ({"hdr10plus": True}, "exr carries no metadata for --hdr10plus"),
        ({"dolby_vision": True}, "exr carries no metadata for --dolby-vision"),
        ({"transfer": "hlg"}, "OpenEXR is not written in HLG"),
    ):
        with pytest.raises(UsageError, match=why):
            Options(codec="exr", **wrong)
    with pytest.raises(UsageError, match="16-bit PNG fills a folder; use `sdr2hdr convert`"):
        make_plan(clip.parent, tmp_path / "films", Options(codec="png16"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_folder_and_the_work_goes_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, how = tmp_path / "out", {**FAST, "codec": "tiff16"}

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "_write", full)
        with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
            convert(clip, out, **how)
    assert [path.name for path in tmp_path.iterdir()] == [".out.sdr2hdr-work"]
    report = convert(clip, out, **how)
    assert report.resumed_chunks == report.chunks
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("codec", ENDINGS)
def test_a_picture_that_does_not_come_back_as_written_is_found(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    check = pictures.check_pictures

    def after_damage(folder: Path, written: pictures.Written) -> None:
        picture = folder / f"000003{ENDINGS[codec]}"
        data = bytearray(picture.read_bytes())
        data[len(data) // 2] ^= 1
        picture.write_bytes(data)
        check(folder, written)

    monkeypatch.setattr("sdr2hdr.jobs.finishing.check_pictures", after_damage)
    with pytest.raises(
        OutputError, match=r"000003\S+ fails its check: it is not as it was written"
    ):
        convert(clip, tmp_path / "out", codec=codec, **FAST)
    assert not (tmp_path / "out").exists()


def test_the_planes_are_those_of_every_codec(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: "np.ndarray[Any, Any]"
) -> None:
    cuts = tmp_path / "cuts.txt"
    cuts.write_text("7")
    handed = frames_handed(
        monkeypatch, lambda: convert(clip, tmp_path / "out", codec="exr", scenes=cuts, **FAST)
    )
    found = np.stack([np.stack([p.numpy() for p in planes], -1) for planes, _ in handed])
    assert np.array_equal(found, codes)
