"""Each paper's recipe trains for 200 steps on a tiny copy of its data set's layout, as ``sdr2hdr train`` does it."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import tomlkit
import torch
from frame_makers import write_pairs, write_septuplets

from sdr2hdr.cli.main import main
from sdr2hdr.training.loop import Trainer
from sdr2hdr.training.papers import papers
from sdr2hdr.training.recipe import Recipe, read_recipe, recipe_path

STEPS = 200
NARROW: dict[str, tuple[dict[str, Any], int]] = {
    "didnet": ({"channels": 8, "offset_channels": 4, "condition": "2d"}, 7),
    "fmstfnet": ({"channels": 16, "high": [8], "chunk": 16, "rounds": 1}, 2),
    "hdrvdiff": (
        {
            "unet": 8,
            "multipliers": [1, 2],
            "widths": [8, 8, 8, 8],
            "groups": 2,
            "channels": [16, 16, 16],
            "steps": 1,
        },
        3,
    ),
    "kpnet": ({"channels": 8}, 1),
    "wmnet": ({"channels": 16, "blocks": 3}, 3),
}
"""Options that make a network narrow, and the frames of its clips."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training parts of the papers' data sets, each in its own layout."""
    folder = tmp_path_factory.mktemp("data")
    films = [f"film{s}/{n:04d}" for s in (1, 2) for n in range(1, 8)]
    scenes = [f"{s}/{n:03d}" for s in ("abp1_bamboo", "ugc2_sunroom") for n in range(4)]
    write_pairs(folder / "HDRTV1K", "train_sdr", "train_hdr", ["001", "002", "003"])
    write_pairs(folder / "HDRTV1K-films", "train_sdr", "train_hdr", films)
    write_pairs(folder / "FMSTF-films", "train_sdr", "train_hdr", films)
    write_pairs(folder / "HDRTV4KScene", "train_scene_sdr", "train_scene_hdr", scenes)
    write_septuplets(folder / "vimeo_septuplet")
    return folder


def narrow(name: str, folder: Path) -> Path:
    """The recipe of a paper for a narrow network, with few steps of two small patches each, in a file."""
    config, frames = NARROW[name]
    paper = recipe_path(Path(papers()[name].recipe))
    recipe = tomlkit.parse(paper.read_text())
    recipe["config"] = {"form": "published", **config}
    recipe.pop("start", None)  # Stable Diffusion's weights
    recipe["clips"] |= {"count": 4, "frames": frames, "height": 32, "width": 32, "select": 0}
    if recipe.get("perceptual") == "vgg19":
        recipe["perceptual"] = "look"
    stages = len(recipe["stages"])
    for number, stage in enumerate(recipe["stages"]):
        steps = STEPS * (number + 1) // stages - STEPS * number // stages
        few = min(stage["frames"], frames)
        stage |= {"steps": steps, "batch": 2, "frames": few, "patch": 16}
    path = folder / "narrow.toml"
    path.write_text(tomlkit.dumps(recipe))
    return path


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The losses of all steps that are trained."""
    found: list[float] = []
    step = Trainer.train_step

    def noted(trainer: Trainer) -> float:
        found.append(step(trainer))
        return found[-1]

    monkeypatch.setattr(Trainer, "train_step", noted)
    return found


def first_losses(recipe: Recipe, out: Path) -> list[float]:
    """The mean loss of the first batches, with the weights that training began with and with those it ended with."""
    trainer, means = Trainer(recipe, out / "clips", out), []
    for _ in range(2):
        found = []
        for trainer.step in range(16):
            with torch.no_grad():
                found.append(float(trainer.loss(recipe.stages[0], trainer.step)))
        means.append(fmean(found))
        assert trainer.resume()
    return means


@pytest.mark.parametrize("name", NARROW)
def test_a_paper_recipe_trains_for_200_steps_and_its_loss_falls(
    name: str, data: Path, losses: list[float], tmp_path: Path
) -> None:
    """A step of a whole network with its whole batch takes up to minutes on a CPU, and 200 take hours. So channels, batch
    and patch are small here, the look reader's features stand in for VGG19's, DIDNet's condition network is the
    two-dimensional one, and HDR-V-Diff's clips have three frames and its autoencoder nobody's weights. Tasks, stages, losses,
    initialisation, optimiser, schedule and clips are the recipe's. Noise hides what few steps of diffusion learn, so its loss
    is compared on the same batches with the same noise."""
    recipe, out = narrow(name, tmp_path), tmp_path / "run"
    corpus = data / papers()[name].train
    assert main(["train", str(recipe), "--corpus", str(corpus), "--out", str(out)]) == 0
    made = read_recipe(recipe)
    assert made.steps == len(losses) == STEPS and made.model == name
    for stage in made.stages:
        part, losses = losses[: stage.steps], losses[stage.steps :]
        third = stage.steps // 3
        if stage.task == "diffusion":
            before, after = first_losses(made, out)
            assert after < 0.995 * before
        else:
            assert fmean(part[-third:]) < 0.95 * fmean(part[:third]), stage.task


def test_a_missing_vgg19_is_named_before_clips_are_made(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    words = ["train", "fmstfnet-paper", "--corpus", str(data / "FMSTF-films")]
    assert main([*words, "--out", str(tmp_path / "run")]) == 3
    assert "cannot be read as VGG19's weights" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
