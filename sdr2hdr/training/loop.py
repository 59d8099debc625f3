"""The training loop: recipe and clips in, averaged weights out; stopped at any step, it goes on as if it had not been."""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdr2hdr.data.store import Sampler
from sdr2hdr.errors import InputError
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.models import registry
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.hdrvdiff.network import HDRVDiff
from sdr2hdr.models.model import MaskedModel, Model, RestoringModel
from sdr2hdr.models.parts.precision import to_precision
from sdr2hdr.training import diffusion, masking
from sdr2hdr.training.losses import clean_loss, mapping_loss, perceptual_loss, restored_loss
from sdr2hdr.training.perceptual import features
from sdr2hdr.training.recipe import Recipe, Stage
from sdr2hdr.writing import whole_file

ENCODER = ("conv_first.", "recon_trunk_res.", "look.")
"""What phase II takes over from phase I (WMNet: the first convolution and the trunk), and the look reader."""


@dataclass(frozen=True)
class Report:
    """What the loop says every so often: losses are means since the last report, ``psnr`` is that on the select clips."""

    step: int
    loss: float
    seconds: float
    samples: float
    psnr: float | None = None


class Trainer:
    """Adam on float32 master weights around a network in bfloat16, with an exponential moving average of the weights."""

    def __init__(
        self, recipe: Recipe, clips: Path, out: Path, *, device: str = "cpu", start: dict[str, Tensor] | None = None
    ) -> None:
        """``clips`` holds the folders ``train`` and ``select``. Tensors of ``start`` that fit are taken over."""
        self.recipe, self.out, self.device = recipe, out, torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        self.spec = registry.spec(recipe.model, recipe.config)
        self.sampler = Sampler(clips / "train", recipe.seed, recipe.clips.count)
        self.chosen_on = Sampler(clips / "select", recipe.seed, recipe.clips.select)
        if not self.sampler.paths:
            raise InputError(f"{clips} holds no training clips; `sdr2hdr train` makes them from a corpus.")
        self.start = start or {}
        self.features = features(recipe.perceptual).to(self.device) if recipe.perceptual_weight else None
        self.net = self._fresh()
        self.names = [name for name, _ in self.net.named_parameters()]
        self.master = [p.detach().clone().float() for p in self.net.parameters()]
        self.average = [p.clone() for p in self.master]
        self.best: list[Tensor] | None = None
        self.best_psnr = -math.inf
        self._lower_precision()
        self.adam = self._optimiser()
        self.step = 0

    def _fresh(self) -> Model:
        return fresh(self.recipe, self.start).to(self.device)

    def _optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.master, lr=self.recipe.learning_rate, betas=(0.9, 0.99))

    def _lower_precision(self) -> None:
        to_precision(self.net, torch.bfloat16)
        self._publish()

    def _publish(self, weights: list[Tensor] | None = None) -> None:
        with torch.no_grad():
            for p, m in zip(self.net.parameters(), weights or self.master, strict=True):
                p.copy_(m)

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def _named(self, tensors: list[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self.names, tensors, strict=True))

    def save(self) -> None:
        """Write everything needed to go on, whole or not at all."""
        state: dict[str, Any] = {"step": self.step, "recipe": repr(self.recipe), "adam": self.adam.state_dict()}
        state |= {"master": self._named(self.master), "average": self._named(self.average)}
        state |= {"best": self._named(self.best or self.average), "best_psnr": self.best_psnr}
        with whole_file(self.checkpoint) as part:
            torch.save(state, part)

    def resume(self) -> bool:
        """Go on from the checkpoint in the output folder, if there is one of this recipe."""
        if not self.checkpoint.exists():
            return False
        state = read_checkpoint(self.checkpoint, self.recipe)
        for mine, kept in ((self.master, state["master"]), (self.average, state["average"])):
            for name, a in zip(self.names, mine, strict=True):
                a.copy_(kept[name])
        self.best_psnr = state["best_psnr"]
        self.best = [state["best"][n].to(self.device) for n in self.names] if self.best_psnr > -math.inf else None
        self.adam.load_state_dict(state["adam"])
        self.step = state["step"]
        self._publish()
        return True

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights by name, float32: the best on the select clips, or the last where there are none."""
        return {name: a.cpu() for name, a in self._named(self.best or self.average).items()}

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to a hundredth: over all stages, or over each."""
        r = self.recipe
        stage, within = r.stage_at(self.step)
        step, steps = (within, stage.steps) if r.anew else (self.step, r.steps)
        if step < r.warmup:
            return r.learning_rate * (step + 1) / r.warmup
        x = (step - r.warmup) / max(steps - r.warmup, 1)
        return r.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * x)))

    def _begin_mapping(self) -> None:
        """After phase I: everything but the encoder starts anew, and so does the optimiser."""
        net = self._fresh()
        for name, m, a, p in zip(self.names, self.master, self.average, net.parameters(), strict=True):
            if not name.startswith(ENCODER):
                m.copy_(p.detach())
                a.copy_(p.detach())
        self.adam = self._optimiser()
        self._publish()

    def loss(self, stage: Stage, within: int) -> Tensor:
        """The loss of one batch; gradients lie in the network."""
        net = self.net
        batch = self.sampler.batch(
            self.step,
            stage.batch,
            stage.frames,
            stage.patch,
            0 if stage.task == "restoration" else self.spec.thumb,
            undamaged=self.spec.has_aux or self.recipe.clean_weight > 0 or stage.task in diffusion.TASKS,
            strong_from=self.recipe.strong_from,
        )
        sdr, hdr, clean, thumbs, place = (b.to(self.device) for b in batch)
        if stage.task == "restoration" and isinstance(net, RestoringModel):
            middle = slice(self.spec.past, sdr.shape[1] - self.spec.future)
            found = net.restored(sdr, still=True)
            return restored_loss(found[:, None], clean[:, middle], self.recipe)
        if stage.task == "masked" and isinstance(net, MaskedModel):
            generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
            picture = sdr.flatten(0, 1)
            seen = masking.masked(picture, masking.curriculum(within, stage.steps, stage.masking), generator)
            loss: Tensor = (net.reconstruct(seen).float() - picture).abs().mean()
            return loss
        if stage.task in diffusion.TASKS and isinstance(net, HDRVDiff):
            generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
            weight = self.recipe.perceptual_weight
            return diffusion.loss(
                net, stage.task, (sdr, hdr, clean, thumbs), generator, features=self.features, weight=weight
            )
        if isinstance(net, RestoringModel):
            past, future = self.spec.past, self.spec.future
            codes, aux, _ = net.forward_with_aux(sdr, {}, past=past, future=future, thumbs=thumbs)
            inner = slice(past, sdr.shape[1] - future)
            restored = restored_loss(aux, clean[:, inner], self.recipe)
            share = self.recipe.aux_weight
            loss = mapping_loss(codes.float(), hdr[:, inner], self.recipe)
            loss = loss + self._clean(codes, clean[:, inner], thumbs[:, inner])
            return (1 - share) * loss + share * restored
        codes, _ = net(sdr, {}, thumbs=thumbs, place=place if self.spec.place else None)
        loss = mapping_loss(codes.float(), hdr, self.recipe) + self._clean(codes, clean, thumbs)
        if self.features is not None:
            loss = loss + self.recipe.perceptual_weight * perceptual_loss(self.features, codes, hdr)
        return loss

    def _clean(self, codes: Tensor, clean: Tensor, thumbs: Tensor) -> Tensor:
        """The weighted damage that is left in the codes, of the undamaged SDR ``clean``; all ``B,T,3,H,W``."""
        if not self.recipe.clean_weight or not isinstance(self.net, OnBase):
            return codes.new_zeros(())
        return self.recipe.clean_weight * clean_loss(self.net, codes, clean, thumbs)

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        stage, within = self.recipe.stage_at(self.step)
        after = self.recipe.stage_at(self.step - 1)[0].task if self.step else ""
        if within == 0 and (after, stage.task) == ("masked", "mapping"):
            self._begin_mapping()
        loss = self.loss(stage, within)
        loss.backward()  # type: ignore[no-untyped-call]
        for p, m in zip(self.net.parameters(), self.master, strict=True):
            m.grad = p.grad.float() if p.grad is not None else None
            p.grad = None
        nn.utils.clip_grad_norm_(self.master, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate()
        self.adam.step()
        self._publish()
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, self.master, 1.0 - decay)
        self.step += 1
        return float(loss.detach())

    def select(self) -> float | None:
        """PSNR of the averaged weights on the select clips; they are kept as the best if nothing was better."""
        if not self.chosen_on.paths:
            return None
        total = 0.0
        need = self.spec.past + self.spec.future + 1
        self._publish(self.average)
        self.net.eval()
        with torch.inference_mode():
            for i in range(len(self.chosen_on.paths)):
                sdr, hdr, thumbs = (x.to(self.device) for x in self.chosen_on.whole(i, self.spec.thumb, need))
                past, future = self.spec.past, self.spec.future
                if sdr.shape[1] < need:
                    past = future = 0
                codes, _ = self.net(sdr, {}, past=past, future=future, thumbs=thumbs)
                total += psnr(codes[0, -1].float().clamp(0, 1), hdr[0, sdr.shape[1] - 1 - future])
        self.net.train()
        self._publish()
        mean = total / len(self.chosen_on.paths)
        if mean > self.best_psnr:
            self.best_psnr, self.best = mean, [a.clone() for a in self.average]
        return mean

    def run(self, report: Callable[[Report], None], every: int = 50, save_every: int = 250) -> None:
        """Train to the recipe's end, reporting; reports are also kept in ``loss.csv``."""
        total, count, samples, since = 0.0, 0, 0, time.monotonic()
        while self.step < self.recipe.steps:
            stage, _ = self.recipe.stage_at(self.step)
            total, count, samples = total + self.train_step(), count + 1, samples + stage.batch * stage.frames
            last = self.step == self.recipe.steps
            if self.step % every == 0 or last:
                seconds = time.monotonic() - since
                mapping = stage.task == "mapping"
                measured = self.select() if mapping and (self.step % self.recipe.select_every == 0 or last) else None
                said = Report(self.step, total / count, seconds / count, samples / seconds, measured)
                with (self.out / "loss.csv").open("a", newline="") as f:
                    row = [f"{said.loss:.6f}", f"{said.seconds:.3f}", "" if measured is None else f"{measured:.3f}"]
                    csv.writer(f).writerow([self.step, *row])
                report(said)
                total, count, samples, since = 0.0, 0, 0, time.monotonic()
            if self.step % save_every == 0 or last:
                self.save()


def fresh(recipe: Recipe, start: dict[str, Tensor]) -> Model:
    """The network that a recipe begins with, float32. Raises ModelError for its configuration, InputError where nothing fits."""
    torch.manual_seed(recipe.seed)
    spec = registry.spec(recipe.model, recipe.config)
    net = registry.build(recipe.model, recipe.config).train()
    net.initialise()
    taken = 0
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name in start and start[name].shape == p.shape:
                p.copy_(start[name])
                taken += 1
    if start and not taken:
        raise InputError(f"No tensor of the starting weight fits model {recipe.model}; leave `start` out.")
    if recipe.frozen:
        for name, p in net.named_parameters():
            p.requires_grad_(not name.startswith(recipe.frozen))
    if not any(p.requires_grad for p in net.parameters()):
        raise InputError(
            f"Recipe {recipe.name} trains nothing: model {recipe.model} has no weights that are not frozen."
        )
    if recipe.clean_weight and not spec.look:
        raise InputError(
            f"Recipe {recipe.name} has a clean_weight, which needs the base look, and model {recipe.model} as configured has "
            "another; leave it out."
        )
    for stage in recipe.stages:
        if stage.task not in spec.tasks:
            raise InputError(
                f"Recipe {recipe.name} has a stage of the task {stage.task}, which model {recipe.model} cannot do; leave it out."
            )
    if spec.has_aux and any(s.frames <= spec.past + spec.future for s in recipe.stages):
        raise InputError(
            f"Recipe {recipe.name} has a stage of fewer frames than model {recipe.model} sees at once, "
            f"{spec.past + spec.future + 1}; give it as many."
        )
    return net


def check(recipe: Recipe, out: Path, start: dict[str, Tensor]) -> None:
    """Raise before anything is written what :class:`Trainer` would raise of recipe, start and checkpoint after the clips."""
    fresh(recipe, start)
    if (out / "checkpoint.pt").exists():
        read_checkpoint(out / "checkpoint.pt", recipe)


def read_checkpoint(path: Path, recipe: Recipe) -> dict[str, Any]:
    """A checkpoint of that recipe; raises InputError where it cannot be read or belongs to another."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        raise InputError(
            f"{path} cannot be read as a checkpoint ({e}); give a checkpoint.pt that training wrote."
        ) from e
    if state.get("recipe") != repr(recipe):
        raise InputError(f"{path} belongs to another recipe than {recipe.name}; give the one it was trained with.")
    return state
