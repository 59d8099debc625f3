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

import av
import numpy as np
import pytest
from judges import need
from sound_makers import cut_by_edits

from sdr2hdr import convert
from sdr2hdr.jobs.report import Report

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


def trimmed(folder: Path) -> Path:
    """A phone's trim: 1.5 to 3 s of four, by edit lists alone."""
    long = ("-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=4")
    tone = ("-f", "lavfi", "-i", "sine=f=440:r=48000:d=4")
    plain = ffmpeg(folder / "plain.mp4", *long, *tone, *H264, "-c:a", "aac")
    return cut_by_edits(plain, folder / "trim.mp4", [(1.5, 3.0)])


def late_sound(folder: Path) -> Path:
    """A program stream whose second sound begins beyond the first 5 MB."""
    picture = ("-f", "lavfi", "-i", "testsrc2=s=352x288:r=25:d=3,noise=alls=80:allf=t")
    late = ("-itsoffset", "2.2", "-f", "lavfi", "-i", "sine=f=880:r=48000:d=0.8")
    every = ("-map", "0", "-map", "1", "-map", "2")
    mpeg2 = ("-c:v", "mpeg2video", "-g", "1", "-q:v", "1", "-c:a", "ac3")
    rate = ("-muxrate", "60000000", "-f", "vob")
    return ffmpeg(folder / "late.vob", *picture, *TONE, *late, *every, *mpeg2, *rate)


def patch(out: Path, colour: str, matrix: str, coded: str, tags: tuple[str, ...]) -> Path:
    filters = f"scale=out_color_matrix={matrix}:out_range={coded},format=yuv420p"
    picture = ("-f", "lavfi", "-i", f"color={colour}:s=160x96:r=25:d=1", "-vf", filters)
    return ffmpeg(out, *picture, "-c:v", "libx264", "-qp", "4", *tags)


def two_matrices(folder: Path) -> Path:
    parts = [
        patch(
            folder / f"{matrix}.ts", "0x40a0c0", matrix, coded,
            ("-colorspace", tag, "-color_range", coded),
        )
        for matrix, coded, tag in (("bt601", "tv", "bt470bg"), ("bt709", "pc", "bt709"))
    ]  # fmt: skip
    out = folder / "both.ts"
    out.write_bytes(b"".join(p.read_bytes() for p in parts))
    return out


def tagged(primaries: str, transfer: str) -> Callable[[Path], Path]:
    tags = ("-color_primaries", primaries, "-color_trc", transfer, "-colorspace", "bt709")
    return lambda folder: patch(
        folder / "p.mp4", "0xc04040", "bt709", "tv", (*tags, "-color_range", "tv")
    )


def no_packets(folder: Path) -> Path:
    """Matroska that declares an AAC sound and has none of it."""
    film = with_sound("full.mkv", "-c:a", "aac")(folder)
    with av.open(str(film)) as file, av.open(str(folder / "empty.mkv"), "w") as out:
        picture = out.add_stream_from_template(file.streams.video[0])
        out.add_stream_from_template(file.streams.audio[0])
        for packet in file.demux(file.streams.video[0]):
            if packet.size:
                packet.stream = picture
                out.mux(packet)
    return folder / "empty.mkv"


def still_first(folder: Path) -> Path:
    """The picture on the box comes first, is not marked as one, and is the default."""
    film, cover = base(folder), folder / "cover.png"
    ffmpeg(cover, "-f", "lavfi", "-i", "color=red:s=320x320", "-frames:v", "1")
    maps = ("-map", "0", "-map", "1", "-c", "copy")
    flags = ("-disposition:v:0", "default", "-disposition:v:1", "0")
    return ffmpeg(folder / "box.mp4", "-i", cover, "-i", film, *maps, *flags)


def light(path: Path, frame: int) -> tuple[float, ...]:
    """Nits of red, green and blue in the middle of a frame, from the planes that FFmpeg decodes, by ST 2084."""
    command = [need("ffmpeg"), "-v", "error", "-i", path, "-vf", f"select=eq(n\\,{frame})"]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-"]
    raw = np.frombuffer(
        subprocess.run(command, check=True, capture_output=True).stdout, "<u2"
    ).astype(float)
    y, cb, cr = (
        raw[48 * 160 + 80],
        raw[160 * 96 + 24 * 80 + 40],
        raw[160 * 96 * 5 // 4 + 24 * 80 + 40],
    )
    luma, blue, red = (y - 64) / 876, (cb - 512) / 896, (cr - 512) / 896
    r, b = luma + 1.4746 * red, luma + 1.8814 * blue  # BT.2020 non-constant luminance
    codes = np.array([r, (luma - 0.2627 * r - 0.0593 * b) / 0.678, b])
    powers = codes ** (32 / 2523)
    c1, c2, c3 = 107 / 128, 2413 / 128, 2392 / 128
    nits = 10000 * (np.maximum(powers - c1, 0) / (c2 - c3 * powers)) ** (8192 / 1305)
    return tuple(nits)


def lit(*frames: tuple[int, float, float, float]) -> Callable[[Path, Path, "Report"], bool]:
    """Whether frames have these nits, to one code and a half of their 10 bits."""
    return lambda s, o, r: all(
        np.allclose(light(o, n), wanted, rtol=0.04, atol=0.3) for n, *wanted in frames
    )


def heard_only(source: Path, out: Path, report: Report) -> bool:
    """The sound that is heard has the length of the trim and begins with the picture."""
    command = [need("ffmpeg"), "-v", "error", "-i", out, "-f", "s16le", "-ac", "1", "-"]
    samples = len(subprocess.run(command, check=True, capture_output=True).stdout) // 2
    heard = samples / 48000 + times(out, "a")[0]  # FFmpeg plays what lies before 0 as well
    return 1.5 <= heard <= 1.512 and times(out, "v")[0] <= 0.03


def two_sounds(source: Path, out: Path, report: Report) -> bool:
    return abs(times(out, "a:1")[0] - 2.2) < 0.05 and times(out, "a:0")[0] < 0.05


def with_cover(source: Path, out: Path, report: Report) -> bool:
    """The film was converted, and the still kept as what it is."""
    film, cover = probed(out, "-show_streams")["streams"][:2]
    return (
        film["width"] == 160
        and len(times(out, "v:0")) == 50
        and cover["disposition"]["attached_pic"] == 1
        and cover["width"] == 320
    )


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
    target: str = "out.mkv"


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
    "a trim by one edit": Case(trimmed, heard_only),
    "a sound that begins late": Case(late_sound, two_sounds),
    "matrix and range change": Case(
        two_matrices, lit((10, 31.0, 62.6, 97.4), (40, 30.5, 61.6, 96.8))
    ),
    "DCI-P3": Case(
        tagged("smpte431", "smpte428"),
        lambda s, o, r: lit((5, 72.6, 9.4, 5.1))(s, o, r) or lit((5, 77.3, 11.2, 6.8))(s, o, r),
    ),
    "linear": Case(tagged("bt709", "linear"), lit((5, 113.5, 56.8, 51.2))),
    "a sound without packets": Case(
        no_packets, lambda s, o, r: noted(r, "aac", "left out"), "out.mp4"
    ),
    "a cover that comes first": Case(still_first, with_cover),
    "a cover that comes first, to MP4": Case(still_first, with_cover, "out.mp4"),
    "AAC priming": Case(with_sound("p.mp4", "-c:a", "aac"), not_before_zero),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_went_wrong_once_is_right(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source, out = case.make(tmp_path), tmp_path / case.target
    report = convert(source, out, model="bt2408", scenes="none", preset="ultrafast")
    assert case.right(source, out, report), (name, report.notes)
