"""The training loop: recipe and clips in, averaged weights out; it can be stopped and resumed at any step without effect.

What a network carries besides its weights (the running statistics of a batch normalisation) is averaged, kept and resumed with
them, in float32.
"""

import copy
import io
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdr2hdr.color.grade import Grade
from sdr2hdr.data.store import Batch, Sampler, clip_paths, read_clip
from sdr2hdr.errors import InputError
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.blocks import GRID
from sdr2hdr.models import registry
from sdr2hdr.models.model import Model
from sdr2hdr.models.parts.precision import to_precision
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.reading import open_regular
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.render.scene import render_scene
from sdr2hdr.training import curves
from sdr2hdr.training.initial import initialise
from sdr2hdr.training.memories import Memories
from sdr2hdr.training.optimiser import Optimiser
from sdr2hdr.training.perceptual import features
from sdr2hdr.training.recipe import Recipe, Stage
from sdr2hdr.training.schedule import learning_rate
from sdr2hdr.training.task import Step, Task
from sdr2hdr.training.tasks import TASKS
from sdr2hdr.weights.importers import unpickle
from sdr2hdr.weights.opened import Loaded
from sdr2hdr.writing import make_folder, whole_file

_HELD = {"step", "recipe", "master", "average", "best", "best_psnr"}
_ANEW = "name a folder that training wrote, or delete the file to begin anew"

Starts = Sequence[Mapping[str, Tensor]]
"""Tensors by name, of one source or several."""


@dataclass(frozen=True)
class Report:
    """A report of the loop: losses are means since the last report, ``psnr`` is that on the select clips."""

    step: int
    loss: float
    seconds: float
    samples: float
    psnr: float | None = None


class Trainer:
    """Adam on float32 master weights around a network in the recipe's precision, and an average of the weights."""

    def __init__(
        self,
        recipe: Recipe,
        clips: Path,
        out: Path,
        *,
        device: str = "cpu",
        start: Starts = (),
    ) -> None:
        """``clips`` holds the folders ``train`` and ``select``. Training starts from the tensors of ``start`` that fit, the last
        of those with one name."""
        self.recipe, self.out, self.device = recipe, out, torch.device(device)
        make_folder(out)
        self.spec = registry.spec(recipe.model, recipe.config)
        made = recipe.clips
        grid = GRID if recipe.grid_weight else 2
        self.sampler = Sampler(
            clips / "train", recipe.seed, made.count, flips=made.flips, grid=grid
        )
        self.chosen_on = clip_paths(clips / "select", recipe.clips.select)
        if not self.sampler.paths:
            raise InputError(
                f"{clips} holds no training clips; `sdr2hdr train` makes them from a corpus."
            )
        stages = recipe.stages
        self.sampler.check(max(s.frames for s in stages), max(s.patch for s in stages))
        self.start = start
        self.features = (
            features(recipe.perceptual).to(self.device) if recipe.perceptual_weight else None
        )
        self.net = self._fresh()
        self.parameters = dict(self.net.named_parameters())  # a walk over modules takes long
        self.names = list(self.parameters)
        self.carried = [name for name in self.net.state_dict() if name not in set(self.names)]
        self.master = [p.detach().clone().float() for p in self.parameters.values()]
        self.average = [t.clone() for t in self._now()]
        self.recent: deque[list[Tensor]] = deque(maxlen=recipe.mean_of_last)
        self.memories = Memories() if recipe.scene_memory else None
        self.best: list[Tensor] | None = None
        self.best_psnr = -math.inf
        self._lower_precision()
        self.optimiser = Optimiser(recipe, self.master)
        self.step = 0
        self._reader = ThreadPoolExecutor(1, "clips")
        self._ahead: tuple[int, Future[Batch]] | None = None

    def _fresh(self) -> Model:
        return fresh(self.recipe, self.start).to(self.device)

    def _lower_precision(self) -> None:
        to_precision(self.net, getattr(torch, self.recipe.precision))
        self._publish()

    def _now(self) -> list[Tensor]:
        """The weights, then what the network carries besides them."""
        state = self.net.state_dict() if self.carried else {}
        return [*self.master, *(state[name] for name in self.carried)]

    def _publish(self) -> None:
        with torch.no_grad():
            for p, m in zip(self.parameters.values(), self.master, strict=True):
                p.copy_(m)

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def _named(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        names = self.names if len(tensors) == len(self.names) else (*self.names, *self.carried)
        return dict(zip(names, tensors, strict=True))

    def save(self) -> None:
        """Write everything needed to resume, whole or not at all."""
        state: dict[str, Any] = {
            "step": self.step,
            "recipe": repr(self.recipe),
            **self.optimiser.state(),
        }
        state |= {"master": self._named(self._now()), "average": self._named(self.average)}
        state |= {"recent": [self._named(each) for each in self.recent]} if self.recent else {}
        state |= {"memories": self.memories.held} if self.memories else {}
        state |= {"best": self._named(self.best or self.average), "best_psnr": self.best_psnr}
        data = io.BytesIO()  # for what torch raises on a full disk is no error of the system
        torch.save(state, data)
        with whole_file(self.checkpoint) as part:
            part.write_bytes(data.getbuffer())

    def resume(self) -> bool:
        """Resume from the checkpoint in the output folder, if there is one of this recipe."""
        if not self.checkpoint.exists():
            return False
        state = read_checkpoint(self.checkpoint, self.recipe)
        for mine, kept in ((self._now(), state["master"]), (self.average, state["average"])):
            for name, a in self._named(mine).items():
                a.copy_(kept[name])
        for each in state.get("recent", ()):
            self.recent.append([t.to(self.device) for t in each.values()])
        if self.memories:
            self.memories.held = {k: t.to(self.device) for k, t in state["memories"].items()}
        self.best_psnr = state["best_psnr"]
        self.best = (
            [state["best"][n].to(self.device) for n in (*self.names, *self.carried)]
            if self.best_psnr > -math.inf
            else None
        )
        self.optimiser.load(state)
        self.step = state["step"]
        self._publish()
        return True

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights by name, float32: the best on the select clips, or the last if there are no select clips."""
        return {name: a.cpu() for name, a in self._named(self.best or self.average).items()}

    def learning_rate(self) -> float:
        """The rate of the next step."""
        return learning_rate(self.recipe, self.step)

    def _begin_stage(self, before: Task[Any], now: Task[Any]) -> None:
        """Reinitialise the optimiser, and the tensors that the previous task does not pass on."""
        anew = {n for n in (*self.names, *self.carried) if not before.leaves(self.net, n)}
        if before is now or not anew:
            return
        first = self._fresh().state_dict()
        for mine in (self._now(), self.average):
            for name, t in self._named(mine).items():
                if name in anew:
                    t.copy_(first[name])
        self.recent.clear()
        self.memories = Memories() if self.memories else None
        self.optimiser = Optimiser(self.recipe, self.master)
        self._publish()

    def _batch(self) -> Batch:
        """This step's batch; that of the next step is then read while this one is computed."""
        number, ahead = self._ahead or (-1, None)
        batch = ahead.result() if ahead and number == self.step else self._read(self.step)
        self._ahead = None
        if self.step + 1 < self.recipe.steps:
            self._ahead = self.step + 1, self._reader.submit(self._read, self.step + 1)
        return batch

    def _read(self, step: int) -> Batch:
        stage, _ = self.recipe.stage_at(step)
        task = TASKS[stage.task]
        return self.sampler.batch(
            step,
            stage.batch,
            stage.frames,
            stage.patch,
            self.spec.thumb if task.reads_thumbs else 0,
            undamaged=task.undamaged(self.recipe, self.spec),
            strong_from=self.recipe.strong_from,
        )

    def loss(self, stage: Stage, within: int) -> Tensor:
        """The loss of this step's batch; its gradients are left in the network."""
        task, recipe = TASKS[stage.task], self.recipe
        for name, p in self.parameters.items():
            p.requires_grad_(task.trains(name) and not is_frozen(recipe, name))
        batch = self._batch()
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.step)
        step = Step(recipe, stage, within, self.spec, generator, self.features, self.memories)
        loss: Tensor = task.loss(self.net, batch.to(self.device), step)
        return loss

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        stage, within = self.recipe.stage_at(self.step)
        if within == 0 and self.step:
            before, _ = self.recipe.stage_at(self.step - 1)
            self._begin_stage(TASKS[before.task], TASKS[stage.task])
        loss = self.loss(stage, within)
        loss.backward()  # type: ignore[no-untyped-call]
        for p, m in zip(self.parameters.values(), self.master, strict=True):
            m.grad = p.grad.float() if p.grad is not None else None
            p.grad = None
        if self.recipe.clip_gradient:
            nn.utils.clip_grad_norm_(self.master, self.recipe.clip_gradient)
        self.optimiser.step(self.learning_rate())
        self._publish()
        self._average()
        self.step += 1
        return float(loss.detach())

    def _average(self) -> None:
        """Take the weights after this step into the average."""
        now, recipe = self._now(), self.recipe
        if recipe.mean_of_last:
            if (self.step + 1) % recipe.select_every == 0:
                self.recent.append([t.clone() for t in now])
            for a, *each in zip(self.average, *(self.recent or [now]), strict=True):
                a.copy_(torch.stack([t.float() for t in each]).mean(0))
            return
        decay = min(recipe.ema, (1 + self.step) / (10 + self.step))
        weights = len(self.names)
        torch._foreach_lerp_(self.average[:weights], now[:weights], 1.0 - decay)
        for a, t in zip(self.average[weights:], now[weights:], strict=True):
            a.lerp_(t.to(a.dtype), 1.0 - decay) if a.is_floating_point() else a.copy_(t)

    def averaged_model(self) -> Loaded:
        """A copy of the network with the averaged weights, float32, as a conversion would open it."""
        net = copy.deepcopy(self.net).float().eval()
        net.load_state_dict(self._named(self.average))
        return Loaded(net, self.spec, None)

    def select(self) -> float | None:
        """PSNR of the averaged weights on the select clips; the best weights so far are kept."""
        if not self.chosen_on:
            return None
        mean = mean_psnr(self.averaged_model(), self.chosen_on, str(self.device))
        if mean > self.best_psnr:
            self.best_psnr, self.best = mean, [a.clone() for a in self.average]
        return mean

    def run(self, report: Callable[[Report], None], every: int = 50, save_every: int = 250) -> None:
        """Train to the recipe's end, reporting; reports are also kept in ``loss.csv``.

        Raises InputError if the loss or a weight is no number any more; the last checkpoint is then kept.
        """
        curves.keep(self.out, self.step)
        total, count, samples, since = 0.0, 0, 0, time.monotonic()
        while self.step < self.recipe.steps:
            stage, _ = self.recipe.stage_at(self.step)
            total, count, samples = (
                total + self.train_step(),
                count + 1,
                samples + stage.batch * stage.frames,
            )
            last = self.step == self.recipe.steps
            selects = TASKS[stage.task].makes_hdr and (
                self.step % self.recipe.select_every == 0 or last
            )
            saves = self.step % save_every == 0 or last
            if self.step % every == 0 or selects or saves:
                self._check_numbers(total)
                seconds = time.monotonic() - since
                said = Report(
                    step=self.step,
                    loss=total / count,
                    seconds=seconds / count,
                    samples=samples / seconds,
                    psnr=self.select() if selects else None,
                )
                curves.add(self.out, (said.step, said.loss, said.seconds, said.psnr))
                report(said)
                total, count, samples, since = 0.0, 0, 0, time.monotonic()
            if saves:
                self.save()

    def _check_numbers(self, loss: float) -> None:
        if math.isfinite(loss) and all(bool(m.isfinite().all()) for m in self.master):
            return
        kept = (
            f"The checkpoint before it is kept in {self.out}." if self.checkpoint.exists() else ""
        )
        raise InputError(
            f"Recipe {self.recipe.name} diverged by step {self.step}: its loss or weights are no numbers any more; lower "
            f"its learning_rate. {kept}".rstrip()
        )


def fresh(recipe: Recipe, start: Starts) -> Model:
    """The network at the start of a recipe, float32. Raises ModelError for its configuration, InputError if nothing fits."""
    torch.manual_seed(recipe.seed)
    spec = registry.spec(recipe.model, recipe.config)
    if not spec.has_weights:
        raise InputError(
            f"Recipe {recipe.name} trains nothing: model {recipe.model} has no weights; name a network."
        )
    net = registry.build(recipe.model, recipe.config).train()
    initialise(net, recipe.initial)
    mine = net.state_dict()
    for source in start:
        fits = {k: t for k, t in source.items() if k in mine and mine[k].shape == t.shape}
        if not fits:
            raise InputError(
                f"No tensor of the starting weight fits model {recipe.model}; leave `start` out."
            )
        net.load_state_dict(fits, strict=False)
    if recipe.scene_memory and not net.remembers:
        raise InputError(
            f"Recipe {recipe.name} has a scene_memory, and model {recipe.model} as configured has no state to carry from clip to "
            "clip; leave it out."
        )
    names = [name for name, _ in net.named_parameters()]
    for prefix in (recipe.frozen,) if isinstance(recipe.frozen, str) else recipe.frozen:
        if prefix and not any(name.startswith(prefix) for name in names):
            raise InputError(
                f"Recipe {recipe.name} freezes {prefix!r}, and no weight of model {recipe.model} begins so; correct `frozen`."
            )
    free = [name for name in names if not is_frozen(recipe, name)]
    if not free:
        raise InputError(
            f"Recipe {recipe.name} trains nothing: it freezes all weights of model {recipe.model}; freeze less."
        )
    for stage in recipe.stages:
        task = TASKS[stage.task]
        task.check(recipe, stage, spec)
        if not any(map(task.trains, free)):
            raise InputError(
                f"Recipe {recipe.name} freezes all that its stage of the task {stage.task} trains; freeze less."
            )
    return net


def is_frozen(recipe: Recipe, parameter: str) -> bool:
    """Whether the recipe leaves the parameter of that name as it starts."""
    return bool(recipe.frozen) and parameter.startswith(recipe.frozen)


def judged(frames: int, spec: ModelSpec) -> int:
    """The frame of a clip on which a model is judged: the last that has after it all the frames that the model sees, or in a
    clip that is too short the middle one. A network with memory carries it over all frames before."""
    return max(frames - 1 - spec.future, (frames - 1) // 2)


def mean_psnr(loaded: Loaded, clips: Sequence[Path], device: str) -> float:
    """Mean PSNR over clips, each rendered as a conversion renders a scene, of the frame that :func:`judged` chooses."""
    total = 0.0
    for path in clips:
        clip = read_clip(path)
        sdr = clip.sdr()
        frame = judged(len(sdr), loaded.spec)
        renderer = Renderer(
            loaded.model,
            loaded.spec,
            (sdr.shape[-2], sdr.shape[-1]),
            device=device,
            grade=Grade(clip.brightness if loaded.spec.greys else None),
        )
        *_, codes = render_scene(
            renderer, partial(iter, sdr), Run(0, frame + 1, 0, len(sdr), clip.known_qp)
        )
        total += psnr(codes, clip.hdr(slice(frame, frame + 1))[0])
    return total / len(clips)


def check(recipe: Recipe, out: Path, start: Starts) -> None:
    """Raise what :class:`Trainer` would raise for recipe, start and checkpoint, before the clips are made."""
    fresh(recipe, start)
    if (out / "checkpoint.pt").exists():
        read_checkpoint(out / "checkpoint.pt", recipe)


def read_checkpoint(path: Path, recipe: Recipe) -> dict[str, Any]:
    """A checkpoint of that recipe; raises InputError if it cannot be read or belongs to another recipe."""
    with open_regular(path, "a checkpoint that training wrote") as file:
        try:
            state = unpickle(file)
        except ValueError as e:
            raise InputError(f"{path} cannot be read as a checkpoint; {_ANEW}.") from e
    if not isinstance(state, dict) or _HELD - state.keys():
        raise InputError(f"{path} is no checkpoint of this version; {_ANEW}.")
    if state["recipe"] != repr(recipe):
        raise InputError(
            f"{path} belongs to another recipe than {recipe.name}; give the one it was trained with."
        )
    found: dict[str, Any] = state
    return found
