"""WMNet's paper recipe on a tiny data set in the layout of `dataset crop`, and the rows of its tables."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from frame_makers import write_frames

from sdr2hdr.data.crop import crop
from sdr2hdr.data.footage import open_corpus
from sdr2hdr.data.paired import paired_scenes, sides
from sdr2hdr.data.store import make_clips
from sdr2hdr.models import registry
from sdr2hdr.training.ablation import ABLATIONS, read_variants
from sdr2hdr.training.loop import Trainer
from sdr2hdr.training.recipe import RECIPES, read_recipe


def test_the_paper_recipe_trains_both_phases_on_patches(tmp_path: Path) -> None:
    whole = write_frames(tmp_path / "set", scenes=2, frames=8, size=(64, 88))
    pairs = paired_scenes(*sides(whole))
    assert crop(pairs, tmp_path / "patches", size=40, step=40, progress=lambda *_: None) == 96
    recipe = read_recipe(RECIPES / "wmnet-paper.toml")
    made = recipe.clips
    maker = open_corpus(
        tmp_path / "patches", "train", size=(40, 40), frames=8, seed=0, exact=made.exact
    )
    make_clips(maker, tmp_path / "clips/train", range(4))
    stages = tuple(replace(s, steps=2, batch=2, frames=3, patch=32) for s in recipe.stages)
    short = replace(recipe.cut(stages), clips=replace(made, count=4))
    trainer = Trainer(short, tmp_path / "clips", tmp_path / "run")
    begun = [p.clone() for p in trainer.master]
    trainer.run(lambda _: None)
    ended = list(trainer.master)
    assert all(torch.isfinite(p).all() for p in ended)
    still = [k for k, a, b in zip(trainer.names, begun, ended, strict=True) if torch.equal(a, b)]
    # gradients of queries and keys round to zero, and as published nothing trains what writes the memory
    assert all(k.startswith(("memory.mq", "memory.mk", "memory.mem_prepare")) for k in still)
    assert trainer.memories is not None
    assert set(trainer.memories.held) <= {"s000", "s001"}  # scenes, not their patches
    assert {len(slots) for slots in trainer.memories.held.values()} == {2}
    json.dumps(registry.configuration(recipe.model, recipe.config))  # what a weight file says


def test_every_row_of_the_papers_tables_can_be_trained() -> None:
    rows = read_variants(ABLATIONS / "wmnet-paper.toml", 1000)
    assert {row.name.partition(":")[0] for row in rows} >= {"IV", "V", "VI", "VII", "VIII", "IX"}
    millions = {}
    with torch.device("meta"):
        for row in rows:
            size = {} if row.name.startswith("IV") else {"blocks": 3}
            config = registry.configuration(row.recipe.model, row.recipe.config) | size
            net = registry.build(row.recipe.model, config)
            millions[row.name] = sum(p.numel() for p in net.parameters()) / 1e6
            assert net.remembers == row.recipe.scene_memory or "ends with" in row.name
    table_iv = [round(m, 2) for name, m in millions.items() if name.startswith("IV")]
    assert table_iv == [1.30, 1.30, 1.35, 1.36]  # the paper's
    assert all(sum(s.steps for s in row.recipe.stages) == 1000 for row in rows)
