"""What networks gain by knowing how strongly a film was compressed, on films coded as people code them.

    python -m benchmarks.told FILM [FILM ...] [--models wmnet-fast,wmnet-deep,wmnet] [--crf 22,28,34]

Some frames of each film, shrunk to about 480 pixels of width so that little is left of its own compression, are coded anew by
x264 and x265 at constant quality, with their adaptive quantisation. The QP is read as the survey reads it. Measured is by how
many dB repaired frames are nearer to those before the codec than the coded ones are: once with the QP not known, and once told.
"""

import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import cast

import av
import torch
import torch.nn.functional as F
from av.video.stream import VideoStream
from torch import Tensor

from benchmarks.command import parser
from benchmarks.repairs import repairing
from sdr2hdr.color.yuv import from_yuv
from sdr2hdr.data.clips import LAYOUT, to_planes
from sdr2hdr.data.damage import Planes
from sdr2hdr.data.splits import rng
from sdr2hdr.errors import Sdr2HdrError
from sdr2hdr.jobs.plan import survey
from sdr2hdr.media.source import Source
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.models.model import RepairingModel

FRAMES, EVERY, REACH = 48, 8, 3
CODECS = ("libx264", "libx265")


def shrunk(film: Path, first: float) -> Planes:
    """8-bit planes of some of a film's frames, from ``first`` seconds on, shrunk at least to half, sides a multiple of 8."""
    made = []
    source = Source(film)
    times = max(2, round(source.info.size[0] / 480))
    begin = source.info.start_pts + round(first / source.info.time_base)
    for picture, _ in zip(source.pictures(begin), range(FRAMES), strict=False):
        small = F.avg_pool2d(picture.rgb(), times)
        height, width = (n // 8 * 8 for n in small.shape[-2:])
        made.append(to_planes(small[None, :, :height, :width], rng(0, "val"), dither=0.0))
    y, cb, cr = (torch.cat(parts) for parts in zip(*made, strict=True))
    return y, cb, cr


def coded(planes: Planes, codec: str, crf: int, path: Path) -> None:
    """The planes as a film of that codec."""
    with av.open(path, "w") as out:
        stream = cast(VideoStream, out.add_stream(codec, 25))
        (_, stream.height, stream.width), stream.pix_fmt = planes[0].shape, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "fast", "x265-params": "log-level=none"}
        for number, picture in enumerate(zip(*planes, strict=True)):
            together = torch.cat([plane.flatten() for plane in picture])
            whole = together.view(-1, stream.width).numpy()
            frame = av.VideoFrame.from_ndarray(whole, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def gains(net: RepairingModel, seen: Tensor, truth: Tensor, qp: float | None) -> Iterator[float]:
    """The gains of every eighth frame of ``T,3,H,W``."""
    told = torch.tensor([qp or torch.nan])
    for t in range(REACH, len(seen) - REACH, EVERY):
        near = seen[None, t - REACH : t + REACH + 1]
        result = net.restored_frames(near, range(REACH, REACH + 1), told)[0, 0].float()
        yield psnr(result.clamp(0, 1), truth[t]) - psnr(seen[t], truth[t])


@torch.inference_mode()
def main() -> None:
    options = parser(__doc__)
    options.add_argument("films", type=Path, nargs="+")
    options.add_argument("--models", default="wmnet-fast,wmnet-deep,wmnet", metavar="A,B,C")
    options.add_argument("--first", type=float, default=0.0, metavar="SECONDS")
    options.add_argument("--crf", default="22,28,34", metavar="A,B,C")
    a = options.parse_args()
    nets = repairing(a.models, options)
    print(f"| film | codec | CRF | dB | QP read | {' | '.join(nets)} |")
    print("|---|---|---|---|---|" + "---|" * len(nets))
    means: dict[str, list[tuple[float, float]]] = {name: [] for name in nets}
    for film in a.films:
        planes = shrunk(film, a.first)
        truth = torch.stack([from_yuv(each, LAYOUT) for each in zip(*planes, strict=True)])
        for codec in CODECS:
            for crf in a.crf.split(","):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "film.mkv"
                    coded(planes, codec, int(crf), path)
                    source = Source(path)
                    (qp,) = survey(source, "none", lambda _done, _total: None).qps
                    seen = torch.stack([picture.rgb() for picture in source.pictures()])
                cells = []
                for name, net in nets.items():
                    blind, told = (fmean(gains(net, seen, truth, q)) for q in (None, qp))
                    means[name].append((blind, told))
                    cells.append(f"{blind:+.2f}, told {told:+.2f}")
                near = fmean(psnr(x, y) for x, y in zip(seen, truth, strict=True))
                row = (film.stem, codec, crf, f"{near:.1f}", f"{qp:.0f}", *cells)
                print(f"| {' | '.join(row)} |", flush=True)
    whole = [[fmean(each) for each in zip(*found, strict=True)] for found in means.values()]
    cells = [f"{blind:+.3f}, told {told:+.3f}" for blind, told in whole]
    print(f"| all | | | | | {' | '.join(cells)} |")


if __name__ == "__main__":
    try:
        main()
    except Sdr2HdrError as e:
        sys.exit(f"Error: {e}")
