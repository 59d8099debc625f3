"""Memory does not grow with length: peak resident memory of a clip and of one ten times as long, each in its own process.

    python benchmarks/memory.py [--model bt2446a] [--frames 300]

The shorter clip should have some chunks (of about 100 frames): the allocator settles during the first two.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

SIZE = (320, 180)


def write(path: Path, frames: int) -> None:
    """A clip with a drifting picture and a cut every 60 frames."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(frames):
            place = np.random.default_rng(i // 60).integers(0, 255, (46, 80, 3), dtype=np.uint8)
            picture = np.roll(np.kron(place, np.ones((4, 4, 1), np.uint8))[:180], i % 60, axis=1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))


def peak(source: Path, target: Path, model: str) -> float:
    """MiB a conversion needs at most; this runs it in a child that is the only one measured."""
    code = (
        "import resource, sys; from sdr2hdr import convert;"
        "convert(sys.argv[1], sys.argv[2], sys.argv[3], preset='ultrafast');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, source, target, model], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bt2446a")
    parser.add_argument("--frames", type=int, default=300)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for frames in (a.frames, 10 * a.frames):
            source = Path(folder) / f"{frames}.mkv"
            write(source, frames)
            peaks.append(peak(source, Path(folder) / f"{frames}-hdr.mkv", a.model))
            print(f"{frames} frames of {SIZE[0]}x{SIZE[1]} with {a.model}: peak {peaks[-1]:.0f} MiB")
    print(f"ratio {peaks[1] / peaks[0]:.3f} (asked: at most 1.10)")


if __name__ == "__main__":
    main()
