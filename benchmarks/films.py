"""What reading half of a scene's look in the whole film (`--look-over film`) is worth: val scenes as films.

    python -m benchmarks.films --corpus CORPUS [--films 4]

A film is all simulated val scenes, each exposed and graded by itself, and made SDR by one look with one draw of its parameters
(one), by two that take turns (two), or by another for each scene (mixed). The model `look` maps each scene's frame (160x256, 8
bits, no codec) by what it reads in that scene, and by half of that and half of the mean over the film.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from benchmarks.command import parser
from sdr2hdr.color.ictcp import delta_e_itp
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.data.clips import ClipMaker
from sdr2hdr.data.grading import LOOKS, grade, render_sdr
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.models.look import tone
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.looks import SceneLooks
from sdr2hdr.weights.opened import open_model


def films(maker: ClipMaker, count: int) -> Iterator[tuple[str, list[tuple[Tensor, Tensor]]]]:
    """Kind, and the SDR frame and the truth's codes ``3,H,W`` of every scene; ``count`` films of each look and kind."""
    scenes = [s for s in maker.stills if s.sdr is None]
    for number in range(count * len(LOOKS)):
        own = np.random.default_rng([number, 1])
        first, second = own.choice(len(LOOKS), 2, replace=False)
        one = number % len(LOOKS)
        kinds = {"one": [one] * len(scenes), "two": [first, second] * len(scenes)}
        kinds["mixed"] = [int(k) for k in own.integers(len(LOOKS), size=len(scenes))]
        for kind, looks in kinds.items():
            made = []
            for i, (still, k) in enumerate(zip(scenes, looks, strict=False)):
                rng = np.random.default_rng([number, 2, i])
                night = still.tag == "night"
                master = grade(
                    maker._views(still, rng),
                    LOOKS[k],
                    rng,
                    night=night,
                    white_is_one=still.white_is_one,
                )
                draw = [number, 3, int(k), i if kind == "mixed" else 0]
                sdr = render_sdr(master, LOOKS[k], np.random.default_rng(draw)).clamp(0, 1)
                made.append(((sdr[0] * 255).round() / 255, pq_inverse_eotf(master.nits)[0]))
            yield kind, made


@torch.inference_mode()
def main() -> None:
    options = parser(__doc__)
    options.add_argument("--corpus", type=Path, required=True)
    options.add_argument("--films", type=int, default=4)
    args = options.parse_args()
    keep_one_heap()
    loaded = open_model("look")
    model, spec = loaded.model, loaded.spec
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for kind, scenes in films(
        ClipMaker(args.corpus, "val", size=(160, 256), frames=1, seed=3), args.films
    ):
        for where in ("scene", "film"):
            looks = SceneLooks(model, spec, film=where == "film")
            for i, (sdr, _) in enumerate(scenes):
                looks.see(i, sdr)
            for (sdr, truth), look in zip(scenes, looks.of(range(len(scenes) + 1)), strict=True):
                assert look is not None
                codes = tone.mapped(sdr[None], look[None])[0].clamp(0, 1)
                scores = psnr(codes, truth), float(delta_e_itp(codes, truth).mean())
                found.setdefault((kind, where), []).append(scores)
    print(
        "| looks in the film | scenes | look of the scene, PSNR dB / dE_ITP | half of it the film's |\n|---|---|---|---|"
    )
    for kind in ("one", "two", "mixed"):
        cells = [
            " / ".join(f"{fmean(x):.2f}" for x in zip(*found[kind, w], strict=True))
            for w in ("scene", "film")
        ]
        print(f"| {kind} | {len(found[kind, 'scene'])} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
