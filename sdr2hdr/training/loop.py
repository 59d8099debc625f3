"""The training loop: recipe and clips in, averaged weights out; stopped at any step, it goes on as if it had not been."""

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from sdr2hdr.errors import InputError
from sdr2hdr.models import registry
from sdr2hdr.training.recipe import Recipe
from sdr2hdr.training.store import Sampler


class Trainer:
    """Adam on float32 master weights around a network in bfloat16, with an exponential moving average of the weights."""

    def __init__(
        self, recipe: Recipe, clips: Path, out: Path, *, device: str = "cpu", start: Path | None = None
    ) -> None:
        """``start`` is a checkpoint of the same model whose averaged weights to begin with."""
        self.recipe, self.out, self.device = recipe, out, torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        self.spec = registry.spec(recipe.model)
        self.sampler = Sampler(clips, recipe.seed)
        if not self.sampler.paths:
            raise InputError(f"{clips} holds no training clips; `sdr2hdr train` makes them from a corpus.")
        torch.manual_seed(recipe.seed)
        self.net = registry.build(recipe.model, recipe.config).train().to(self.device)
        _initialise(self.net)
        self.master = [p.detach().clone().float() for p in self.net.parameters()]
        if start is not None:
            for mine, kept in zip(self.master, torch.load(start, weights_only=True)["average"], strict=True):
                mine.copy_(kept)
        self.average = [p.clone() for p in self.master]
        self.net.to(torch.bfloat16)
        self._publish()
        for p in self.net.parameters():
            if p.ndim == 4:
                p.data = p.data.contiguous(memory_format=torch.channels_last)
        self.adam = torch.optim.Adam(self.master, lr=recipe.learning_rate, betas=(0.9, 0.99))
        self.step = 0

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def save(self) -> None:
        """Write everything needed to go on, whole or not at all."""
        part = self.checkpoint.with_suffix(".part")
        state = {"step": self.step, "master": self.master, "average": self.average, "adam": self.adam.state_dict()}
        torch.save({**state, "recipe": repr(self.recipe)}, part)
        part.replace(self.checkpoint)

    def resume(self) -> bool:
        """Go on from the checkpoint in the output folder, if there is one of this recipe."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if state["recipe"] != repr(self.recipe):
            raise InputError(f"{self.checkpoint} belongs to another recipe; give another output folder or remove it.")
        for mine, kept in ((self.master, state["master"]), (self.average, state["average"])):
            for a, b in zip(mine, kept, strict=True):
                a.copy_(b)
        self.adam.load_state_dict(state["adam"])
        self.step = state["step"]
        self._publish()
        return True

    def _publish(self) -> None:
        with torch.no_grad():
            for p, m in zip(self.net.parameters(), self.master, strict=True):
                p.copy_(m)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights by name, float32."""
        return {name: a.cpu() for (name, _), a in zip(self.net.named_parameters(), self.average, strict=True)}

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to a hundredth."""
        r = self.recipe
        if self.step < r.warmup:
            return r.learning_rate * (self.step + 1) / r.warmup
        x = (self.step - r.warmup) / max(r.steps - r.warmup, 1)
        return r.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * x)))

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        r, stage = self.recipe, self.recipe.stage_at(self.step)
        batch = self.sampler.batch(self.step, stage.batch, stage.frames, stage.patch, self.spec.thumb)
        sdr, hdr, thumbs = (b.to(self.device) for b in batch)
        out, _ = self.net(sdr, {}, thumbs=thumbs)
        error = out.float() - hdr
        loss = error.abs().mean() + r.mse_weight * error.square().mean()
        loss.backward()
        for p, m in zip(self.net.parameters(), self.master, strict=True):
            m.grad = p.grad.float() if p.grad is not None else None
            p.grad = None
        nn.utils.clip_grad_norm_(self.master, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate()
        self.adam.step()
        self._publish()
        decay = min(r.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, self.master, 1.0 - decay)
        self.step += 1
        return float(loss.detach())

    def run(self, report: Callable[[int, float, float], None], every: int = 50, save_every: int = 250) -> None:
        """Train to the recipe's end; ``report(step, mean loss, seconds a step)``, also kept in ``loss.csv``."""
        total, count, since = 0.0, 0, time.monotonic()
        while self.step < self.recipe.steps:
            total, count = total + self.train_step(), count + 1
            if self.step % every == 0 or self.step == self.recipe.steps:
                seconds = (time.monotonic() - since) / count
                report(self.step, total / count, seconds)
                with (self.out / "loss.csv").open("a", newline="") as f:
                    csv.writer(f).writerow([self.step, f"{total / count:.6f}", f"{seconds:.3f}"])
                total, count, since = 0.0, 0, time.monotonic()
            if self.step % save_every == 0 or self.step == self.recipe.steps:
                self.save()


def _initialise(net: nn.Module) -> None:
    """Kaiming normal, fan in, zero biases; times 0.1 in residual blocks and at the output.

    The published code scales every 2-D convolution by 0.1, which costs the first thousands of steps of a short schedule.
    """
    for name, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
            if "recon_trunk_res" in name or name == "conv_last":
                m.weight.data.mul_(0.1)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
