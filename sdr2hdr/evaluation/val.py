"""Scores of models on scenes they have never seen: simulated clips by look and QP, ACES, and real pairs.

No picture tells how bright it was graded. So every model is given a brightness, and each result is also measured at the
exposure that suits it best.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sdr2hdr.color.grade import Grade
from sdr2hdr.color.transfer import WHITE, pq_eotf, pq_inverse_eotf
from sdr2hdr.data.clips import PAIR_PEAK, Clip, ClipMaker
from sdr2hdr.data.stills import load_linear, load_sdr, stills
from sdr2hdr.evaluation.scores import Score, groups, models_of, summary
from sdr2hdr.evaluation.worst import Worst
from sdr2hdr.metrics.measures import Measure, Meter, choose
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.render.scene import render_scene
from sdr2hdr.weights.opened import Loaded

SIMULATED, ACES, REAL = "Simulated val clips", "ACES 1.3 and 2.0 on val stills", "Real val pairs"
TOLD = {ACES: 1.5, REAL: 3.0}
"""The brightness that every model is given for a part; for simulated clips it is each clip's own."""

BEST = ", best exposure"
"""Ends the name of a part whose results are scaled by the factor that suits each picture best."""

BOTH = choose(["psnr", "de_itp"]).measures
"""The measures that judge a weight."""

Convert = Callable[[Tensor, float, float | None], Tensor]
"""Turns a scene, SDR R'G'B' ``T,3,H,W`` 0..1, into PQ codes of the same shape at a brightness. The last is the QP that it was
compressed at, if that is known."""


def converter(
    loaded: Loaded,
    brightness: float | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
) -> Convert:
    """A function that renders whole scenes with a model as a conversion does, each scene with its own look.

    ``brightness`` is given instead of that of each picture. A model whose mapping of greys is not known keeps its own.
    """

    def convert(frames: Tensor, asked: float, qp: float | None) -> Tensor:
        renderer = Renderer(
            loaded.model,
            loaded.spec,
            (frames.shape[-2], frames.shape[-1]),
            device=device,
            precision=precision,
            grade=Grade((brightness or asked) if loaded.spec.greys else None),
        )
        run = Run(0, len(frames), 0, len(frames), qp)
        return torch.stack(list(render_scene(renderer, lambda: iter(frames), run)))

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
        yield from _clip_scores(models, clip, SIMULATED, clip.brightness, measures, worst)
        progress(done, len(grid))


def aces_pairs(
    models: Mapping[str, Convert],
    corpus: Path,
    measures: Sequence[Measure] = BOTH,
    worst: Worst | None = None,
    *,
    every: int = 1,
    progress: Callable[[int, int], None] = _quiet,
) -> Iterator[Score]:
    """Scores on the last frame of val stills through the SDR and the HDR output transforms of ACES, or every n-th of them."""
    maker = ClipMaker(corpus, "val")
    grid = maker.val_aces()[::every]
    for done, cell in enumerate(grid, 1):
        clip = maker.val_aces_clip(*cell)
        yield from _clip_scores(models, clip, ACES, TOLD[ACES], measures, worst)
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
            result = convert(sdr[..., :h, :w], TOLD[REAL], None)
            of = Score(name, still.name, 0, {}, REAL)
            yield from _scores(of, result, truth, sdr, measures, worst)
        progress(done, len(pairs))


def _clip_scores(
    models: Mapping[str, Convert],
    clip: Clip,
    part: str,
    brightness: float,
    measures: Sequence[Measure],
    worst: Worst | None,
) -> Iterator[Score]:
    """Scores on the last frame of a clip, by every model."""
    sdr, truth = clip.sdr(), clip.hdr()
    for name, convert in models.items():
        of = Score(name, clip.scene, len(truth) - 1, {}, part, clip.look, clip.qp)
        yield from _scores(of, convert(sdr, brightness, clip.known_qp), truth, sdr, measures, worst)


def table(scores: Sequence[Score], by: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean PSNR and dE_ITP by a field (``look``, ``qp``, ``scene``) and model; ``all`` is the mean over everything."""
    found = groups(scores, by) or {
        "all": {m: summary([s for s in scores if s.model == m]) for m in models_of(scores)}
    }
    return {
        key: {model: (s.mean["psnr"], s.mean["de_itp"]) for model, s in row.items()}
        for key, row in found.items()
    }


def _scores(
    of: Score,
    result: Tensor,
    truth: Tensor,
    sdr: Tensor,
    measures: Sequence[Measure],
    worst: Worst | None,
) -> Iterator[Score]:
    """Measure the last frame of a clip as it is, and with its light scaled by the factor that suits it best."""
    truth = truth[..., : result.shape[-2], : result.shape[-1]]
    meter = Meter(measures)
    if len(result) > 1:
        meter.skip(result[-2], truth[-2])
    score = replace(of, values=meter.add(result[-1], truth[-1]) | meter.finish())
    if worst is not None:
        worst.offer(score, result[-1], truth[-1], sdr[-1])
    yield score
    meter = Meter(BOTH)
    values = meter.add(best_exposed(result[-1], truth[-1]), truth[-1]) | meter.finish()
    yield replace(of, part=of.part + BEST, values=values)


def best_exposed(codes: Tensor, truth: Tensor) -> Tensor:
    """PQ codes ``3,H,W`` with their light times the factor, of a fifth to five, that gives the highest PSNR; up to 1000 nits."""
    step = max(1, round((codes[0].numel() / 20_000) ** 0.5))
    few, wanted = codes[:, ::step, ::step], truth[:, ::step, ::step]
    factors = torch.logspace(-0.7, 0.7, 113)
    errors = [float((_scaled(few, f) - wanted).square().mean()) for f in factors.tolist()]
    return _scaled(codes, float(factors[errors.index(min(errors))]))


def _scaled(codes: Tensor, factor: float) -> Tensor:
    return pq_inverse_eotf((pq_eotf(codes) * factor).clamp_max(PAIR_PEAK))
