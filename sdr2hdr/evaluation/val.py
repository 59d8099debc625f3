"""What a model scores on scenes it has never seen: per look and QP on simulated clips, and on real pairs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sdr2hdr.color.transfer import WHITE, pq_inverse_eotf
from sdr2hdr.data.clips import PAIR_PEAK, ClipMaker
from sdr2hdr.data.stills import load_linear, load_sdr, stills
from sdr2hdr.evaluation.scores import Score, groups, models_of, summary
from sdr2hdr.evaluation.worst import Worst
from sdr2hdr.metrics.measures import Measure, Meter, choose
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.render.scene import render_scene
from sdr2hdr.weights.opened import Loaded

SIMULATED, REAL = "Simulated val clips", "Real val pairs"
BOTH = choose(["psnr", "de_itp"]).measures
"""What a weight is judged by."""

Convert = Callable[[Tensor], Tensor]
"""Turns a scene, SDR R'G'B' ``T,3,H,W`` 0..1, into PQ codes of the same shape."""


def converter(loaded: Loaded, *, device: str = "auto", precision: str = "auto") -> Convert:
    """A function that renders whole scenes with a model as a conversion does, each scene with its own look."""
    renderers: dict[tuple[int, int], Renderer] = {}

    def convert(frames: Tensor) -> Tensor:
        height, width = size = (frames.shape[-2], frames.shape[-1])
        if size not in renderers:
            renderers.clear()
            renderers[size] = Renderer(
                loaded.model, loaded.spec, (height, width), device=device, precision=precision
            )
        run = Run(0, len(frames), 0, len(frames))
        return torch.stack(list(render_scene(renderers[size], lambda: iter(frames), run)))

    return convert


def _quiet(_done: int, _total: int) -> None:
    pass


def simulated(
    models: Mapping[str, Convert],
    corpus: Path,
    measures: Sequence[Measure] = BOTH,
    worst: Worst | None = None,
    *,
    every: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] = _quiet,
) -> Iterator[Score]:
    """Scores on the last frame of every simulated val clip (scene x look x QP), or every n-th of them."""
    maker = ClipMaker(corpus, "val", seed=seed)
    grid = maker.val_clips()[::every]
    for done, cell in enumerate(grid, 1):
        clip = maker.val_clip(*cell)
        sdr, truth = clip.sdr(), clip.hdr()
        for name, convert in models.items():
            of = Score(name, clip.scene, len(truth) - 1, {}, SIMULATED, clip.look, clip.qp)
            yield _score(of, convert(sdr), truth, sdr, measures, worst)
        progress(done, len(grid))


def real_pairs(
    models: Mapping[str, Convert],
    corpus: Path,
    measures: Sequence[Measure] = BOTH,
    worst: Worst | None = None,
    *,
    progress: Callable[[int, int], None] = _quiet,
) -> Iterator[Score]:
    """Scores on the real val pairs: whole photos, the phone's own JPEG as it is (no further codec, and so no QP)."""
    pairs = [still for still in stills(corpus, "val") if still.sdr is not None]
    for done, still in enumerate(pairs, 1):
        sdr, light = load_sdr(still)[None], load_linear(still)[None]
        h, w = (n // 2 * 2 for n in sdr.shape[-2:])
        truth = pq_inverse_eotf((light * WHITE).clamp_max(PAIR_PEAK))[..., :h, :w]
        for name, convert in models.items():
            result = convert(sdr[..., :h, :w])
            yield _score(Score(name, still.name, 0, {}, REAL), result, truth, sdr, measures, worst)
        progress(done, len(pairs))


def table(scores: Sequence[Score], by: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean PSNR and dE_ITP by a field (``look``, ``qp``, ``scene``) and model; ``all`` is the mean over everything."""
    found = groups(scores, by) or {
        "all": {m: summary([s for s in scores if s.model == m]) for m in models_of(scores)}
    }
    return {
        key: {model: (s.mean["psnr"], s.mean["de_itp"]) for model, s in row.items()}
        for key, row in found.items()
    }


def _score(
    of: Score,
    result: Tensor,
    truth: Tensor,
    sdr: Tensor,
    measures: Sequence[Measure],
    worst: Worst | None,
) -> Score:
    """Measure the last frame of a clip."""
    truth = truth[..., : result.shape[-2], : result.shape[-1]]
    meter = Meter(measures)
    if len(result) > 1:
        meter.skip(result[-2], truth[-2])
    score = replace(of, values=meter.add(result[-1], truth[-1]) | meter.finish())
    if worst is not None:
        worst.offer(score, result[-1], truth[-1], sdr[-1])
    return score
