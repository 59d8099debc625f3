"""Every stage of every recipe at its full size on another device than the CPU: nothing may stay on the CPU."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sdr2hdr.data.store import Batch
from sdr2hdr.models import registry
from sdr2hdr.models.parts.precision import to_precision
from sdr2hdr.training.loop import fresh
from sdr2hdr.training.memories import Memories
from sdr2hdr.training.perceptual import features
from sdr2hdr.training.recipe import RECIPES, Recipe, Stage, read_recipe
from sdr2hdr.training.task import Step
from sdr2hdr.training.tasks import TASKS

DEVICES = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]


def stages() -> Iterator[tuple[str, int]]:
    """Every recipe with the numbers of its stages that differ in task or in frames."""
    for path in sorted(RECIPES.glob("*.toml")):
        seen = set()
        for number, stage in enumerate(read_recipe(path).stages):
            if (stage.task, stage.frames) not in seen:
                yield path.stem, number
            seen.add((stage.task, stage.frames))


def batch_of(recipe: Recipe, stage: Stage, device: torch.device) -> Batch:
    """A batch of the stage. The brightness is where its values are, if the task reads them."""
    spec, size = registry.spec(recipe.model, recipe.config), (stage.batch, stage.frames, 3)
    side = spec.thumb if TASKS[stage.task].reads_thumbs else 0

    def some(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device)

    sdr, hdr, clean = (some(*size, stage.patch, stage.patch) for _ in range(3))
    place = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device).expand(stage.batch, 4)
    told = torch.full((stage.batch,), 2.5, device="cpu" if spec.brightness else device)
    scenes = tuple(f"scene{n % 2}" for n in range(stage.batch))
    qp = torch.full((stage.batch,), 37.0, device="cpu" if spec.qp else device)
    return Batch(sdr, hdr, clean, some(*size, side, side), place, told, qp, scenes)


@pytest.mark.usefixtures("vgg19")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "number"), list(stages()))
def test_a_stage_runs_on_a_device(name: str, number: int, device: str) -> None:
    where = torch.device(device)
    recipe = read_recipe(RECIPES / f"{name}.toml")
    if recipe.model == "hdrvdiff":  # one step of diffusion is as good as ten here
        given = {"form": recipe.config} if isinstance(recipe.config, str) else recipe.config
        recipe = replace(recipe, config={**given, "steps": 1})
    stage, spec = recipe.stages[number], registry.spec(recipe.model, recipe.config)
    with where:
        net = fresh(recipe, ())
    to_precision(net, getattr(torch, recipe.precision))
    task = TASKS[stage.task]
    for key, p in net.named_parameters():
        p.requires_grad_(task.trains(key))
    seen = features(recipe.perceptual).to(where) if recipe.perceptual_weight else None
    memories = Memories() if recipe.scene_memory else None
    step = Step(recipe, stage, 0, spec, torch.Generator().manual_seed(1), seen, memories)
    loss = task.loss(net, batch_of(recipe, stage, where), step)
    assert loss.shape == () and loss.device.type == device
    loss.backward()
    reached = {key for key, p in net.named_parameters() if p.grad is not None}
    assert reached and all(task.trains(key) for key in reached)
