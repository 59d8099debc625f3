"""``sdr2hdr reproduce``: a paper's training and evaluation, and its tables with our values beside the paper's."""

import math
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table as Screen

from sdr2hdr.cli.screen import console, say

if TYPE_CHECKING:
    from sdr2hdr.data.paired import PairedScene
    from sdr2hdr.training.papers import Measured, Paper, Run


def names() -> list[str]:
    """The networks whose papers can be reproduced; torch stays out of it."""
    import tomllib

    return list(tomllib.loads((files("sdr2hdr") / "training/papers.toml").read_text("utf-8")))


@click.command()
@click.argument("paper", type=click.Choice(names()))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder that holds the paper's data sets, each in a folder of its own name.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for clips, checkpoints, weights and results.  [default: reproduced-PAPER, with the steps if you give them]",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=None,
    help="Rehearse with about this many training steps instead of the recipe's.",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    default=None,
    help="Train this recipe instead of the paper's; the evaluation stays the same.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=None,
    help="Measure only the first frames of each scene.",
)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
def reproduce(
    paper: str,
    data: Path,
    out: Path | None,
    steps: int | None,
    recipe: Path | None,
    limit: int | None,
    device: str,
) -> None:
    """Train a network as its paper does, measure it as the paper does, and print the paper's tables with our values.

    If you stop the command, the same command continues. docs/datasets.md says which folders --data must hold. A test set
    that is missing is named, and its table shows the paper's values alone. --out gets the weights and results.json.

    \b
    Examples:
      sdr2hdr reproduce wmnet --data datasets/ --device cuda
      sdr2hdr reproduce wmnet --data datasets/ --steps 200
    """
    from sdr2hdr.cli.train import clip_makers
    from sdr2hdr.models.registry import stands_alone
    from sdr2hdr.render.device import pick_device
    from sdr2hdr.training.papers import (
        measured,
        measured_pairs,
        papers,
        rehearsal,
        runs,
        training_set,
        write_results,
    )
    from sdr2hdr.training.recipe import read_recipe, recipe_path
    from sdr2hdr.weights.starting import check_sources

    pick_device(device)
    of = papers()[paper]
    out = out or Path(f"reproduced-{paper}" + (f"-{steps}-steps" if steps else ""))
    whole = read_recipe(recipe_path(recipe or Path(of.recipe)))
    made = whole if steps is None else rehearsal(whole, steps)
    check_sources(*made.starts, alone=stands_alone(made.model, made.config))
    corpus = training_set(data, of)
    for table in of.tables:  # what is damaged is found before the training, not after it
        measured_pairs(data, table)
    if of.crop:
        scenes = _training_scenes(corpus)
    else:
        clip_makers(made, corpus)
    _begin(out, corpus)
    if of.crop:
        corpus = _patches(scenes, out / "patches", of.crop)
    results = []
    for run in runs(of, made):
        weight = _train(run, corpus, out / run.name, device)
        for found in measured(run.tables, data, weight, device=device, limit=limit):
            _show(of, found, f"{run.recipe.name}, {run.recipe.steps} of {whole.steps} steps")
            results.append(_facts(of, found))
    write_results(out, {"paper": paper, "steps": made.steps, "of": whole.steps, "tables": results})


def _begin(out: Path, corpus: Path) -> None:
    """Note in ``out`` what it is made of. Raises InputError if it was begun with another data set."""
    from sdr2hdr.errors import InputError
    from sdr2hdr.writing import note_down

    name = os.fsencode(corpus.resolve())
    before = note_down(out / "data.txt", name, "the name of a data set")
    if before != name:
        raise InputError(
            f"{out} was begun with {os.fsdecode(before)}, and its clips are made of that; name another folder with --out."
        )


def _training_scenes(corpus: Path) -> Sequence["PairedScene"]:
    from sdr2hdr.data.paired import paired_scenes, sides, with_compressed

    sdr, hdr = sides(corpus, "train")
    return with_compressed(paired_scenes(sdr, hdr), sdr)


def _patches(scenes: Sequence["PairedScene"], out: Path, size: int) -> Path:
    """The folder of the training patches of a data set, which are cut unless they are there."""
    from sdr2hdr.data.crop import crop

    if not out.exists():
        say(f"Cutting patches of {size} pixels.")
        crop(scenes, out, size=size)
    return out


def _train(run: "Run", corpus: Path, out: Path, device: str) -> Path:
    """Train a weight to the end of its recipe, or what is left of it, and return its file."""
    from sdr2hdr.cli.train import train_recipe
    from sdr2hdr.training.export import export

    train_recipe(run.recipe, corpus, out, device=device)
    export(out / "checkpoint.pt", run.recipe, out, data=corpus.name, commit="unknown", scores={})
    return out / f"{run.recipe.name}.safetensors"


def _show(paper: "Paper", found: "Measured", what: str) -> None:
    """A table on standard output, and the notes on standard error."""
    from sdr2hdr.metrics.measures import MEASURES

    table = found.table
    columns = {f"{name} (paper)": values for name, values in table.rows.items()}
    if found.frames:
        columns |= {f"ours: {what}, {found.frames} frames": dict(found.values)}
    title = f"{paper.title}, {table.name}, on {table.set}"
    screen = Screen("measure", title=title, title_justify="left")
    for name in columns:
        screen.add_column(name, justify="right")
    for key in table.measures:
        m = MEASURES[key]
        cells = (f"{v[key]:.{m.digits}f}" if key in v else "-" for v in columns.values())
        screen.add_row(f"{m.title} {'↑' if m.higher else '↓'}", *cells)
    console().print(screen)
    for note in found.notes:
        say(note)


def _facts(paper: "Paper", found: "Measured") -> dict[str, object]:
    return {
        "table": found.table.name,
        "set": found.table.set,
        "frames": found.frames,
        "ours": {k: v if math.isfinite(v) else None for k, v in found.values.items()},
        "paper": found.table.rows.get(paper.ours, {}),
        "notes": list(found.notes),
    }
