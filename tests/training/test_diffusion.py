"""HDR-V-Diff's stages: each trains its own part, and learns."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from frame_makers import RECIPE

from sdr2hdr.color.mulaw import mu_law
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.data.exposures import CYCLES, drawn
from sdr2hdr.data.store import Batch
from sdr2hdr.errors import InputError
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.measures import Meter, choose
from sdr2hdr.models import registry
from sdr2hdr.models.hdrvdiff.network import HDRVDiff
from sdr2hdr.training.diffusion import DIFFUSION_TASKS, DiffusionTask, loss
from sdr2hdr.training.loop import fresh
from sdr2hdr.training.recipe import RECIPES, read_recipe
from sdr2hdr.training.task import Step
from sdr2hdr.training.tasks import TASKS


def batch(frames: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(2, frames, 3, 8, 8, generator=generator)
    sdr = torch.nn.functional.interpolate(small.flatten(0, 1), 64, mode="bilinear").view(
        2, frames, 3, 64, 64
    )
    thumbs = torch.rand(2, frames, 3, 64, 64, generator=generator)
    return Batch(
        sdr,
        0.7 * sdr,
        sdr,
        thumbs,
        torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4),
        torch.full((2,), 2.5),
        torch.full((2,), 37.0),
    )


@pytest.mark.parametrize("task", DIFFUSION_TASKS, ids=lambda task: task.name)
def test_a_stage_trains_its_own_part_and_nothing_else(task: DiffusionTask) -> None:
    torch.manual_seed(0)
    net = HDRVDiff(2).train()
    for p in net.parameters():  # what begins as zeros would keep what lies before it from learning
        if not p.any():
            torch.nn.init.normal_(p, std=0.02)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for name, p in net.named_parameters():
        p.requires_grad_(task.trains(name))
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    given = batch(5 if task.name in ("temporal", "fusion") else 1)
    loss(net, task.name, given, torch.Generator().manual_seed(1)).backward()
    adam.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved and all(name.startswith(task.parts) for name in moved)
    assert (task.name == "fusion") == any("zica" in name or "prior_" in name for name in moved)
    for part in task.parts:
        if not any(name.startswith(part) for name in before):
            continue  # a part of the published form
        assert any(name.startswith(part) for name in moved)


@pytest.mark.parametrize("task", ["autoencoder", "diffusion"])
def test_a_stage_learns(task: str) -> None:
    torch.manual_seed(0)
    net = HDRVDiff(2).train()
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    seen = []
    for _ in range(25):
        adam.zero_grad()
        value = loss(net, task, batch(1), torch.Generator().manual_seed(3))
        value.backward()
        adam.step()
        seen.append(float(value.detach()))
    assert seen[-1] < 0.7 * seen[0]


@pytest.mark.parametrize("task", ["diffusion", "temporal"])
def test_a_stage_of_the_published_form_learns(task: str) -> None:
    recipe = read_recipe(RECIPES / "hdrvdiff-paper.toml")
    sizes = {"unet": 16, "widths": [8, 8, 16, 16], "groups": 4, "channels": [16, 16, 16]}
    net = fresh(replace(recipe, config={"form": "published", **sizes}), ())
    adam, seen = torch.optim.Adam(net.parameters(), lr=5e-3), []
    given = batch(1 if task == "diffusion" else 4)
    stage, spec = recipe.stages[0], registry.spec("hdrvdiff", "published")
    for _ in range(6):
        step = Step(recipe, stage, 0, spec, torch.Generator().manual_seed(3))
        adam.zero_grad()
        value = TASKS[task].loss(net, given, step)
        value.backward()
        adam.step()
        seen.append(float(value.detach()))
    assert seen[-1] < 0.7 * seen[0]


def test_the_published_form_is_not_trained_on_ordinary_sdr() -> None:
    recipe = replace(read_recipe(RECIPES / "hdrvdiff-paper.toml"), sdr_share=0.4)
    with torch.device("meta"), pytest.raises(InputError, match="give sdr_share = 0"):
        fresh(recipe, ())


def test_drawn_shots_follow_from_their_generator_and_are_of_the_known_cycles() -> None:
    codes = torch.full((1, 4, 3, 16, 16), 0.5)
    one, two = (drawn(codes, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one.frames, two.frames)
    times = one.exposures[0].tolist()
    assert any(set(times) <= set(cycle) for cycle in CYCLES) and len(set(times)) > 1


def test_psnr_t_is_psnr_in_the_mu_law_domain() -> None:
    a, b = torch.rand(3, 24, 24), torch.rand(3, 24, 24)
    values = Meter(choose(["psnr_t", "ssim_t"]).measures).add(a, b)
    assert values["psnr_t"] == pytest.approx(psnr(mu_law(pq_eotf(a)), mu_law(pq_eotf(b))))
    assert -1 < values["ssim_t"] < 1
    assert Meter(choose(["ssim_t"]).measures).add(a, a)["ssim_t"] == pytest.approx(1.0)


def test_a_recipe_of_its_stages_is_for_its_network_alone(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(RECIPE.replace('task = "masked"', 'task = "diffusion"'))
    with pytest.raises(
        InputError, match="a stage of the task diffusion, which model wmnet cannot do"
    ):
        fresh(read_recipe(path), {})
