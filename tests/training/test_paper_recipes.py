"""The recipes and tables of the papers: each trains every part of its network, and every row of a table is a network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from frame_makers import write_frames, write_septuplets

from sdr2hdr.data.footage import open_corpus
from sdr2hdr.data.store import make_clips
from sdr2hdr.models import registry
from sdr2hdr.training.ablation import ABLATIONS, read_variants
from sdr2hdr.training.loop import Trainer
from sdr2hdr.training.recipe import RECIPES, Recipe, Stage, read_recipe
from sdr2hdr.training.tasks import TASKS

PAPERS = sorted(p.stem for p in RECIPES.glob("*-paper.toml"))
TABLES = sorted(p.stem for p in ABLATIONS.glob("*.toml"))

SMALL = {
    "hdrvdiff-paper": {
        "form": "published",
        "steps": 2,
        "unet": 16,
        "widths": [8, 8, 16, 16],
        "groups": 4,
        "channels": [16, 16, 16],
    }
}
"""Smaller sizes of a network that is too large to be trained in a test. tests/training/test_devices.py runs the stages of the
whole one with full batches on the meta device."""


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of frames in the folder ``pairs``, septuplets in the folder ``septuplets``."""
    folder = tmp_path_factory.mktemp("sets")
    write_frames(folder / "pairs", scenes=2, frames=8, size=(160, 176))
    write_septuplets(folder / "septuplets", (256, 448))
    return folder


def prepared(recipe: Recipe, frames: Path, out: Path) -> Recipe:
    """Two clips of the recipe, and the recipe for them."""
    clips = replace(recipe.clips, count=2, select=0)
    maker = open_corpus(
        frames / ("septuplets" if recipe.model == "hdrvdiff" else "pairs"),
        "train",
        size=(clips.height, clips.width),
        frames=clips.frames,
        seed=1,
        mix=clips.mix,
        damage=clips.damage,
        exact=clips.exact,
    )
    make_clips(maker, out / "train", range(2))
    return replace(recipe, clips=clips, config=SMALL.get(recipe.name, recipe.config))


def few(stage: Stage, recipe: Recipe) -> int:
    """The frames of a stage's clips that are enough to see every part of the network at work."""
    spec = registry.spec(recipe.model, recipe.config)
    return min(stage.frames, max(2, spec.past + spec.future + 1))


@pytest.mark.usefixtures("vgg19")
@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_recipe_trains_on_a_tiny_set(name: str, frames: Path, tmp_path: Path) -> None:
    recipe = prepared(read_recipe(RECIPES / f"{name}.toml"), frames, tmp_path)
    steps, stages = 1, recipe.stages
    if name == "hdrvdiff-paper":
        steps = 2  # its zeros let gradients pass from the second on
        stages = (replace(stages[0], task="autoencoder"), *stages)  # for Stable Diffusion's weights
    stages = tuple(
        replace(s, steps=steps, batch=1, patch=32, frames=few(s, recipe)) for s in stages
    )
    trainer = Trainer(recipe.cut(stages), tmp_path, tmp_path / "run")
    before = [p.clone() for p in trainer.master]
    trainer.run(lambda _: None)
    assert all(torch.isfinite(p).all() for p in trainer.master)
    moved = [
        not torch.equal(a, b)
        for key, a, b in zip(trainer.names, before, trainer.master, strict=True)
        if any(TASKS[s.task].trains(key) for s in stages)
    ]
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_a_table_is_a_network(name: str) -> None:
    variants = read_variants(ABLATIONS / f"{name}.toml", 300)
    assert any(variant.paper for variant in variants) == name.endswith("-paper")
    for variant in variants:
        with torch.device("meta"):
            registry.build(variant.recipe.model, variant.recipe.config)
        config = registry.spec(variant.recipe.model, variant.recipe.config).config
        assert not name.endswith("-paper") or config["base"] == "none"


def test_didnet_has_its_paper_parameters_in_both_rows_of_table_seven() -> None:
    rows = [v for v in read_variants(ABLATIONS / "didnet-paper.toml", 300) if "VII" in v.name]
    counts = [
        sum(p.numel() for p in registry.build(v.recipe.model, v.recipe.config).parameters())
        for v in rows
    ]
    assert counts == [counts[0]] * 2 and counts[0] == pytest.approx(527_000, rel=0.01)
