"""Damaged inputs against the converter: what it does with files that lie, stop short or are full of holes.

    python -m benchmarks.robustness [--count 500] [--seed 1] [--keep FOLDER] [--seconds 60]

Small clips in many containers and codecs are damaged (bits flipped, cut short, parts zeroed, taken out, doubled, the header
overwritten) and converted with `bt2408`, each in a process of its own. Every run must end within the time limit and with an exit
code of the list, show no traceback, stay below the memory limit, and leave under the target name either nothing or a file that
decodes as HDR10. Inputs that break a rule are kept in the folder given; the exit code is then 1.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from benchmarks.command import parser

KINDS = {
    "h264.mp4": ("libx264", {"bf": "2"}),
    "hevc.mkv": ("libx265", {"x265-params": "log-level=none:pools=1:frame-threads=1"}),
    "h264.ts": ("libx264", {}),
    "mpeg2.mpg": ("mpeg2video", {}),
    "mpeg4.avi": ("mpeg4", {}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "prores.mov": ("prores_ks", {}),
    "mjpeg.mkv": ("mjpeg", {}),
}
DAMAGES = (
    "flip one bit",
    "flip 20 bits",
    "flip 500 bits",
    "cut short",
    "zero a part",
    "take a part out",
    "double a part",
    "header",
)
EXITS = (0, 2, 3, 4, 5)
MEMORY = 2 << 30


def clip(path: Path, codec: str, options: dict[str, str]) -> None:
    """24 moving frames with sound."""
    rng = np.random.default_rng(7)
    formats = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25, options=options)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 96, 64, formats.get(codec, "yuv420p")
        sound = out.add_stream(
            "libopus"
            if path.suffix == ".webm"
            else "mp2"
            if path.suffix in (".mpg", ".ts")
            else "aac",
            48000,
        )
        assert isinstance(sound, av.AudioStream)
        sound.layout = "stereo"
        for i in range(24):
            picture = np.roll(
                rng.integers(0, 255, (64, 96, 3), dtype=np.uint8) // 4 + i * 4, i, axis=1
            )
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format=video.pix_fmt
            )
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(video.encode(frame))
        resampler = av.AudioResampler(
            format=sound.codec_context.format, layout="stereo", rate=48000
        )
        fifo = av.AudioFifo()
        tone = av.AudioFrame.from_ndarray(
            np.zeros((2, 46080), np.float32), format="fltp", layout="stereo"
        )
        tone.sample_rate, tone.pts = 48000, 0
        for part in resampler.resample(tone):
            fifo.write(part)
        while (block := fifo.read(sound.codec_context.frame_size or 960)) is not None:
            out.mux(sound.encode(block))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))


def damaged(data: bytes, how: str, rng: np.random.Generator) -> bytes:
    a = np.frombuffer(data, np.uint8).copy()
    n = len(a)
    start = int(rng.integers(0, n - 64))
    length = int(min(n - start, np.exp(rng.uniform(np.log(16), np.log(n / 2)))))
    if how.startswith("flip"):
        for _ in range({"one": 1, "20": 20, "500": 500}[how.split()[1]]):
            a[rng.integers(0, n)] ^= 1 << rng.integers(0, 8)
    elif how == "cut short":
        a = a[: int(rng.integers(0, n))]
    elif how == "zero a part":
        a[start : start + length] = 0
    elif how == "take a part out":
        a = np.concatenate([a[:start], a[start + length :]])
    elif how == "double a part":
        a = np.concatenate([a[: start + length], a[start:]])
    else:
        at = rng.integers(0, min(n, 600), 12)
        a[at] = rng.integers(0, 256, 12)
    return a.tobytes()


def run(words: list[str], log: Path, seconds: float) -> tuple[int | None, float, int]:
    """The command in a process of its own that shares our imports: exit code (None: had to be killed), seconds, peak bytes."""
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        with log.open("wb") as f:
            os.dup2(f.fileno(), 1)
            os.dup2(f.fileno(), 2)
        sys.argv = ["sdr2hdr", *words]
        code = 99
        try:
            from sdr2hdr.cli.main import main

            code = main() or 0
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code, time.monotonic() - begun, usage.ru_maxrss * 1024
        if time.monotonic() - begun > seconds:
            os.killpg(pid, signal.SIGKILL)
            os.wait4(pid, 0)
            return None, seconds, 0
        time.sleep(0.02)


def is_hdr10(path: Path) -> bool:
    """Whether the file decodes to its end as PQ pictures."""
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    return bool(frames) and all(
        int(f.color_trc) == 16 and f.format.name == "yuv420p10le" for f in frames
    )


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--count", type=int, default=500)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--seconds", type=float, default=60)
    words.add_argument("--keep", type=Path)
    args = words.parse_args()
    import torch

    import sdr2hdr.convert  # noqa: F401 (imported once, before the forks)

    torch.set_num_threads(1)
    work = Path(tempfile.mkdtemp(prefix="robustness-"))
    whole = {}
    for name, (codec, options) in KINDS.items():
        clip(work / name, codec, options)
        whole[name] = (work / name).read_bytes()
    ends: Counter[tuple[str, str]] = Counter()
    broken, slowest, largest = [], 0.0, 0
    for i in range(args.count):
        name, how = list(KINDS)[i % len(KINDS)], DAMAGES[i // len(KINDS) % len(DAMAGES)]
        rng = np.random.default_rng([args.seed, i])
        folder = work / f"{i:04d}"
        folder.mkdir()
        source, target, log = folder / name, folder / "out.mkv", folder / "log"
        source.write_bytes(damaged(whole[name], how, rng))
        command = [
            "convert",
            str(source),
            str(target),
            "--model",
            "bt2408",
            "--device",
            "cpu",
            "--preset",
            "ultrafast",
        ]
        code, seconds, peak = run(command, log, args.seconds)
        slowest, largest = max(slowest, seconds), max(largest, peak)
        said = log.read_text(errors="replace")
        faults = [
            word
            for word, wrong in (
                ("hangs", code is None),
                (f"exit code {code}", code is not None and code not in EXITS),
                ("traceback", "Traceback" in said or "This is a bug" in said),
                ("memory", peak > MEMORY),
                ("says nothing", bool(code) and not said.strip()),
                ("leaves a target", bool(code) and target.exists()),
                ("target is not HDR10", code == 0 and not (target.exists() and is_hdr10(target))),
            )
            if wrong
        ]
        ends[how, "converted" if code == 0 else "refused" if code in EXITS else "broken"] += 1
        if faults:
            broken.append((i, name, how, faults))
            print(f"{i} {name}, {how}: {', '.join(faults)}: {said.strip()[-300:]}", flush=True)
            if args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, args.keep / f"{i:04d}-{name}")
        shutil.rmtree(folder)
    print(f"{'damage':18}{'converted':>10}{'refused':>10}{'broken':>10}")
    for how in DAMAGES:
        print(
            f"{how:18}"
            + "".join(f"{ends[how, end]:10}" for end in ("converted", "refused", "broken"))
        )
    print(
        f"{args.count} inputs, {len(broken)} break a rule; slowest {slowest:.1f} s, largest {largest >> 20} MiB"
    )
    shutil.rmtree(work)
    return bool(broken)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())
