"""What HDR-V-Diff scores on footage of alternating exposures and on ordinary SDR, in tables (Markdown).

    python -m benchmarks.exposures CORPUS [--weights FILE] [--parts alternating,moving,steps,boiling,sdr,memory] [--every 1]

``alternating``: shots of the val scenes of a corpus of HDR stills through simulated cameras (``data/exposures.py``) of two
exposures and of three; the middle frame of seven is measured, once for each exposure that it can have. Beside the whole network
stand the reference frame alone, the weighted merge of all frames as they lie, the same merge of aligned frames, and TCAM without
the prior. PSNR_T, SSIM_T and HaarPSI are taken in the mu-law domain, as the paper does. *Error, clipped* is the mean squared
error there over the places that are clipped in the reference, summed over all shots, as a share of the plain merge's. *Gradient,
clipped* is the mean steepness of the picture in these places over that of the truth (1 is right, less is too smooth).

``moving``: the same with something in front of each scene that moves by itself (``data/objects.py``, a piece of the next
scene). *Error, object* is the mean squared error where it is in any of the seven frames, as a share of the plain merge's there.

``steps``: the same as ``alternating`` for DDIM's steps, with processor time. ``boiling``: flicker (docs/measuring.md) of a still
scene, with noise that belongs to places, with noise anew for each frame, and without the prior. ``sdr``: dE_ITP on every n-th
simulated val clip, over the whole picture and where SDR is clipped. ``memory``: peak memory and time of a 1080p window, and what
tiles differ by.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmarks.command import parser
from sdr2hdr.color.ictcp import delta_e_itp
from sdr2hdr.color.mulaw import mu_law, mu_law_inverse
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf
from sdr2hdr.data.clips import ClipMaker
from sdr2hdr.data.exposures import Shot, shoot
from sdr2hdr.data.objects import with_object
from sdr2hdr.evaluation.val import converter
from sdr2hdr.metrics import library
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.ssim import ssim
from sdr2hdr.metrics.temporal import flicker
from sdr2hdr.models.hdrvdiff.exposure import merge
from sdr2hdr.models.hdrvdiff.network import HDRVDIFF_SPEC, HDRVDiff
from sdr2hdr.models.inputs import field
from sdr2hdr.models.spec import State
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.opened import open_model

CPU = torch.device("cpu")
CYCLES = ((1.0, 0.25), (4.0, 0.25), (4.0, 1.0, 0.25))
SIZE, FRAMES, MIDDLE = (192, 256), 7, 3
CLIPPED = 0.985
Method = Callable[[Shot], Tensor]


def toned(codes: Tensor) -> Tensor:
    return mu_law(pq_eotf(codes)).clamp(0, 1)


def shots(corpus: Path, every: int, moving: bool) -> Iterator[tuple[str, Shot, Tensor]]:
    """A shot of each val scene for each cycle and each exposure that its middle frame can have, and the places ``H,W`` where
    something is that moves by itself."""
    maker = ClipMaker(corpus, "val", size=SIZE, frames=FRAMES, seed=0)
    chosen = maker.stills[::every]
    for number, still in enumerate(chosen):
        codes = maker.val_clip(still, "graded", 22, 7000 + number).hdr()[None]
        where = torch.zeros(SIZE, dtype=torch.bool)
        if moving:
            other = chosen[(number + 1) % len(chosen)]
            piece = maker.val_clip(other, "graded", 22, 8000 + number).hdr()[None, MIDDLE]
            codes, cover = with_object(codes, piece, torch.Generator().manual_seed(number))
            where = cover[0, :, 0].amax(0) > 0.5
        for cycle in CYCLES:
            for phase in range(len(cycle)):
                shot = shoot(codes, cycle, phase, torch.Generator().manual_seed(number))
                yield f"{len(cycle)} exposures", shot, where


def middle(shot: Shot, radius: int) -> tuple[Tensor, Tensor]:
    around = slice(MIDDLE - radius, MIDDLE + radius + 1)
    return shot.frames[:, around], shot.exposures[:, around]


def reach(shot: Shot) -> int:
    return 2 if len(set(shot.exposures[0].tolist())) == 2 else 3


def plain(shot: Shot) -> Tensor:
    return pq_inverse_eotf(convert(merge(*middle(shot, reach(shot))), "bt709", "bt2020"))


def alone(shot: Shot) -> Tensor:
    return pq_inverse_eotf(convert(merge(*middle(shot, 0)), "bt709", "bt2020"))


def network(net: HDRVDiff, steps: int | None) -> Method:
    """The network with so many steps of DDIM, 0 for TCAM alone; None for the merge that it corrects."""

    def run(shot: Shot) -> Tensor:
        if steps is None:
            base = net.aligned(shot.frames, MIDDLE, shot.exposures, None).base
            return pq_inverse_eotf(mu_law_inverse(base))
        net.steps = steps
        thumbs = torch.zeros(1, FRAMES, 3, 64, 64)
        codes: Tensor = net(
            shot.frames, {}, past=MIDDLE, future=MIDDLE, thumbs=thumbs, exposures=shot.exposures
        )[0]
        return codes[:, 0]

    return run


@dataclass
class Sums:
    """What is kept of a method's results."""

    psnr: list[float]
    ssim: list[float]
    haarpsi: list[float]
    error: float = 0.0
    on_object: float = 0.0
    steepness: float = 0.0
    wanted: float = 0.0
    seconds: float = 0.0


def steep(picture: Tensor, where: Tensor) -> float:
    """The sum over ``where`` of the length of the gradient of the mean of the channels."""
    y = picture.mean(0)
    down, across = y.diff(dim=0)[:, :-1], y.diff(dim=1)[:-1]
    return float((down.square() + across.square()).sqrt()[where[:-1, :-1]].sum())


@torch.inference_mode()
def measured(
    corpus: Path, every: int, methods: dict[str, Method], moving: bool = False
) -> dict[str, dict[str, Sums]]:
    haarpsi = library.from_piq("haarpsi")
    found: dict[str, dict[str, Sums]] = {}
    for kind, shot, where in shots(corpus, every, moving):
        truth = toned(shot.truth[0, MIDDLE])
        clipped = shot.frames[0, MIDDLE].amax(0) >= CLIPPED
        for name, method in methods.items():
            since = time.process_time()
            result = toned(method(shot)[0])
            took = time.process_time() - since
            for group in (kind, "all"):
                s = found.setdefault(group, {}).setdefault(name, Sums([], [], []))
                s.seconds += took
                s.psnr.append(psnr(result, truth))
                s.ssim.append(ssim(result, truth))
                s.haarpsi.append(haarpsi(result, truth))
                s.error += float((result - truth)[:, clipped].square().sum())
                s.on_object += float((result - truth)[:, where].square().sum())
                s.steepness, s.wanted = (
                    s.steepness + steep(result, clipped),
                    s.wanted + steep(truth, clipped),
                )
    return found


def table(found: dict[str, dict[str, Sums]], first: str, *, seconds: bool = False) -> None:
    moving = any(s.on_object for rows in found.values() for s in rows.values())
    for kind, rows in found.items():
        count = len(next(iter(rows.values())).psnr)
        print(f"\n{kind}, {count} shots\n")
        print(
            "| | PSNR_T dB | SSIM_T | HaarPSI | error, clipped | gradient, clipped |"
            + (" error, object |" if moving else "")
            + (" s a frame |" if seconds else "")
        )
        print("|---" * (6 + moving + seconds) + "|")
        for name, s in rows.items():
            cells = [f"{fmean(s.psnr):.2f}", f"{fmean(s.ssim):.4f}", f"{fmean(s.haarpsi):.4f}"]
            cells += [
                f"{s.error / max(rows[first].error, 1e-12):.3f}",
                f"{s.steepness / max(s.wanted, 1e-12):.3f}",
            ]
            cells += [f"{s.on_object / max(rows[first].on_object, 1e-12):.3f}"] if moving else []
            cells += [f"{s.seconds / count:.2f}"] if seconds else []
            print(f"| {name} | " + " | ".join(cells) + " |")


@torch.inference_mode()
def boiling(net: HDRVDiff, corpus: Path, every: int) -> None:
    """Flicker of a scene that stands still but for the camera's noise."""
    maker = ClipMaker(corpus, "val", size=SIZE, frames=1, seed=0)
    height, width = SIZE
    kinds = ("noise of its place", "noise anew each frame", "without the prior")
    sums: dict[str, dict[str, list[float]]] = {
        k: {"alternating": [], "ordinary": []} for k in kinds
    }
    alone: dict[str, dict[str, list[float]]] = {
        k: {"alternating": [], "ordinary": []} for k in kinds
    }
    for number, still in enumerate(maker.stills[::every]):
        clip = maker.val_clip(still, "graded", 22, 7000 + number)
        codes = clip.hdr()[None].expand(1, 8, -1, -1, -1)
        shot = shoot(codes, (1.0, 0.25), 0, torch.Generator().manual_seed(number))
        still_sdr = clip.sdr()[None].expand(1, 8, -1, -1, -1)
        grain = torch.randn(still_sdr.shape, generator=torch.Generator().manual_seed(number)) / 255
        for what, frames, times in (
            ("alternating", shot.frames, shot.exposures),
            ("ordinary", still_sdr + grain, None),
        ):
            thumbs = torch.nn.functional.adaptive_avg_pool2d(frames[0], 64)[None]
            for kind in kinds:
                net.steps = 0 if kind == "without the prior" else 10
                results, priors = list[Tensor](), list[Tensor]()
                state: State = {}
                for t in range(2, 6):
                    seed = t if kind == "noise anew each frame" else 0
                    noise = field(net.autoencoder.latent, (height // 8, width // 8), seed=seed)
                    part = slice(t - 2, t + 3)
                    told = None if times is None else times[:, part]
                    given, small = frames[:, part].clamp(0, 1), thumbs[:, part]
                    out, state = net(
                        given, state, past=2, future=2, thumbs=small, exposures=told, noise=noise
                    )
                    results.append(out[0, 0])
                    if net.steps:
                        seen = (
                            frames[:, t].clamp(0, 1),
                            torch.zeros(1) if times is None else times[:, t],
                        )
                        picture = net.prior(*seen, noise, net.steps).picture[0]
                        priors.append(pq_inverse_eotf(mu_law_inverse(picture)))
                sums[kind][what] += [flicker(b, a) for a, b in pairwise(results)]
                # the prior of frames of one exposure, so that it is the noise that changes
                pairs = (
                    zip(priors, priors[2:], strict=False) if times is not None else pairwise(priors)
                )
                alone[kind][what] += [flicker(b, a) for a, b in pairs]
    print("\n| flicker of a still scene | alternating 1,1/4 | ordinary SDR |\n|---|---|---|")
    for kind, found in sums.items():
        print(f"| {kind} | {fmean(found['alternating']):.3f} | {fmean(found['ordinary']):.3f} |")
    for kind in kinds[:2]:
        found = alone[kind]
        print(
            f"| the prior's picture, {kind} | {fmean(found['alternating']):.3f} | {fmean(found['ordinary']):.3f} |"
        )


@torch.inference_mode()
def ordinary(weights: str | None, corpus: Path, every: int) -> None:
    """Every n-th val clip, its last frame: as ``sdr2hdr evaluate --val``, and over clipped places alone."""
    models = {
        name: converter(open_model(name), device="cpu") for name in ("bt2408", "bt2446a", "look")
    }
    models["hdrvdiff"] = converter(
        open_model("hdrvdiff", weights), device="cpu", precision="float32"
    )
    maker = ClipMaker(corpus, "val", seed=0)
    whole: dict[str, list[float]] = {m: [] for m in models}
    decibels: dict[str, list[float]] = {m: [] for m in models}
    clipped: dict[str, float] = dict.fromkeys(models, 0.0)
    places = 0
    for cell in maker.val_clips()[::every]:
        clip = maker.val_clip(*cell)
        sdr, truth = clip.sdr(), clip.hdr()[-1]
        where = sdr[-1].amax(0) >= CLIPPED
        places += int(where.sum())
        for name, convert_scene in models.items():
            result = convert_scene(sdr, clip.brightness, clip.known_qp)[-1]
            away = delta_e_itp(result, truth)
            whole[name].append(float(away.mean()))
            decibels[name].append(psnr(result, truth))
            clipped[name] += float(away[where].sum())
    print(
        f"\nordinary SDR, {len(whole['look'])} val clips\n\n| | PSNR dB | dE_ITP | dE_ITP, clipped |\n|---|---|---|---|"
    )
    for name in models:
        print(
            f"| {name} | {fmean(decibels[name]):.2f} | {fmean(whole[name]):.2f} | {clipped[name] / places:.2f} |"
        )


def memory(net: HDRVDiff, precision: str) -> None:
    """A window of one 1080p frame and its neighbours, in tiles."""
    net.steps = 10
    frames = [
        torch.rand(3, 34, 60).repeat_interleave(32, 1).repeat_interleave(32, 2)[:, :1080, :1920]
        for _ in range(5)
    ]
    renderer = Renderer(
        net,
        HDRVDIFF_SPEC,
        (1080, 1920),
        device="cpu",
        precision=precision,
        tile=HDRVDIFF_SPEC.tile,
        exposures=(1, 0.25),
    )
    since = time.process_time()
    list(renderer.run(iter(frames), Run(2, 3, 0, 5), renderer.new_states()))
    took = time.process_time() - since
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n1080p, {len(renderer.tiles)} tiles of {HDRVDIFF_SPEC.tile}, {precision}: {took:.0f} s, peak {peak:.0f} MiB"
    )


def main() -> int:
    options = parser(__doc__)
    options.add_argument("corpus", type=Path)
    options.add_argument("--weights", default=None)
    options.add_argument("--parts", default="alternating,moving,steps,boiling,sdr,memory")
    options.add_argument(
        "--every", type=int, default=1, help="every n-th scene (sdr: every 20 n-th clip)"
    )
    given = options.parse_args()
    keep_one_heap()
    net = open_model("hdrvdiff", given.weights).model
    assert isinstance(net, HDRVDiff)
    parts = given.parts.split(",")
    for part in (p for p in ("alternating", "moving") if p in parts):
        names: dict[str, Method] = {"the reference frame alone": alone, "weighted merge": plain}
        names |= {
            "merge of aligned frames": network(net, None),
            "TCAM alone": network(net, 0),
            "HDR-V-Diff": network(net, 10),
        }
        print(f"\n{part}")
        table(measured(given.corpus, given.every, names, part == "moving"), "weighted merge")
    if "steps" in parts:
        steps = {f"{n} steps": network(net, n) for n in (0, 1, 2, 4, 10, 20)}
        found = measured(given.corpus, given.every, {"weighted merge": plain, **steps})
        table({"all": found["all"]}, "weighted merge", seconds=True)
    if "boiling" in parts:
        boiling(net, given.corpus, given.every)
    if "sdr" in parts:
        ordinary(given.weights, given.corpus, 20 * given.every)
    if "memory" in parts:
        memory(net, "bfloat16")
    return 0


if __name__ == "__main__":
    sys.exit(main())
