"""Clocks of recordings: where they begin, where they jump, and what is heard and seen at a join."""

import re
import subprocess
from array import array
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from judges import ffprobe, need
from numpy.typing import NDArray

from sdr2hdr import convert
from sdr2hdr.errors import InputError
from sdr2hdr.jobs.report import Report
from sdr2hdr.media.clock import PAUSE, _jumps, clock_time
from sdr2hdr.media.source import Source

RATE = 25


def record(
    path: Path,
    *options: str,
    seconds: int = 2,
    hertz: int = 440,
    offset: float = 0,
    size: str = "96x64",
) -> Path:
    """A recording with a tone, made by FFmpeg; its clock stands at ``offset`` seconds."""
    codecs = {".ts": "libx264 -bf 2 -c:a aac", ".mkv": "libx264 -bf 2 -c:a aac"}.get(
        path.suffix, "mpeg2video -bf 2 -c:a mp2"
    )
    subprocess.run(
        [
            need("ffmpeg"), "-v", "error", "-y",
            "-f", "lavfi", "-i", f"testsrc2=s={size}:r={RATE}:d={seconds}",
            "-f", "lavfi", "-i", f"sine=f={hertz}:r=48000:d={seconds}",
            "-g", "25", "-pix_fmt", "yuv420p", "-c:v", *codecs.split(), "-b:a", "96k",
            *options, "-output_ts_offset", str(offset), path,
        ],
        check=True,
    )  # fmt: skip
    return path


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def seconds_of(source: Source) -> list[Fraction]:
    return [p.pts * source.info.time_base for p in source.pictures()]


def are_steady(times: Sequence[Fraction], count: int) -> bool:
    steps = [b - a for a, b in pairwise(times)]
    return len(times) == count and all(
        abs(step - Fraction(1, RATE)) <= Fraction(1, 1000) for step in steps
    )


def converted(source: Path, target: Path, **options: object) -> Report:
    return convert(source, target, model="bt2408", scenes="none", preset="ultrafast", **options)  # type: ignore[arg-type]


def heard(path: Path) -> NDArray[np.float32]:
    """What a player plays, from the time 0 on: mono samples at 48 kHz."""
    command = [
        need("ffmpeg"),
        "-v",
        "error",
        "-i",
        str(path),
        "-af",
        "aresample=async=1:first_pts=0",
        "-map",
        "0:a:0",
    ]
    out = subprocess.run(
        [*command, "-ac", "1", "-f", "f32le", "-"], check=True, capture_output=True
    ).stdout
    return np.frombuffer(out, np.float32)


def pitch(samples: NDArray[np.float32], begin: float, end: float) -> float:
    part = samples[int(begin * 48000) : int(end * 48000)]
    return float(np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) * 48000 / len(part))


@pytest.mark.parametrize("kind", ["ts", "vob", "mpg", "mkv"])
def test_joined_recordings_follow_each_other(tmp_path: Path, kind: str) -> None:
    # of more than two Matroska files FFmpeg reads two
    parts = [record(tmp_path / f"{n}.{kind}") for n in range(2 if kind == "mkv" else 3)]
    source = Source(joined(tmp_path / f"all.{kind}", *parts))
    assert are_steady(seconds_of(source), 50 * len(parts))
    assert not source.loss.torn
    assert source.info.duration is not None
    assert source.info.duration * source.info.time_base == 2 * len(parts)
    assert sum("jumps back by 0:00:02.000" in note for note in source.notes) == len(parts) - 1
    pts = [p.pts for p in source.pictures()]
    for first in (60, 75, 99):
        assert [p.pts for p in source.pictures(pts[first])] == pts[first:]


def test_what_ffmpeg_does_not_read_of_joined_matroska_is_told(tmp_path: Path) -> None:
    part = record(tmp_path / "a.mkv")
    source = Source(joined(tmp_path / "all.mkv", part, part, part))
    assert len(seconds_of(source)) == 100
    assert source.loss.torn


@pytest.mark.parametrize("kind", ["flv", "wmv", "wtv", "mp4"])
def test_what_ffmpeg_does_not_read_of_other_joined_files_is_told(tmp_path: Path, kind: str) -> None:
    codecs = ("-c:v", "flv", "-bf", "0", "-c:a", "mp3", "-ar", "44100") if kind == "flv" else ()
    part = record(tmp_path / f"a.{kind}", *codecs)
    whole = Source(joined(tmp_path / f"all.{kind}", part, part))
    assert len(seconds_of(whole)) == 50
    size = part.stat().st_size
    (note,) = [note for note in whole.notes if "joined" in note]
    assert f"at byte {size}:" in note and f"{size / 1e6:.1f} MB were not read" in note
    assert not [note for note in Source(part).notes if "joined" in note]
    with pytest.raises(InputError, match=f"at byte {size}:.* leave --strict out"):
        list(Source(whole.path, strict=True).pictures())


def test_a_clock_that_goes_back_before_the_first_time_is_not_told_as_a_wrap(tmp_path: Path) -> None:
    parts = [record(tmp_path / f"{offset}.ts", offset=offset) for offset in (100, 0)]
    source = Source(joined(tmp_path / "all.ts", *parts))
    assert are_steady(seconds_of(source), 100)
    # back from the end of the first two seconds; ffmpeg begins 0.08 s later where a decode time would be below 0
    assert any("jumps back by 0:01:41.92" in note for note in source.notes)


@pytest.mark.parametrize("target", ["out.mkv", "out.mp4"])
def test_the_sound_of_joined_recordings_stays_with_its_picture(tmp_path: Path, target: str) -> None:
    parts = [record(tmp_path / f"{hertz}.ts", hertz=hertz) for hertz in (440, 880)]
    report = converted(joined(tmp_path / "all.ts", *parts), tmp_path / target)
    assert any("jumps back" in note for note in report.notes)
    frames = ffprobe(tmp_path / target, "-select_streams", "v", "-show_entries", "frame=pts_time")[
        "frames"
    ]
    times = sorted(Fraction(f["pts_time"]) for f in frames)
    assert are_steady(times, 100)
    assert times[0] < Fraction(1, 10)
    packets = ffprobe(
        tmp_path / target, "-select_streams", "a", "-show_entries", "packet=pts_time"
    )["packets"]
    sound = [float(p["pts_time"]) for p in packets]
    steps = np.diff(sound)
    assert (steps > 0).all()
    assert steps.max() < 0.035  # 1024 samples are 0.0213 s; at the join at most half as much more
    join = float(times[50])
    samples = heard(tmp_path / target)
    assert pitch(samples, join - 0.3, join - 0.03) == pytest.approx(440, abs=8)
    assert pitch(samples, join + 0.03, join + 0.3) == pytest.approx(880, abs=8)


@pytest.mark.parametrize(("kind", "offset"), [("ts", 65305.0), ("vob", 30000.0), ("mkv", 65305.0)])
def test_a_recording_begins_at_0(tmp_path: Path, kind: str, offset: float) -> None:
    clip = record(tmp_path / f"a.{kind}", offset=offset, seconds=1)
    report = converted(clip, tmp_path / "out.mkv")
    assert any("all streams were moved to begin at 0" in note for note in report.notes)
    was, now = (
        ffprobe(f, "-show_entries", "stream=codec_type,start_time")["streams"]
        for f in (clip, tmp_path / "out.mkv")
    )
    before, after = ({s["codec_type"]: float(s["start_time"]) for s in each} for each in (was, now))
    assert min(after.values()) == pytest.approx(0, abs=0.002)
    assert after["video"] - after["audio"] == pytest.approx(
        before["video"] - before["audio"], abs=0.002
    )


def test_a_start_can_be_kept(tmp_path: Path) -> None:
    clip = record(tmp_path / "a.ts", offset=1000, seconds=1)
    source = Source(clip, keep_start=True)
    assert seconds_of(source)[0] > 1000
    assert not source.notes


def test_chapters_and_the_beginning_of_an_ordinary_file_stay(tmp_path: Path) -> None:
    source = Source(record(tmp_path / "a.mkv", offset=3, seconds=1))
    assert seconds_of(source)[0] >= 3
    assert not source.notes


@pytest.mark.parametrize("kind", ["ts", "vob"])
def test_a_clock_that_wraps_goes_on(tmp_path: Path, kind: str) -> None:
    """33 bits at 90 kHz end after 95443.7 s."""
    source = Source(record(tmp_path / f"a.{kind}", offset=95442.0))
    times = seconds_of(source)
    assert are_steady(times, 50)
    assert times[0] < Fraction(1, 10)


def test_gaps_are_kept_and_clocks_that_are_ahead_are_not(tmp_path: Path) -> None:
    first = record(tmp_path / "1.ts")
    gap = Source(joined(tmp_path / "gap.ts", first, record(tmp_path / "2.ts", offset=9)))
    times = seconds_of(gap)
    assert times[50] - times[49] == pytest.approx(7, abs=0.05)
    assert gap.loss.missing == times[50] - times[49] - Fraction(1, RATE)
    ahead = Source(joined(tmp_path / "ahead.ts", first, record(tmp_path / "3.ts", offset=5000)))
    assert are_steady(seconds_of(ahead), 100)
    assert any("jumps forward by 1:23:1" in note for note in ahead.notes)


def test_a_wrong_time_is_not_a_jump() -> None:
    minute = PAUSE * RATE

    def jumps(*keys: int) -> tuple[list[int], set[int]]:
        return _jumps(array("q", keys), 0, minute)

    assert jumps(1, 2, 3, 4, 5, 6) == ([0], set())
    assert jumps(1, 2, 9000, 4, 5, 6) == ([0], {2})
    assert jumps(500, 501, 2, 503, 504, 505) == (
        [0],
        set(),
    )  # out of order for a moment: only its own time is mended
    assert jumps(1, 2, 3, 1, 2, 3) == ([0, 3], set())
    assert jumps(1, 2, 3, 9000, 9001, 9002) == ([0, 3], set())


def test_colours_that_change_are_read_picture_by_picture(tmp_path: Path) -> None:
    """The same colour in BT.601 limited and in BT.709 full."""
    parts = []
    for name, matrix, full in (("a", "bt470bg", "tv"), ("b", "bt709", "pc")):
        path = tmp_path / f"{name}.ts"
        convert_to = f"scale=out_color_matrix={matrix}:out_range={full}"
        tags = f"-colorspace {matrix} -color_range {full} -pix_fmt yuv420p -c:v libx264 -qp 4 -bf 0"
        given = ["-f", "lavfi", "-i", f"color=0x40a0c0:s=96x64:r={RATE}:d=1", "-vf", convert_to]
        subprocess.run([need("ffmpeg"), "-v", "error", *given, *tags.split(), path], check=True)
        parts.append(path)
    source = Source(joined(tmp_path / "all.ts", *parts))
    for number, picture in enumerate(source.pictures()):
        colour = picture.rgb()[:, 32, 48] * 255
        assert colour.tolist() == pytest.approx([0x40, 0xA0, 0xC0], abs=2.5), number
    assert any(
        "bt601 limited" in n and "bt709 full" in n and "at 0:00:01.000" in n for n in source.notes
    )


@pytest.mark.parametrize(
    ("option", "change", "words"),
    [
        ({"size": "128x96"}, (), "from 96x64 yuv420p to 128x96 yuv420p at 0:00:02.000"),
        ({}, ("-vf", "setsar=16/11"), "from a sample aspect ratio of 1:1 to 16:11 at 0:00:02.000"),
        (
            {},
            ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"),
            "from SDR to PQ at 0:00:02",
        ),
    ],
)
def test_what_cannot_change_is_refused_with_the_time_to_cut_at(
    tmp_path: Path, option: dict[str, str], change: tuple[str, ...], words: str
) -> None:
    first = record(tmp_path / "1.ts")
    second = record(tmp_path / "2.ts", *change, **option)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cut it there") as refusal:
        list(Source(joined(tmp_path / "all.ts", first, second)).pictures())
    assert words in str(refusal.value)


def test_clock_times() -> None:
    assert clock_time(Fraction(3725040, 1000)) == "1:02:05.040"
    assert clock_time(Fraction(-1, 3)) == "-0:00:00.333"


def test_packets_of_a_steady_file_are_moved_at_any_place(tmp_path: Path) -> None:
    source = Source(record(tmp_path / "a.ts", offset=500))
    pts = [p.pts for p in source.pictures()]
    assert [p.pts for p in source.pictures(pts[40])] == pts[40:]
    with av.open(str(source.path)) as file:
        picture = file.streams.video[0]
        sound = [
            p.pts for p in source.info.clock.demuxed(file, picture, file.streams.audio) if p.size
        ]
    assert sound[0] == 0


def test_packets_without_times_are_no_jumps(tmp_path: Path) -> None:
    """A program stream names the time of some packets only, H.264 with B-frames of one in three."""
    path = tmp_path / "a.mpg"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2"]
    command += ["-f", "lavfi", "-i", "sine=r=48000:d=2", "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16be", str(path)]
    subprocess.run(command, check=True)
    assert len(Source(path).info.clock.parts) == 1


@pytest.mark.parametrize(
    ("codecs", "container", "kept"),
    [
        (("aac", "mp2"), "mkv", True),
        (("ac3", "mp2"), "mkv", True),
        (("ac3", "mp2"), "mp4", False),
        (("mp2", "ac3"), "mkv", False),
    ],
)
def test_sound_that_changes_its_codec_is_named_with_its_time(
    tmp_path: Path, codecs: tuple[str, str], container: str, kept: bool
) -> None:
    parts = [
        record(tmp_path / f"{n}.ts", "-c:a", codec, offset=2.02 * n)
        for n, codec in enumerate(codecs)
    ]
    out = tmp_path / f"out.{container}"
    report = converted(joined(tmp_path / "joined.ts", *parts), out)
    assert report.frames == 4 * RATE
    (note,) = (n for n in report.notes if "does not decode" in n)
    assert note.startswith(f"audio stream 1 ({codecs[0]})") and "cut the film there" in note
    found = re.search(r"from 0:00:(\d+\.\d+) on", note)
    assert found is not None and float(found[1]) == pytest.approx(
        2, abs=0.3
    )  # a decoder may conceal the first packets
    assert ("left out" in note) is not kept
    sounds = ffprobe(out, "-select_streams", "a", "-show_streams")["streams"]
    assert [each["codec_name"] for each in sounds] == ([codecs[0]] if kept else [])
