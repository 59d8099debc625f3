"""A disk that fills up at every stage of ``convert`` and ``batch``, then room again: what is lost? Linux, as root.

    python -m benchmarks.full_disk [--steps 24] [--model bt2408]

The results' folder is a small disk in memory (tmpfs). Its size goes in ``--steps`` steps from 8 KiB to what an undisturbed run
needs at its highest, and so the disk is full while the plan, a chunk, its facts, the assembled film or the report is written.
Each time the command must end with one line and the exit code of the disk, with nothing but whole films under a target's name.
The disk is then made large, the same command run again, and the video packets compared with the undisturbed run. Then ``scenes``,
``preview`` and ``compare`` write into a full disk. Prints what was being written, and exits with 1 if anything went wrong.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.command import parser
from benchmarks.kills import clip, command, films, trouble

LARGE = "256m"


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of a size, as the folder."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def stage(said: str) -> str:
    """What was being written, by the file that a message names."""
    names = {
        "plan.json": "the plan",
        "chunk-": "a chunk",
        "assembled": "the assembled film",
        "report": "the report",
    }
    return next(
        (what for name, what in names.items() if name in said),
        "the work folder" if "work" in said else "other",
    )


def highest(kind: str, source: Path, folder: Path, model: str) -> int:
    """The most bytes that an undisturbed run has on the disk at a time, as the disk counts them."""
    most = 0
    with disk(folder, LARGE):
        process = subprocess.Popen(command(kind, source, folder, model), stderr=subprocess.DEVNULL)
        while process.poll() is None:
            # files come and go while they are counted
            found = subprocess.run(
                ["du", "-s", "-B1", str(folder)], capture_output=True, text=True, check=False
            ).stdout
            most = max(most, int(found.split()[0]) if found else 0)
    return most


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=24)
    options.add_argument("--model", default="bt2408")
    a = options.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        source, out = top / "in", top / "out"
        source.mkdir()
        for i, film in enumerate(("a.mkv", "b.mkv")):
            clip(source / film, i)
        for kind in ("convert", "batch"):
            most = highest(kind, source, out, a.model)
            with disk(out, LARGE):
                subprocess.run(command(kind, source, out, a.model), check=True)
                truth = films(out)
            full: Counter[str] = Counter()
            for step in range(a.steps):
                size = 8192 + (most - 8192) * step // a.steps
                with disk(out, str(size)):
                    run = subprocess.run(
                        command(kind, source, out, a.model),
                        capture_output=True,
                        text=True,
                        check=False,
                        timeout=300,
                    )
                    full[stage(run.stderr) if run.returncode else "nothing: there was room"] += 1
                    lines = run.stderr.strip().splitlines()
                    if (
                        run.returncode not in (0, 3, 4)
                        or "Traceback" in run.stderr
                        or (kind == "convert" and len(lines) > 1)
                    ):
                        wrong.append(
                            f"{kind}, {size} bytes: exit code {run.returncode}: {run.stderr}"
                        )
                    subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(out)], check=True)
                    if said := trouble(kind, source, out, a.model, truth):
                        wrong.append(f"{kind}, {size} bytes, run again: {said}")
            print(
                f"{kind}: full while writing {', '.join(f'{what} {n}' for what, n in full.most_common())}",
                flush=True,
            )
        film = str(source / "a.mkv")
        for words in (
            [
                "scenes",
                film,
                "--sheet",
                str(out / "s.png"),
                "--csv",
                str(out / "s.csv"),
                "--html",
                str(out / "s.html"),
            ],
            ["preview", film, "--at", "1", "--models", a.model, "--out", str(out)],
            ["compare", film, film, "--html", str(out / "c.html")],
        ):
            with disk(out, "4k"):
                (out / "filler").write_bytes(b"x" * 4096)
                run = subprocess.run(
                    [sys.executable, "-m", "sdr2hdr", *words],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                left = sorted(p.name for p in out.iterdir() if p.name != "filler")
                last = run.stderr.strip().splitlines()[-1:]
                print(f"{words[0]}: exit code {run.returncode}, {last}, left {left}", flush=True)
                if run.returncode != 4 or left or "Traceback" in run.stderr:
                    wrong.append(f"{words[0]}: exit code {run.returncode}: {run.stderr}")
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
