"""Memory does not grow with length: peak resident memory of a clip and of one ten times as long, each in its own process.

    python -m benchmarks.memory [--model bt2446a] [--frames 300]

The shorter clip should have some chunks (of about 100 frames): the allocator settles during the first two.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import parser
from benchmarks.cost import in_child, peak_mib
from sdr2hdr import convert
from sdr2hdr.media.made import write_clip

SIZE = (320, 180)


def pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    """A drifting picture, and a cut every 60 frames."""
    for i in range(count):
        place = np.random.default_rng(i // 60).integers(0, 255, (46, 80, 3), dtype=np.uint8)
        yield np.roll(np.kron(place, np.ones((4, 4, 1), np.uint8))[:180], i % 60, axis=1)


def peak(source: Path, target: Path, model: str) -> float:
    """MiB that a conversion holds at most."""
    convert(source, target, model, preset="ultrafast")
    return peak_mib()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", default="bt2446a")
    options.add_argument("--frames", type=int, default=300)
    a = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for frames in (a.frames, 10 * a.frames):
            source = Path(folder) / f"{frames}.mkv"
            write_clip(source, pictures(frames), options={"preset": "ultrafast"})
            peaks.append(in_child(peak, source, Path(folder) / f"{frames}-hdr.mkv", a.model))
            print(
                f"{frames} frames of {SIZE[0]}x{SIZE[1]} with {a.model}: peak {peaks[-1]:.0f} MiB"
            )
    print(f"ratio {peaks[1] / peaks[0]:.3f} (asked: at most 1.10)")


if __name__ == "__main__":
    main()
