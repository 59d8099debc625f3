"""Files from public reports that went wrong once: how each is made, and what is right.

Judges are FFmpeg's and MKVToolNix's own programs; other tests of this room go through each kind in depth.
"""

import itertools
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from judges import need

from sdr2hdr import convert
from sdr2hdr.convert import Report

PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=2")
TONE = ("-f", "lavfi", "-i", "sine=f=440:r=48000:d=2")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25")


def ffmpeg(out: Path, *words: object) -> Path:
    subprocess.run([need("ffmpeg"), "-v", "error", "-y", *map(str, words), out], check=True)
    return out


def probed(path: Path, *entries: str) -> dict[str, Any]:
    command = [need("ffprobe"), "-v", "error", "-of", "json", *entries, path]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return found


def times(path: Path, stream: str) -> list[float]:
    """Times of the packets of a stream, as ffprobe reads them."""
    found = probed(path, "-select_streams", stream, "-show_entries", "packet=pts_time")
    return [float(p["pts_time"]) for p in found["packets"]]


def tracks(path: Path) -> list[dict[str, Any]]:
    out = subprocess.run([need("mkvmerge"), "-J", path], check=True, capture_output=True).stdout
    return [track["properties"] for track in json.loads(out)["tracks"]]


def noted(report: Report, *words: str) -> bool:
    return any(all(word in note for word in words) for note in report.notes)


def with_sound(name: str, *codec: str) -> Callable[[Path], Path]:
    return lambda folder: ffmpeg(folder / name, *PICTURE, *TONE, *H264, *codec)


def base(folder: Path) -> Path:
    return ffmpeg(folder / "base.mkv", *PICTURE, *H264)


def alpha(folder: Path) -> Path:
    half = "testsrc2=s=160x96:r=25:d=0.4,format=yuva420p,colorchannelmixer=aa=0.5"
    return ffmpeg(
        folder / "a.webm", "-f", "lavfi", "-i", half, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"
    )


def stereo(folder: Path) -> Path:
    out, mode = folder / "stereo.mkv", "0:side_by_side_left_first"
    command = [need("mkvmerge"), "-q", "-o", out, "--stereo-mode", mode, base(folder)]
    subprocess.run(command, check=True)
    return out


def sphere(folder: Path) -> Path:
    out = base(folder)
    edit = ["--edit", "track:v1", "--set", "projection-type=1"]
    subprocess.run([need("mkvpropedit"), "-q", out, *edit], check=True)
    return out


def scripts(folder: Path) -> Path:
    (folder / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,900\nHello\n")
    out, command = folder / "ietf.mkv", [need("mkvmerge"), "-q", "-o"]
    command += [out, base(folder)]  # type: ignore[list-item]
    for tag in ("zh-Hant", "zh-Hans", "pt-BR", "es-419"):
        command += ["--language", f"0:{tag}", folder / "s.srt"]  # type: ignore[list-item]
    subprocess.run(command, check=True)
    return out


def joined(folder: Path) -> Path:
    part = with_sound("a.ts", "-c:a", "aac")(folder)
    out = folder / "cat.ts"
    out.write_bytes(part.read_bytes() * 2)
    return out


def unknown_sound(folder: Path) -> Path:
    sounds = ("-map", "0", "-map", "1", "-map", "2", *H264, "-c:a", "aac")
    out = ffmpeg(folder / "apac.mp4", *PICTURE, *TONE, *TONE, *sounds)
    data = out.read_bytes()
    at = data.rindex(b"mp4a")
    head, tail = data[:at] + b"apac", data[at + 4 :]
    out.write_bytes(head + tail.replace(b"esds", b"dapa", 1))
    return out


def silent_sound(folder: Path) -> Path:
    """A second sound that the tables declare: its packets become padding."""
    sounds = ("-map", "0", "-map", "1", "-map", "2", *H264, "-c:a", "mp2")
    out = ffmpeg(folder / "silent.ts", *PICTURE, *TONE, *TONE, *sounds)
    data = bytearray(out.read_bytes())
    for at in range(0, len(data), 188):
        if (data[at + 1] & 31) << 8 | data[at + 2] == 258:
            data[at + 1 : at + 3] = bytes([data[at + 1] & 0xE0 | 0x1F, 0xFF])
    out.write_bytes(data)
    return out


def same_packets(source: Path, out: Path, _: Report) -> bool:
    """The sound's packets, bit for bit."""
    hashes = [
        subprocess.run(
            [need("ffmpeg"), "-v", "error", "-i", path, "-map", "0:a", "-c", "copy", "-f", "md5", "-"],
            check=True, capture_output=True,
        ).stdout
        for path in (source, out)
    ]  # fmt: skip
    return hashes[0] == hashes[1]


def evenly(source: Path, out: Path, report: Report) -> bool:
    """100 pictures, a 25th of a second apart, and a word on the place where the parts meet."""
    shown = sorted(times(out, "v"))
    steps = [b - a for a, b in itertools.pairwise(shown)]
    return (
        len(shown) == 100
        and max(steps) < 0.0421
        and min(steps) > 0.0379
        and noted(report, "0:00:0")
    )


def starts_at_zero(source: Path, out: Path, report: Report) -> bool:
    return min(times(out, "v")[0], times(out, "a")[0]) == 0 and noted(report, "18:")


def not_before_zero(source: Path, out: Path, report: Report) -> bool:
    """No block of the file lies before 0: what is hidden stands in the codec's delay."""
    info = subprocess.run(
        [need("mkvinfo"), "-v", "-v", out], check=True, capture_output=True
    ).stdout
    return b"timestamp -" not in info and b"Codec-inherent delay" in info


def rising(source: Path, out: Path, report: Report) -> bool:
    """The packets' times are the source's: the last is not pushed on."""
    return abs(times(out, "a")[-1] - times(source, "a")[-1]) < 0.002


@dataclass(frozen=True)
class Case:
    """How a file is made, and what must hold of source, result and report."""

    make: Callable[[Path], Path]
    right: Callable[[Path, Path, Report], bool]


CASES = {
    "alpha": Case(alpha, lambda s, o, r: noted(r, "transparency left out")),
    "apac": Case(unknown_sound, lambda s, o, r: noted(r, "apac", "left out")),
    "declared silent sound": Case(silent_sound, lambda s, o, r: noted(r, "no packets")),
    "languages with a script": Case(
        scripts, lambda s, o, r: [t.get("language_ietf") for t in tracks(o)][1:]
        == [t.get("language_ietf") for t in tracks(s)][1:],
    ),
    "LATM": Case(
        with_sound("l.ts", "-c:a", "aac", "-mpegts_flags", "latm"),
        lambda s, o, r: probed(o, "-show_streams")["streams"][1]["codec_name"] == "aac",
    ),
    "sphere": Case(sphere, lambda s, o, r: tracks(o)[0]["projection_type"] == 1),
    "two views": Case(stereo, lambda s, o, r: tracks(o)[0]["stereo_mode"] == 1),
    "TrueHD": Case(with_sound("t.mkv", "-c:a", "truehd", "-strict", "-2"), rising),
    "joined recordings": Case(joined, evenly),
    "a clock at 18 h": Case(
        with_sound("o.ts", "-c:a", "mp2", "-output_ts_offset", "65305"), starts_at_zero
    ),
    "WMA": Case(with_sound("w.wmv", "-c:a", "wmav2"), same_packets),
    "ADPCM": Case(with_sound("a.avi", "-c:a", "adpcm_ms"), same_packets),
    "G.711": Case(with_sound("m.mov", "-c:a", "pcm_mulaw"), same_packets),
    "AAC priming": Case(with_sound("p.mp4", "-c:a", "aac"), not_before_zero),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_went_wrong_once_is_right(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source, out = case.make(tmp_path), tmp_path / "out.mkv"
    report = convert(source, out, model="bt2408", scenes="none", preset="ultrafast")
    assert case.right(source, out, report), (name, report.notes)
