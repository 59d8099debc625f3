"""What pictures in a folder cost to encode, beside FFV1 of the same samples; run: ``python -m benchmarks.pictures``.

A 1080p frame of soft colour with film grain of three codes of 10 bits. Processor time of one process, the least of several runs.
"""

import tempfile
import time
from fractions import Fraction
from pathlib import Path

import torch

from sdr2hdr.color.yuv import PIXEL_FORMATS, to_yuv
from sdr2hdr.media.encoder import ChunkEncoder, EncodeSettings

WIDTH, HEIGHT, RUNS = 1920, 1080, 5


def cost(codec: str) -> tuple[float, float]:
    """Seconds and megabytes of a frame."""
    random = torch.Generator().manual_seed(2)
    grid = torch.rand(1, 3, 40, 60, generator=random) * 0.75
    soft = torch.nn.functional.interpolate(grid, (HEIGHT, WIDTH), mode="bilinear")[0]
    grainy = soft + 0.003 * torch.randn(soft.shape, generator=random)
    planes = to_yuv(grainy, seed=1, peak_code=0.75, layout=PIXEL_FORMATS["gbrp16"])
    how = EncodeSettings(
        codec, 0.0, "", WIDTH, HEIGHT, Fraction(1, 24), Fraction(24), keyint=1, pix_fmt="gbrp16"
    )
    taken = []
    with tempfile.TemporaryDirectory() as folder, ChunkEncoder(Path(folder) / "c", how) as encoder:
        for number in range(RUNS):
            since = time.process_time()
            encoder.encode(planes, number)
            taken.append(time.process_time() - since)
        return min(taken), encoder.close().bytes / RUNS / 1e6


if __name__ == "__main__":
    torch.set_num_threads(1)
    for codec in ("exr", "png16", "tiff16", "ffv1"):
        seconds, megabytes = cost(codec)
        print(f"{codec:8}{1000 * seconds:6.0f} ms{megabytes:7.1f} MB")
