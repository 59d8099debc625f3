"""How steady models are on films: flicker where the camera stands still, and jumps where windows meet.

    python -m benchmarks.steady FOLDER [--models bt2408,look,wmnet] [--frames 66] [--still 0.15]

For each scene of each film of FOLDER (its first ``--frames`` frames) the camera's motion is measured: the median over frames of
the median over pixels of the optical flow between neighbouring frames of the SDR source, in pixels of a picture 640 wide. Below
``--still`` the camera stands. There the flicker (docs/measuring.md; without a truth all change counts) stands beside that of the
first model, and beside it the contrast (standard deviation of luma over a frame) as a share of the first model's: a picture
with more contrast shows the same grain and motion as more change.

A jump is how much the mean luma of the result changes from one frame to the next beyond that of the first model, in 10-bit
codes. Models are given a window of ``block`` frames at a time; the largest jump between windows stands beside the largest within.

``fmstfnet@8`` is that model with its memory begun anew every 8 frames.
"""

import sys
from itertools import chain, islice, pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.command import parser
from sdr2hdr.errors import InputError, Sdr2HdrError
from sdr2hdr.evaluation.strips import Strip, film
from sdr2hdr.metrics.filters import luma
from sdr2hdr.metrics.flow import flow
from sdr2hdr.metrics.temporal import flicker
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.looks import scene_look
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.opened import open_model

CPU = torch.device("cpu")
EDGE = 640


def motion(frames: list[Tensor]) -> float:
    """The camera's motion between neighbouring frames, pixels of a picture 640 wide."""
    small = []
    for frame in frames:
        scale = min(1.0, EDGE / frame.shape[2])
        size = (round(frame.shape[1] * scale), round(frame.shape[2] * scale))
        small.append(luma(F.interpolate(frame[None], size, mode="area")[0]))
    found = [flow(a, b).square().sum(0).sqrt().median() for a, b in pairwise(small)]
    return float(torch.stack(found).median())


def rendered(
    strip: Strip, frames: list[Tensor], wanted: str
) -> tuple[list[float], list[float], float, int]:
    """Flicker between neighbouring frames of a scene, the mean luma of each in 10-bit codes, contrast, the model's block."""
    name, _, anew = wanted.partition("@")
    loaded = open_model(name)
    spec = loaded.spec
    renderer = Renderer(loaded.model, spec, strip.size[::-1], device="cpu")
    count, look = len(frames), scene_look(renderer.model, spec, frames)
    runs = [
        Run(a, min(a + int(anew or count), count), 0, count)
        for a in range(0, count, int(anew or count))
    ]
    flickers, levels, contrast, before = [], [], [], None
    needs = [run.needs(spec) for run in runs]
    for now in chain.from_iterable(
        renderer.run(iter(frames[low:high]), run, renderer.new_states(look))
        for run, (low, high) in zip(runs, needs, strict=True)
    ):
        levels.append(float(luma(now).mean()) * 1023)
        contrast.append(float(luma(now).std()))
        if before is not None:
            flickers.append(flicker(now, before))
        before = now
    return flickers, levels, sum(contrast) / len(contrast), spec.block


def jumps(levels: list[float], base: list[float], block: int) -> tuple[float, float]:
    """The largest jump between windows, and the largest within them."""
    beyond = [
        abs(b - a) - abs(d - c)
        for (a, b), (c, d) in zip(pairwise(levels), pairwise(base), strict=True)
    ]
    border = [x for i, x in enumerate(beyond, 1) if i % block == 0]
    inside = [x for i, x in enumerate(beyond, 1) if i % block]
    return max(border, default=0.0), max(inside, default=0.0)


def scene_rows(path: Path, models: list[str], most: int, still: float) -> list[str]:
    """A Markdown row for each model and scene of at least four frames, the first ``most`` frames of the film counting."""
    strip = film(path)
    if not strip.sdr:
        raise InputError(f"{path} is HDR already; give SDR films.")
    found = []
    frames = strip.frames()
    for number, (first, last) in enumerate(
        pairwise(sorted({min(b, most) for b in strip.scenes()}))
    ):
        scene = list(islice(frames, last - first))
        if len(scene) < 4:
            continue
        moved = motion(scene)
        base: list[float] = []
        own = usual = 0.0
        for name in models:
            flickers, levels, contrast, block = rendered(strip, scene, name)
            mean = sum(flickers) / len(flickers)
            base, own, usual = base or levels, own or mean, usual or contrast
            ratio = (
                f"{mean:.3f} | {mean / own:.2f} | {contrast / usual:.2f}"
                if moved < still
                else "- | - | -"
            )
            border, inside = jumps(levels, base, block)
            where = "stands" if moved < still else "moves"
            found.append(
                f"| {path.name} {number} | {len(scene)} | {moved:.3f}, {where} | {name} | {ratio} | {border:.3f} | {inside:.3f} |"
            )
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--models", default="bt2408,look")
    options.add_argument("--frames", type=int, default=66)
    options.add_argument("--still", type=float, default=0.15)
    a = options.parse_args()
    keep_one_heap()
    models = a.models.split(",")
    first = models[0]
    heads = [
        "film, scene",
        "frames",
        "camera",
        "model",
        "flicker",
        f"of {first}'s",
        "contrast of its",
        "jump between windows",
    ]
    heads.append("within")
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|", flush=True)
    try:
        for path in sorted(
            p for p in a.folder.glob("*") if p.is_file() and not p.name.startswith(".")
        ):
            for line in scene_rows(path, models, a.frames, a.still):
                print(line, flush=True)
    except Sdr2HdrError as e:
        sys.exit(f"Error: {e}")


if __name__ == "__main__":
    main()
