"""``sdr2hdr train``: weights from a corpus."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdr2hdr.cli import values
from sdr2hdr.cli.screen import console
from sdr2hdr.errors import OutputError
from sdr2hdr.writing import make_folder

if TYPE_CHECKING:
    from sdr2hdr.data.footage import Maker
    from sdr2hdr.data.splits import TrainingSplit
    from sdr2hdr.training.recipe import Recipe


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path), shell_complete=values.recipes)
@click.option(
    "--corpus",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of HDR stills, of paired frames (sdr and hdr) or of HDR films.",
)
@click.option(
    "--scenes",
    type=click.Path(path_type=Path),
    default=None,
    help="List of scenes; only its training scenes are used (paired frames).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the checkpoint, loss.csv and loss.png.",
)
@click.option(
    "--clips",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for the clips.  [default: OUT/clips]",
)
@click.option(
    "--start",
    multiple=True,
    help="Weight to start from besides the recipe's: a name or a .safetensors file. Its tensors count before theirs. Repeatable.",
)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
def train(
    recipe: Path,
    corpus: Path,
    scenes: Path | None,
    out: Path,
    clips: Path | None,
    start: tuple[str, ...],
    device: str,
) -> None:
    """Train a model from a recipe: a TOML file, or the name of a bundled recipe (look, wmnet, fmstfnet, hdrvdiff, ...).

    The clips are made first and kept. You can stop at any step; the same command then continues from the last checkpoint.
    `sdr2hdr weights export` turns the result into a weight file.

    \b
    Examples:
      sdr2hdr train wmnet --corpus hdri/ --out run/
      sdr2hdr train mine.toml --corpus HDRTV4K/ --scenes scenes.json --out run/
    """
    from sdr2hdr.training.recipe import read_recipe, recipe_path

    r = read_recipe(recipe_path(recipe))
    train_recipe(r, corpus, out, scenes=scenes, clips=clips, start=start, device=device)


def clip_makers(
    r: "Recipe", corpus: Path, scenes: Path | None = None
) -> "list[tuple[TrainingSplit, int, Maker]]":
    """What makes a recipe's clips of each split, and how many. Raises InputError for a corpus that cannot serve."""
    from sdr2hdr.data.footage import open_corpus

    parts: tuple[tuple[TrainingSplit, int], ...] = (
        ("train", r.clips.count),
        ("select", r.clips.select),
    )
    made = r.clips
    makers: list[tuple[TrainingSplit, int, Maker]] = []
    for split, n in parts:
        maker = open_corpus(
            corpus,
            split,
            size=(made.height, made.width),
            frames=made.frames,
            seed=made.seed,
            listed=scenes,
            mix=made.mix,
            damage=made.damage,
            exact=made.exact,
        )
        makers.append((split, n, maker))
    return makers


def train_recipe(
    r: "Recipe",
    corpus: Path,
    out: Path,
    *,
    scenes: Path | None = None,
    clips: Path | None = None,
    start: tuple[str, ...] = (),
    device: str = "cpu",
) -> None:
    """Make the clips of a recipe and train to its end, with progress on standard error; continue from a checkpoint in ``out``."""
    from filelock import FileLock, Timeout
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from sdr2hdr.data.store import claim, make_clips
    from sdr2hdr.models import registry
    from sdr2hdr.render.device import keep_one_heap, pick_device
    from sdr2hdr.training import speed
    from sdr2hdr.training.curves import draw
    from sdr2hdr.training.loop import Report, Trainer, check
    from sdr2hdr.training.perceptual import features
    from sdr2hdr.weights.starting import check_sources, starting_tensors

    keep_one_heap()
    device = str(pick_device(device))
    terminal = console(stderr=True)
    alone = registry.stands_alone(r.model, r.config)
    sources = (*r.starts, *start)
    check_sources(*sources, alone=alone)
    if r.perceptual_weight:
        features(r.perceptual)
    makers = clip_makers(r, corpus, scenes)  # what is wrong with it is found before a download
    tensors = starting_tensors(*sources, alone=alone)
    clips = clips or out / "clips"
    check(r, out, tensors)
    make_folder(out)
    try:
        lock = FileLock(out / "lock").acquire(timeout=0)
    except Timeout as e:
        raise OutputError(
            f"Another training writes to {out}; let it end, or name another folder."
        ) from e
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with lock, Progress(*columns, console=terminal) as progress:
        claim(clips, r.clips.kind)
        for split, count, maker in makers:
            if maker.scenes:
                task = progress.add_task(f"{split} clips", total=count, said="")
                for n in range(count):
                    make_clips(maker, clips / split, range(n, n + 1))
                    progress.update(task, completed=n + 1)
        trainer = Trainer(r, clips, out, device=device, start=tensors)
        went_on = trainer.resume()
        terminal.print(
            f"{'Going on at' if went_on else 'Starting at'} step {trainer.step} of {r.steps}"
        )
        if went_on and start:
            terminal.print(
                "--start counts at the first step alone; name another folder to start from it."
            )
        arithmetic = speed.share(trainer)
        task = progress.add_task("steps", total=r.steps, completed=trainer.step, said="")

        def show(said: Report) -> None:
            rate = (
                f"{said.samples:.1f} samples/s, {arithmetic(said.samples):.0%} of the device's peak"
            )
            chosen = "" if said.psnr is None else f", {said.psnr:.2f} dB on select clips"
            terminal.print(
                f"step {said.step}: loss {said.loss:.5f}, {said.seconds:.2f} s a step, {rate}{chosen}"
            )
            progress.update(task, completed=said.step, said="")
            draw(out)

        trainer.run(show)
