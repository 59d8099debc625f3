"""What a Ray cluster costs: the same film with local workers and on node processes of this machine.

    python -m benchmarks.scaling [--frames 1536] [--seconds 0.04]

After each frame that a worker renders, it sleeps, so that two cores can play four machines. Prints the tables of
lab/scaling.md and the figures that ``benchmarks/simulated.py`` takes. Nothing else should run on the machine.
"""

import os
import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import sleepy
from benchmarks.command import parser
from benchmarks.nodes import folder, started
from sdr2hdr import convert
from sdr2hdr.jobs.progress import Progress
from sdr2hdr.media.made import write_clip

SCENE = 12
OPTIONS: dict[str, Any] = {"model": "bt2408", "preset": "ultrafast", "device": "cpu"}


@dataclass(frozen=True)
class Run:
    """The seconds of rendering, scanning and assembling, the seconds of processor time of the command while it rendered, and
    the MiB of chunks that were sent."""

    render: float
    scan: float
    assemble: float
    processor: float
    sent: float


def run(source: Path, out: Path, **options: Any) -> Run:
    """Convert a film; everything else is removed again."""
    times: dict[str, tuple[float, float]] = {}

    def watch(moment: Progress) -> None:
        times.setdefault(moment.stage, (time.monotonic(), time.process_time()))

    report = convert(source, out, progress=watch, overwrite=True, **OPTIONS, **options)
    end = time.monotonic()
    note = next((n for n in report.notes if n.startswith("Rendered on a cluster")), "0 MiB of")
    found = re.search(r"([\d.e+-]+) MiB of", note)
    assert found is not None
    begun, assembled = times["render"], times["assemble"]
    return Run(
        report.render_seconds,
        begun[0] - times["scan"][0] if "scan" in times else 0.0,
        end - assembled[0],
        assembled[1] - begun[1],
        float(found.group(1)),
    )


def on_cluster(source: Path, out: Path, count: int, *, send: bool = False, **options: Any) -> Run:
    """Convert on a cluster of ``count`` nodes that has just started."""
    import ray

    if send:
        os.environ[sleepy.SEND] = "1"
    with folder(), started(count) as nodes:
        ray.init(nodes.address, configure_logging=False, log_to_driver=False)
        try:
            return run(source, out, cluster=nodes.address, **options)
        finally:
            ray.shutdown()
            os.environ.pop(sleepy.SEND, None)


def wait_cost(count: int) -> float:
    """Seconds that one look at ``count`` tasks takes the command."""
    import ray

    with folder(), started(0) as nodes:
        ray.init(nodes.address, configure_logging=False, log_to_driver=False)
        try:
            task = ray.remote(lambda: None).options(num_cpus=1)
            waiting = [task.remote() for _ in range(count)]
            looks = []
            for _ in range(9):
                since = time.perf_counter()
                ray.wait(waiting, timeout=0, fetch_local=False)
                looks.append(time.perf_counter() - since)
            return statistics.median(looks)
        finally:
            ray.shutdown()


def clip(path: Path, frames: int, size: tuple[int, int]) -> Path:
    """A film of drifting noise, and its cuts next to it."""
    texture = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    write_clip(path, (np.roll(texture, i, axis=1) for i in range(frames)), options={"crf": "12"})
    path.with_suffix(".txt").write_text("\n".join(map(str, range(0, frames, SCENE))))
    return path


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--frames", type=int, default=1536)
    options.add_argument("--seconds", type=float, default=0.04, help="to sleep after each frame")
    args = options.parse_args()
    frames, ideal = args.frames, args.frames * args.seconds
    sleepy.begin(args.seconds)
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        source, out = clip(top / "film.mkv", frames, (64, 96)), top / "out.mkv"
        cuts: dict[str, Any] = {"scenes": str(source.with_suffix(".txt"))}
        print(
            "| at once | without other work | local workers | cluster | cluster / workers | speed-up |"
        )
        print("|---|---|---|---|---|---|")
        alone = 0.0
        for count in (1, 2, 4):
            here = run(source, out, chunk_frames=96, workers=count, **cuts)
            there = on_cluster(source, out, count, chunk_frames=96, **cuts)
            alone = alone or there.render
            print(
                f"| {count} | {ideal / count:.1f} s | {here.render:.1f} s | {there.render:.1f} s "
                f"| {there.render / here.render:.3f} | {alone / there.render:.2f} |",
                flush=True,
            )
        print("\n| frames in a chunk, 2 nodes | chunks | seconds | processor time of the command |")
        print("|---|---|---|---|")
        seen: dict[int, Run] = {}
        for chunk in (12, 24, 96):
            count = frames // chunk
            seen[count] = found = on_cluster(source, out, 2, chunk_frames=chunk, **cuts)
            print(
                f"| {chunk} | {count} | {found.render:.1f} s | {found.processor:.2f} s |",
                flush=True,
            )
        few, many = min(seen), max(seen)
        added = (seen[many].render - seen[few].render) / ((many - few) / 2)
        sent = (seen[many].processor - seen[few].processor) / (many - few)
        moved = on_cluster(source, out, 2, send=True, chunk_frames=96, **cuts).sent
        print(
            f"\nA chunk adds {1000 * added:.0f} ms on its node and {1000 * sent:.1f} ms of processor time of the command."
        )
        print(
            f"Chunks that are sent: {moved * 2**20 / frames:.0f} bytes a frame, of {out.stat().st_size / frames:.0f} in the film."
        )
        for count in (100, 1000, 10_000):
            print(f"One look at {count} tasks: {1000 * wait_cost(count):.2f} ms.", flush=True)
        sleepy.begin(0)
        large = run(clip(top / "large.mkv", 48, (1080, 1920)), out, workers=1, scenes="auto")
        small = run(source, out, workers=1, chunk_frames=96, scenes="auto")
        print(
            f"Scanning: {1000 * large.scan / 48:.1f} ms a frame of 1080p. Assembly and check: "
            f"{1000 * small.assemble / frames:.2f} ms a frame of {out.stat().st_size / frames / 1000:.1f} kB."
        )


if __name__ == "__main__":
    main()
