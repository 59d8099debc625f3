"""What works with what: generated files of many kinds through ``convert``, and what became of each stream.

    python -m benchmarks.matrix [--count 200] [--seed 1] [--out FOLDER] [--results FILE] [--table FILE.md]

FFmpeg's command line makes files of container x video codec x sound codec x subtitles x size x rate, as far as it can; they are
converted with ``bt2408`` to Matroska, every fourth to MP4. A conversion counts as *whole* if ffprobe finds as many pictures as
FFmpeg decodes in the source and the length of each sound and the number of lines of each subtitle agree; as *named* if what is
missing stands in the report; as *refused* if one sentence says why. Anything else is *wrong*, and the exit code is then 1.
``--results`` keeps what was found, a line of JSON for each file, and a later run goes on from there.
Needs ffmpeg and ffprobe.
"""

import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.command import parser
from sdr2hdr import convert
from sdr2hdr.errors import Sdr2HdrError

CONTAINERS = {
    "mkv": ".mkv", "webm": ".webm", "mp4": ".mp4", "mov": ".mov", "mpegts": ".ts", "m2ts": ".m2ts", "avi": ".avi",
    "flv": ".flv", "program stream": ".mpg", "vob": ".vob", "mxf": ".mxf", "asf": ".wmv", "ogg": ".ogv", "3gp": ".3gp",
    "nut": ".nut", "y4m": ".y4m",
}  # fmt: skip
VIDEO = {
    "h264": ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"],
    "hevc": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"],
    "mpeg2": ["-c:v", "mpeg2video", "-bf", "2"],
    "mpeg4": ["-c:v", "mpeg4"],
    "vp8": ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"],
    "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
    "av1": ["-c:v", "libsvtav1", "-preset", "12"],
    "prores": ["-c:v", "prores_ks"],
    "dnxhr": ["-c:v", "dnxhd", "-profile:v", "dnxhr_sq"],
    "ffv1": ["-c:v", "ffv1"],
    "mjpeg": ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"],
    "theora": ["-c:v", "libtheora"],
    "wmv2": ["-c:v", "wmv2"],
    "flv1": ["-c:v", "flv"],
    "h263": ["-c:v", "h263"],
    "huffyuv": ["-c:v", "ffvhuff"],
    "png": ["-c:v", "png"],
    "raw": ["-c:v", "rawvideo"],
    "raw y4m": ["-c:v", "wrapped_avframe"],
}
SOUND = {
    "none": [],
    "aac": ["-c:a", "aac"],
    "mp3": ["-c:a", "libmp3lame"],
    "mp2": ["-c:a", "mp2"],
    "ac3": ["-c:a", "ac3"],
    "eac3": ["-c:a", "eac3"],
    "dts": ["-c:a", "dca", "-strict", "-2"],
    "truehd": ["-c:a", "truehd", "-strict", "-2"],
    "flac": ["-c:a", "flac", "-strict", "-2"],
    "alac": ["-c:a", "alac"],
    "opus": ["-c:a", "libopus"],
    "vorbis": ["-c:a", "libvorbis"],
    "pcm 16": ["-c:a", "pcm_s16le"],
    "pcm 24": ["-c:a", "pcm_s24le"],
    "pcm big-endian": ["-c:a", "pcm_s16be"],
    "pcm Blu-ray": ["-c:a", "pcm_bluray"],
    "G.711": ["-c:a", "pcm_mulaw"],
    "adpcm": ["-c:a", "adpcm_ms"],
    "wma": ["-c:a", "wmav2"],
    "two sounds": ["-c:a:0", "aac", "-c:a:1", "ac3"],
}
SUBTITLES = {
    "none": [],
    "srt": ["-c:s", "srt"],
    "ass": ["-c:s", "ass"],
    "webvtt": ["-c:s", "webvtt"],
    "mov_text": ["-c:s", "mov_text"],
    "dvd": ["-c:s", "dvdsub"],
    "dvb": ["-c:s", "dvbsub"],
}
SIZES = ("96x64", "97x65", "176x144", "320x180", "64x96", "853x480", "352x288")
RATES = ("25", "24000/1001", "30000/1001", "50", "60", "12.5", "1")
SECONDS = 2
_SRT = "1\n00:00:00,200 --> 00:00:00,900\none\n\n2\n00:00:01,000 --> 00:00:01,700\ntwo\n"


@dataclass(frozen=True)
class Kind:
    """What a file is made of; each a key of the tables above."""

    container: str
    video: str
    sound: str
    subtitles: str
    size: str
    rate: str

    def __str__(self) -> str:
        return f"{self.container}: {self.video}, sound {self.sound}, subtitles {self.subtitles}, {self.size}, {self.rate}/s"


def kinds(seed: int) -> list[Kind]:
    """All kinds in an order drawn from a seed, so that any part of them is a fair sample of containers and codecs."""
    rng = random.Random(seed)
    triples = list(itertools.product(CONTAINERS, VIDEO, SOUND))
    rng.shuffle(triples)
    return [
        Kind(
            c,
            v,
            s,
            rng.choice([*SUBTITLES, "none", "none", "none"]),
            rng.choice(SIZES),
            rng.choice(RATES),
        )
        for c, v, s in triples
    ]


def made(kind: Kind, folder: Path, name: str) -> Path | None:
    """The file, if FFmpeg can make one."""
    path = folder / f"{name}{CONTAINERS[kind.container]}"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi"]
    command += ["-i", f"testsrc2=s={kind.size}:r={kind.rate}:d={SECONDS}"]
    maps = ["-map", "0:v"]
    if kind.sound != "none":
        command += ["-f", "lavfi", "-i", f"sine=440:r=48000:d={SECONDS}"]
        maps += ["-map", "1:a", "-map", "1:a"] if kind.sound == "two sounds" else ["-map", "1:a"]
    if kind.subtitles != "none":
        (folder / "lines.srt").write_text(_SRT)
        maps += ["-map", f"{2 if kind.sound != 'none' else 1}:s"]
        command += ["-i", str(folder / "lines.srt")]
    command += [
        *maps,
        "-pix_fmt",
        "yuv420p",
        *VIDEO[kind.video],
        *SOUND[kind.sound],
        *SUBTITLES[kind.subtitles],
    ]
    try:
        done = subprocess.run(
            [*command, "-t", str(SECONDS), str(path)], capture_output=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode or not path.exists():
        return None
    return path if any(streams(path)["video"]) else None  # muxers take what no player reads back


def streams(path: Path) -> dict[str, list[float]]:
    """By kind of stream: pictures decoded, seconds of sound decoded, lines of subtitles."""
    text = _run("ffprobe", "-v", "quiet", "-show_streams", "-of", "json", str(path))
    try:
        shown = json.loads(text or "{}")
    except ValueError:  # a file that ffprobe gives up on has no streams
        shown = {}
    found: dict[str, list[float]] = defaultdict(list)
    for s in shown.get("streams", []):
        kind, index = s["codec_type"], s["index"]
        if kind == "video":
            count = _run(
                "ffprobe", "-v", "quiet", "-count_frames", "-select_streams", str(index),
                "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path),
            )  # fmt: skip
            number = count.partition("\n")[0].strip(",\n ")
            found[kind].append(
                float(number) if number.isdigit() else 0.0
            )  # "N/A" where nothing decodes
        elif kind == "audio":
            raw = subprocess.run(
                ["ffmpeg", "-v", "quiet", "-i", path, "-map", f"0:{index}", "-ac", "1", "-ar", "8000", "-f", "s16le", "-"],
                capture_output=True, check=False,
            ).stdout  # fmt: skip
            found[kind].append(len(raw) / 16000)
        elif kind == "subtitle":
            lines = _run(
                "ffprobe", "-v", "quiet", "-select_streams", str(index), "-show_entries", "packet=size",
                "-of", "csv=p=0", str(path),
            )  # fmt: skip
            found[kind].append(sum(int(n.strip(",") or 0) > 2 for n in lines.split()))
    return found


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def judged(source: Path, target: Path) -> tuple[str, str]:
    """``whole``, ``named``, ``refused`` or ``wrong``, and why."""
    try:
        report = convert(source, target, model="bt2408", preset="ultrafast", overwrite=True)
    except Sdr2HdrError as error:
        return "refused", str(error)[-200:]
    except Exception as error:
        return "wrong", repr(error)[-200:]
    before, after = streams(source), streams(target)
    missing = []
    if before["video"][:1] != after["video"][:1]:
        return "wrong", f"{before['video']} pictures became {after['video']}"
    for kind, near in (("audio", 0.05), ("subtitle", 0.0)):
        if len(before[kind]) != len(after[kind]):
            missing.append(f"{len(before[kind]) - len(after[kind])} {kind}")
            continue
        for a, b in zip(before[kind], after[kind], strict=True):
            if abs(a - b) > near:
                return "wrong", f"{kind} {a:g} became {b:g}"
    if not missing:
        return "whole", ""
    said = sum("left out" in note for note in report.notes) >= len(missing)
    return ("named" if said else "wrong"), ", ".join(missing) + " missing: " + "; ".join(
        report.notes
    )[:200]


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--count", type=int, default=200)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--out", type=Path, help="keep the files here")
    command.add_argument("--results", type=Path, help="keep what was found here, and go on from it")
    command.add_argument("--table", type=Path, help="write the matrix as Markdown")
    args = command.parse_args()
    results = known(args.results)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for number, kind in enumerate(kinds(args.seed)):
            if len(results) >= args.count:
                break
            if kind in results:
                continue
            source = made(kind, folder, f"{number:05d}")
            if source is None:
                continue
            target = folder / f"{number:05d}-hdr.{'mp4' if number % 4 == 3 else 'mkv'}"
            results[kind] = judged(source, target)
            how, why = results[kind]
            if args.results:
                with args.results.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps({**asdict(kind), "how": how, "why": why}) + "\n")
            print(f"{len(results):3d} {how:8s}{target.suffix} {kind}  {why}", flush=True)
            if not args.out and how != "wrong":
                source.unlink()
                target.unlink(missing_ok=True)
    totals = Counter(how for how, _ in results.values())
    print(", ".join(f"{n} {how}" for how, n in totals.items()))
    if args.table:
        args.table.write_text(table(results), encoding="utf-8")
    return 1 if totals["wrong"] else 0


def known(path: Path | None) -> dict[Kind, tuple[str, str]]:
    """What earlier runs found."""
    results: dict[Kind, tuple[str, str]] = {}
    if path and path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            how, why = found.pop("how"), found.pop("why")
            results[Kind(**found)] = (how, why)
    return results


def table(results: dict[Kind, tuple[str, str]]) -> str:
    """The matrix: for each container, video codec, sound codec and subtitle kind, how many files ended how."""
    columns = ("whole", "named", "refused", "wrong")
    lines = [f"| | files | {' | '.join(columns)} |", "|---|---|---|---|---|---|"]
    for title in ("container", "video", "sound", "subtitles", "size", "rate"):
        for name in dict.fromkeys(str(getattr(k, title)) for k in results):
            mine = Counter(how for k, (how, _) in results.items() if str(getattr(k, title)) == name)
            lines.append(
                f"| {title} {name} | {sum(mine.values())} | {' | '.join(str(mine[c]) for c in columns)} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
