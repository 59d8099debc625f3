"""What a model scores on scenes it has never seen: per look and QP on simulated clips, and on real pairs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sdr2hdr.color.transfer import WHITE, pq_inverse_eotf
from sdr2hdr.metrics.basic import mean_delta_e_itp, psnr
from sdr2hdr.models import registry
from sdr2hdr.models.layers import thumbnail
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.render.device import pick_precision
from sdr2hdr.render.renderer import prepared
from sdr2hdr.training.corpus import load_linear, load_sdr, stills
from sdr2hdr.training.dataset import PAIR_PEAK, ClipMaker
from sdr2hdr.weights import load_model
from sdr2hdr.weights.load import choose


@dataclass(frozen=True)
class Score:
    """One picture's figures."""

    model: str
    scene: str
    look: str
    qp: int
    psnr: float
    delta_e: float


def apply(model: nn.Module, spec: ModelSpec, sdr: Tensor) -> Tensor:
    """Codes ``T,3,H,W`` clamped to 0..1 of a short clip ``T,3,H,W``, the whole picture at once, in the model's precision."""
    h, w = sdr.shape[-2:]
    sdr = sdr[..., : h // spec.multiple * spec.multiple, : w // spec.multiple * spec.multiple]
    thumbs = thumbnail(sdr[None], spec.thumb) if spec.thumb else None
    with torch.inference_mode():
        codes, _ = model(sdr[None], cast(Any, model).new_state((h, w)), thumbs=thumbs)
    return cast(Tensor, codes)[0].float().clamp(0, 1)


Models = dict[str, tuple[nn.Module, ModelSpec]]


def load_for(name: str, precision: str) -> tuple[nn.Module, ModelSpec]:
    """A model or weight by name, ready to be measured on the CPU."""
    entry = choose(name)
    spec = registry.spec(entry.model if entry else name)
    cpu = torch.device("cpu")
    return prepared(load_model(name), cpu, pick_precision(precision, spec, cpu)), spec


def simulated(models: Models, corpus: Path, *, every: int = 1, seed: int = 0) -> Iterable[Score]:
    """Scores on the last frame of every simulated val clip (scene x look x QP), or every n-th of them."""
    maker = ClipMaker(corpus, "val", seed=seed)
    for cell in maker.val_clips()[::every]:
        clip = maker.val_clip(*cell)
        sdr, truth = clip.sdr(), clip.hdr()[-1]
        for name, (model, spec) in models.items():
            result = apply(model, spec, sdr)[-1]
            yield Score(name, clip.scene, clip.look, clip.qp, psnr(result, truth), mean_delta_e_itp(result, truth))


def real_pairs(models: Models, corpus: Path) -> Iterable[Score]:
    """Scores on the real val pairs: whole photos, the phone's own JPEG as it is (QP 0 stands for no further codec)."""
    for still in stills(corpus, "val"):
        if still.sdr is None:
            continue
        sdr, light = load_sdr(still), load_linear(still)
        h, w = (n // 2 * 2 for n in sdr.shape[-2:])
        truth = pq_inverse_eotf((light * WHITE).clamp_max(PAIR_PEAK))[..., :h, :w]
        for name, (model, spec) in models.items():
            result = apply(model, spec, sdr[None, :, :h, :w])[0]
            yield Score(name, still.name, "phone", 0, psnr(result, truth), mean_delta_e_itp(result, truth))


def table(scores: list[Score], by: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean PSNR and dE_ITP by a field (``look``, ``qp``, ``scene``) and model; ``all`` is the mean over everything."""
    out: dict[str, dict[str, tuple[float, float]]] = {}
    for model in dict.fromkeys(s.model for s in scores):
        mine = [s for s in scores if s.model == model]
        groups: dict[str, list[Score]] = {"all": mine}
        for s in mine:
            groups.setdefault(str(asdict(s)[by]), []).append(s)
        for key, group in groups.items():
            mean = (sum(s.psnr for s in group) / len(group), sum(s.delta_e for s in group) / len(group))
            out.setdefault(key, {})[model] = mean
    return out
