"""From a checkpoint to a bundled weight: the averaged weights in half precision, and their entry for ``weights.toml``."""

from collections.abc import Mapping
from pathlib import Path

from sdr2hdr.models import registry
from sdr2hdr.training.loop import read_checkpoint
from sdr2hdr.training.recipe import Recipe
from sdr2hdr.weights.manifest import BUNDLED, WeightEntry
from sdr2hdr.weights.save import save_weights

LICENCE = "Apache-2.0"


def export(
    checkpoint: Path, recipe: Recipe, folder: Path, *, data: str, commit: str, scores: Mapping[str, float | str]
) -> WeightEntry:
    """Write ``NAME.safetensors`` into ``folder`` from a checkpoint of that recipe and return its manifest entry."""
    state = read_checkpoint(checkpoint, recipe)
    config = {**registry.spec(recipe.model).config, **recipe.config}
    tensors = state["best"]
    path = folder / f"{recipe.name}.safetensors"
    sha256, size = save_weights(path, recipe.model, tensors, config, {"licence": LICENCE, "recipe": recipe.name})
    return WeightEntry(
        name=recipe.name,
        model=recipe.model,
        source=f"file:{path.name}",
        sha256=sha256,
        size=size,
        licence=LICENCE,
        data=data,
        recipe=f"training/recipes/{recipe.name}.toml, step {state['step']}",
        commit=commit,
        manifest=BUNDLED,
        config=config,
        scores=dict(scores),
        default=True,
    )
