"""What a model scores on scenes it has never seen: per look and QP on simulated clips, and on real pairs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.color.transfer import WHITE, pq_inverse_eotf
from sdr2hdr.data.clips import PAIR_PEAK, ClipMaker
from sdr2hdr.data.stills import load_linear, load_sdr, stills
from sdr2hdr.evaluation.scores import Score, groups, models_of, summary
from sdr2hdr.evaluation.worst import Worst
from sdr2hdr.metrics.measures import Measure, Meter
from sdr2hdr.metrics.measures import choose as choose_measures
from sdr2hdr.models.layers import thumbnail
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.render.device import pick_precision
from sdr2hdr.render.renderer import prepared
from sdr2hdr.weights.opened import open_model

SIMULATED, REAL = "Simulated val clips", "Real val pairs"


def apply(model: nn.Module, spec: ModelSpec, sdr: Tensor) -> Tensor:
    """Codes ``T,3,H,W`` clamped to 0..1 of a short clip ``T,3,H,W``, the whole picture at once, in the model's precision."""
    h, w = sdr.shape[-2:]
    thumbs = thumbnail(sdr[None], spec.thumb) if spec.thumb else None
    padded = F.pad(sdr, (0, -w % spec.multiple, 0, -h % spec.multiple), mode="replicate")
    place = {"place": torch.tensor([[0, 0, padded.shape[-2] / h, padded.shape[-1] / w]])} if spec.place else {}
    with torch.inference_mode():
        codes, _ = model(padded[None], cast(Any, model).new_state((h, w)), thumbs=thumbs, **place)
    return cast(Tensor, codes)[0, ..., :h, :w].float().clamp(0, 1)


Models = dict[str, tuple[nn.Module, ModelSpec]]


def load_for(name: str, precision: str) -> tuple[nn.Module, ModelSpec]:
    """A model or weight by name, ready to be measured on the CPU."""
    loaded, cpu = open_model(name), torch.device("cpu")
    return prepared(loaded.model, cpu, pick_precision(precision, loaded.spec, cpu)), loaded.spec


BOTH = choose_measures(["psnr", "de_itp"]).measures
"""What a weight is judged by."""


def _quiet(_done: int, _total: int) -> None:
    pass


def simulated(
    models: Models,
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
        for name, (model, spec) in models.items():
            result = apply(model, spec, sdr)
            of = Score(name, clip.scene, len(truth) - 1, {}, SIMULATED, clip.look, clip.qp)
            yield _score(of, result, truth, sdr, measures, worst)
        progress(done, len(grid))


def real_pairs(
    models: Models,
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
        for name, (model, spec) in models.items():
            result = apply(model, spec, sdr[..., :h, :w])
            yield _score(Score(name, still.name, 0, {}, REAL), result, truth, sdr, measures, worst)
        progress(done, len(pairs))


def table(scores: Sequence[Score], by: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean PSNR and dE_ITP by a field (``look``, ``qp``, ``scene``) and model; ``all`` is the mean over everything."""
    found = groups(scores, by) or {"all": {m: summary([s for s in scores if s.model == m]) for m in models_of(scores)}}
    return {key: {model: (s.mean["psnr"], s.mean["de_itp"]) for model, s in row.items()} for key, row in found.items()}


def _score(
    of: Score, result: Tensor, truth: Tensor, sdr: Tensor, measures: Sequence[Measure], worst: Worst | None
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
