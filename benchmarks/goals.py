"""Whether conversions are as fast as they should be: each figure beside its reference, measured in the same run, in turns.

    python -m benchmarks.goals [--rows mapping,x265,svtav1,survey,overlap,memory,start,wmnet] [--rounds 3] [--clip FILE]
        [--out lab/speed.md]

Close other programs first. Without ``--clip`` it is the example film, scaled to 1920x1080 and cut to 120 frames. FFmpeg is the
one on the PATH. ``benchmarks.gpu`` measures a GPU.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import memory, speed
from benchmarks.command import EXAMPLE, parser
from benchmarks.cost import in_child
from sdr2hdr import convert
from sdr2hdr.codecs import CODECS
from sdr2hdr.color.tonemap import bt2408
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.jobs.plan import survey
from sdr2hdr.media.encoder import ChunkEncoder, EncodeSettings
from sdr2hdr.media.made import write_clip
from sdr2hdr.media.source import Source
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.looks import SceneLooks
from sdr2hdr.system import let_threads_sleep
from sdr2hdr.weights.opened import open_model
from sdr2hdr.writing import write_whole

FRAMES, SIZE = 120, (1920, 1080)
MAPPED = ("bt2408", "bt2446a", "look")
CHEAP = "av1", "12"
"""The encoder and preset that are taken out of the mappings' processor time. The less they take, the less their noise counts."""
CUBE = 65
FILTER = "scale=in_color_matrix=bt709,format=gbrp10le,lut3d={0},scale=out_color_matrix=bt2020,format=yuv420p10le"


@dataclass(frozen=True)
class Row:
    """A line of the table: numbers in ``unit``, one a round. Without ``theirs`` the goal is for ``ours`` itself."""

    what: str
    reference: str
    unit: str
    ours: list[float]
    theirs: list[float]
    goal: float
    most: bool = True

    @property
    def value(self) -> float:
        if not self.theirs:
            return median(self.ours)
        return median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def reached(self) -> bool:
        return self.value <= self.goal if self.most else self.value >= self.goal

    def cells(self) -> list[str]:
        measured = f"{median(self.ours):.3g} {self.unit}".strip()
        beside = f"{median(self.theirs):.3g} {self.unit}".strip() if self.theirs else ""
        goal = f"{'at most' if self.most else 'at least'} {self.goal:g}"
        yes = "yes" if self.reached else "**no**"
        return [self.what, measured, self.reference, beside, f"{self.value:.3g}", goal, yes]


@dataclass(frozen=True)
class Bench:
    """Where it is measured: the clip, a folder for what is written, and how often."""

    clip: Path
    folder: Path
    rounds: int

    def out(self, name: str) -> Path:
        path = self.folder / name
        path.unlink(missing_ok=True)
        return path


def processor(command: list[str | Path]) -> float:
    """Seconds of processor time of a process and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    quietly(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wall(command: list[str | Path]) -> float:
    since = time.perf_counter()
    quietly(command)
    return time.perf_counter() - since


def quietly(command: list[str | Path]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ours(clip: Path, out: Path, *options: str) -> list[str | Path]:
    return [
        sys.executable,
        "-m",
        "sdr2hdr",
        "convert",
        clip,
        out,
        "--device",
        "cpu",
        "-q",
        *options,
    ]


def ffmpeg(*words: str | Path) -> list[str | Path]:
    return ["ffmpeg", "-nostdin", "-v", "error", "-y", *words]


def cube(path: Path) -> Path:
    """The direct mapping as a 3-D table; what is in it does not matter to the time that it takes."""
    axis = torch.linspace(0, 1, CUBE)
    blue, green, red = torch.meshgrid(axis, axis, axis, indexing="ij")
    codes = pq_inverse_eotf(bt2408(torch.stack([red, green, blue]).flatten(1)[..., None]))
    lines = [f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in codes[..., 0].t().tolist()]
    path.write_text(f"LUT_3D_SIZE {CUBE}\n" + "\n".join(lines) + "\n", "utf-8")
    return path


# what runs in a process of its own


def decoding(clip: Path) -> tuple[float, float]:
    """Processor and wall seconds to decode a clip as a conversion does."""
    keep_one_heap()
    source = Source(clip)
    cpu, since = time.process_time(), time.perf_counter()
    for _ in source.pictures():
        pass
    return time.process_time() - cpu, time.perf_counter() - since


def surveying(clip: Path) -> tuple[float, float]:
    """The same to find scenes and looks, with kernels that are compiled already."""
    keep_one_heap()
    source, look = Source(clip), open_model("look")
    survey(source, "auto", lambda *_: None, (), [SceneLooks(look.model, look.spec)])
    looks = [SceneLooks(look.model, look.spec)]
    cpu, since = time.process_time(), time.perf_counter()
    survey(source, "auto", lambda *_: None, (), looks)
    return time.process_time() - cpu, time.perf_counter() - since


def recording(clip: Path, raw: Path, model: str) -> None:
    """Write the planes that a conversion gives to its encoder."""
    encode = ChunkEncoder.encode
    with raw.open("wb") as file:

        def kept(self: ChunkEncoder, planes: Any, pts: int, duration: int | None = None) -> None:
            for plane in planes:
                file.write(plane.numpy().tobytes())
            encode(self, planes, pts, duration)

        ChunkEncoder.encode = kept  # type: ignore[method-assign]
        with tempfile.TemporaryDirectory(dir=raw.parent) as folder:
            convert(clip, Path(folder) / "out.mkv", model, preset="ultrafast", device="cpu")


def encoding(raw: Path, codec: str, preset: str) -> tuple[float, float]:
    """Processor seconds, without those of reading them, and wall seconds to encode recorded planes as a conversion does."""
    width, height = SIZE
    settings = EncodeSettings(
        codec,
        CODECS[codec].crf or 0.0,
        preset,
        width,
        height,
        Fraction(1, 25),
        Fraction(25),
        keyint=100,
    )
    frames = np.memmap(raw, np.uint16, "r").reshape(-1, width * height * 3 // 2)
    cpu, since = time.process_time(), time.perf_counter()
    with ChunkEncoder(raw.with_suffix(".packets"), settings) as encoder:
        for number, frame in enumerate(frames):
            begun = time.thread_time()
            y, c = width * height, width * height // 4
            flat = torch.from_numpy(np.array(frame))
            cpu += time.thread_time() - begun
            planes = flat[:y], flat[y : y + c], flat[y + c :]
            shapes = (height, width), (height // 2, width // 2), (height // 2, width // 2)
            encoder.encode(tuple(p.view(s) for p, s in zip(planes, shapes, strict=True)), number)
        encoder.close()
    return time.process_time() - cpu, time.perf_counter() - since


def overlapping(clip: Path, out: Path, model: str) -> float:
    """The slowest stage's share of the time that rendering takes."""
    report = convert(clip, out, model, device="cpu")
    return max(report.busy.values()) / report.render_seconds


# the rows


def mapping(bench: Bench) -> Iterator[Row]:
    table, raw, count = cube(bench.folder / "table.cube"), bench.folder / "planes.raw", FRAMES
    for model in MAPPED:
        in_child(recording, bench.clip, raw, model)  # which also warms the caches
        mine, theirs = [], []
        for _ in range(bench.rounds):
            options = ("--model", model, "--codec", CHEAP[0], "--preset", CHEAP[1])
            whole = processor(ours(bench.clip, bench.out("out.mkv"), *options))
            decode, _ = in_child(decoding, bench.clip)
            encode, _ = in_child(encoding, raw, *CHEAP)
            mine.append((whole - decode - encode) / count * 1e3)
            read = ffmpeg("-i", bench.clip, "-f", "null", "-")
            filtered = ffmpeg("-i", bench.clip, "-vf", FILTER.format(table), "-f", "null", "-")
            theirs.append((processor(filtered) - processor(read)) / count * 1e3)
        what = f"processor time a frame beyond decode and encode, `{model}`"
        yield Row(what, f"FFmpeg with a {CUBE}^3 table, less its decode", "ms", mine, theirs, 1.0)


def against_encoder(bench: Bench, codec: str, preset: str, goal: float) -> Iterator[Row]:
    name = {"hevc": "libx265", "av1": "libsvtav1"}[codec]
    raw = bench.folder / "planes.raw"
    in_child(recording, bench.clip, raw, "look")
    mine, theirs, bare = [], [], []
    for _ in range(bench.rounds):
        options = ("--model", "look", "--codec", codec, "--preset", preset)
        mine.append(wall(ours(bench.clip, bench.out("out.mkv"), *options)))
        how = (
            "-c:v",
            name,
            "-preset",
            preset,
            "-crf",
            f"{CODECS[codec].crf:g}",
            "-pix_fmt",
            "yuv420p10le",
        )
        theirs.append(wall(ffmpeg("-i", bench.clip, "-an", *how, bench.out("reference.mkv"))))
        bare.append(in_child(encoding, raw, codec, preset)[1])
    what = f"`convert --model look --codec {codec} --preset {preset}`, whole"
    yield Row(what, f"FFmpeg's {name}, the same preset and CRF", "s", mine, theirs, goal)
    yield Row(what, f"PyAV's {name} on the frames that were converted", "s", mine, bare, goal)


def surveyed(bench: Bench) -> Iterator[Row]:
    pairs = [
        (in_child(surveying, bench.clip), in_child(decoding, bench.clip))
        for _ in range(bench.rounds)
    ]
    for at, clock in enumerate(("processor", "wall")):
        mine, theirs = [a[at] for a, _ in pairs], [b[at] for _, b in pairs]
        what = f"survey (scenes and looks), {clock} time"
        yield Row(what, "decoding the film once", "s", mine, theirs, 1.2)


def overlap(bench: Bench) -> Iterator[Row]:
    for model in ("look", "wmnet"):
        clip = bench.clip if model == "look" else EXAMPLE
        shares = [
            in_child(overlapping, clip, bench.out("out.mkv"), model) for _ in range(bench.rounds)
        ]
        yield Row(f"slowest stage over wall time, `{model}`", "", "", shares, [], 0.92, most=False)


def held(bench: Bench) -> Iterator[Row]:
    peaks = []
    for frames in (300, 3000):
        source = bench.folder / f"{frames}.mkv"
        write_clip(source, memory.pictures(frames), options={"preset": "ultrafast"})
        peaks.append(in_child(memory.peak, source, bench.out(f"{frames}-hdr.mkv"), "look"))
    what = "peak memory of 3000 frames of 320x180"
    yield Row(what, "that of 300 frames", "MiB", peaks[1:], peaks[:1], 1.05)


def begun(bench: Bench) -> Iterator[Row]:
    short = bench.folder / "short.mkv"
    quietly(ffmpeg("-i", bench.clip, "-frames:v", "24", "-an", "-c:v", "libx264", short))
    taken = []
    for _ in range(bench.rounds + 1):
        command = [
            sys.executable,
            "-m",
            "sdr2hdr",
            "convert",
            str(short),
            str(bench.out("out.mkv")),
        ]
        since = time.perf_counter()
        with subprocess.Popen(
            [*command, "--model", "look", "--device", "cpu", "--json"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            for line in process.stderr or ():
                moment = json.loads(line)
                if moment.get("stage") == "render" and moment["done"] > 0:
                    taken.append(time.perf_counter() - since)
                    break
            process.communicate()
    yield Row("start of `convert` to its first rendered frame (1080p)", "", "s", taken[1:], [], 3.0)


def network(_bench: Bench) -> Iterator[Row]:
    ratio = in_child(speed.arithmetic, "wmnet")
    what = "WMNet's arithmetic rate on the CPU, of bare convolutions of its shapes"
    yield Row(what, "", "", [ratio], [], 0.8, most=False)


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "mapping": mapping,
    "x265": lambda bench: against_encoder(bench, "hevc", "medium", 1.25),
    "svtav1": lambda bench: against_encoder(bench, "av1", "10", 1.5),
    "survey": surveyed,
    "overlap": overlap,
    "memory": held,
    "start": begun,
    "wmnet": network,
}
HEAD = ["what", "measured", "reference in the same run", "measured", "ratio", "goal", "reached"]


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def page(rows: list[Row], rounds: int) -> str:
    """The table, with what it was measured on."""
    ffmpeg_version = subprocess.run(
        ["ffmpeg", "-version"], capture_output=True, text=True, check=True
    ).stdout.split()[2]
    names = ("sdr2hdr", "torch", "av", "numba")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    cores = len(os.sched_getaffinity(0))
    about = (
        f"Measured by `python -m benchmarks.goals` in {rounds} rounds on {cores} cores of {_processor()}, with {versions},"
        f" Python {platform.python_version()} and FFmpeg {ffmpeg_version}. Figures are medians over the"
        " rounds, ratios medians of the rounds' ratios."
    )
    table = [line(HEAD), line(["---"] * len(HEAD)), *(line(row.cells()) for row in rows)]
    return "\n".join(["# Speed", "", about, "", *table, ""])


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
        return text.split("model name", 1)[1].split(":", 1)[1].splitlines()[0].strip()
    except (OSError, IndexError):
        return platform.machine()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", default=",".join(ROWS), metavar="A,B,C")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--clip", type=Path, help="1920x1080, 120 frames")
    options.add_argument("--out", type=Path, help="a Markdown page to write")
    a = options.parse_args()
    # for every process to come: threads as in a conversion, modules compiled once as in an installed package
    let_threads_sleep()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    wanted = a.rows.split(",")
    if unknown := [name for name in wanted if name not in ROWS]:
        options.error(f"there is no row {unknown[0]!r}; choose of {', '.join(ROWS)}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        clip = a.clip or Path(folder) / "clip.mkv"
        if a.clip is None:
            scaled = ("-vf", f"scale={SIZE[0]}:{SIZE[1]}", "-frames:v", str(FRAMES), "-an")
            quietly(
                ffmpeg(
                    "-stream_loop",
                    "3",
                    "-i",
                    EXAMPLE,
                    *scaled,
                    "-c:v",
                    "libx264",
                    "-crf",
                    "16",
                    clip,
                )
            )
        print(line(HEAD))
        for name in wanted:
            for row in ROWS[name](Bench(clip.absolute(), Path(folder), a.rounds)):
                rows.append(row)
                print(line(row.cells()), flush=True)
    if a.out is not None:
        write_whole(a.out, page(rows, a.rounds).encode(), True)


if __name__ == "__main__":
    main()
