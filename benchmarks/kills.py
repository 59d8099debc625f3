"""Kill -9 at random moments of ``convert`` and ``batch``, then the same command again: what is lost?

    python -m benchmarks.kills [--count 25] [--seed 1] [--model bt2408] [--only convert|batch]
    python -m benchmarks.kills --cluster [--count 30]

Each round starts the command, waits for the first work folder, and kills at a moment drawn from the time that an undisturbed run
takes from there. Then every file under a target name must be whole; the command is run again, and the video packets are compared
with the undisturbed run. A round that ended before its kill does not count and is played again. Prints a line a kind and exits
with 1 if anything went wrong.

With --cluster, `convert` renders on a Ray cluster of two nodes. In turn a worker, a node or the command is killed; only a killed
command is run again. Besides, no chunk that was finished may be finished a second time.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np

from benchmarks.command import parser
from sdr2hdr.media.made import write_clip

OPTIONS = ["--preset", "ultrafast", "--chunk-frames", "5", "--scenes", "none", "-q"]
FRAMES = 150


def clip(path: Path, seed: int) -> None:
    """Frames of drifting noise."""
    texture = np.random.default_rng(seed).integers(0, 255, (128, 192, 3), dtype=np.uint8)
    write_clip(path, (np.roll(texture, i, axis=1) for i in range(FRAMES)), options={"crf": "12"})


def packets(path: Path) -> list[tuple[int | None, bytes]]:
    with av.open(str(path)) as f:
        return [(p.pts, bytes(p)) for p in f.demux(f.streams.video[0]) if p.size]


def command(kind: str, source: Path, out: Path, model: str) -> list[str]:
    start = [sys.executable, "-m", "sdr2hdr", kind]
    where = (
        [str(source), str(out)]
        if kind == "batch"
        else [str(source / "a.mkv"), str(out / "a.mkv"), "-y"]
    )
    return [*start, *where, "--model", model, *OPTIONS]


def films(out: Path) -> dict[str, list[tuple[int | None, bytes]]]:
    return {path.name: packets(path) for path in sorted(out.glob("*.mkv"))}


def trouble(
    kind: str, source: Path, out: Path, model: str, truth: dict[str, list[tuple[int | None, bytes]]]
) -> str:
    """What is wrong after a kill and a second run; nothing if all is well."""
    if any(truth[name] != found for name, found in films(out).items()):
        return "a target's name held something else than the whole film after the kill"
    again = subprocess.run(
        command(kind, source, out, model), capture_output=True, text=True, check=False
    )
    if again.returncode != 0:
        return f"exit code {again.returncode}: {again.stderr}"
    if films(out) != truth:
        return "other packets than undisturbed"
    if left := [p.name for p in out.glob(".*")]:
        return f"left behind: {left}"
    if kind == "batch":
        rows = json.loads((out / "report.json").read_text())["files"]
        if any(
            r["status"] not in ("done", "unchanged") or r["frames"] != FRAMES or not r["max_cll"]
            for r in rows
        ):
            return f"the report is wrong: {rows}"
    return ""


def at_work(kind: str, source: Path, out: Path, model: str) -> "subprocess.Popen[bytes]":
    """The command, started, with its first work folder there."""
    process = subprocess.Popen(command(kind, source, out, model), stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(out.glob(".*.sdr2hdr-work")):
        time.sleep(0.02)
    return process


def attack(kind: str, count: int, rng: random.Random, model: str, folder: Path) -> int:
    source = folder / "in"
    truth_folder = folder / f"{kind}-truth"
    truth_folder.mkdir()
    process = at_work(kind, source, truth_folder, model)
    since = time.monotonic()
    process.wait()
    takes = time.monotonic() - since
    truth = films(truth_folder)
    wrong = killed = missed = 0
    moments: Counter[str] = Counter()
    while killed < count and missed < 4 * count:
        out = folder / f"{kind}-{killed}"
        out.mkdir()
        process = at_work(kind, source, out, model)
        try:
            process.wait(rng.uniform(0, takes))
            missed += 1
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(1)  # its own processes end with it, at once but not before
            chunks = len(list(out.glob(".*.sdr2hdr-work/chunk-*.json")))
            moments[f"{len(films(out))} films and {'some' if chunks else 'no'} chunks done"] += 1
            if words := trouble(kind, source, out, model, truth):
                wrong += 1
                print(f"{kind} {killed}: {words}", flush=True)
            killed += 1
        shutil.rmtree(out)
    print(
        f"{kind}: {killed} kills, {wrong} went wrong; at the kill: {dict(sorted(moments.items()))}",
        flush=True,
    )
    return int(wrong > 0 or killed < count)


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=25)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--model", default="bt2408")
    options.add_argument("--only", choices=("convert", "batch"))
    options.add_argument("--cluster", action="store_true", help="kill on a Ray cluster")
    args = options.parse_args()
    rng = random.Random(args.seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for number, film in enumerate(("a.mkv", "b.mkv")):
            clip(folder / "in" / film, number)
        if args.cluster:
            from benchmarks.cluster_kills import attack as attack_cluster

            return attack_cluster(args.count, rng, args.model, folder / "in" / "a.mkv", folder)
        for kind in [args.only] if args.only else ["convert", "batch"]:
            wrong += attack(kind, args.count, rng, args.model, folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
