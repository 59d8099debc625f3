"""``sdr2hdr train``: weights from a corpus of HDR stills."""

from pathlib import Path

import click
from rich.console import Console


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--corpus", type=click.Path(path_type=Path), required=True, help="Folder of HDR stills with its manifest.json."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for checkpoint, loss.csv and loss.png."
)
@click.option(
    "--clips", type=click.Path(path_type=Path), default=None, help="Folder for the clips.  [default: OUT/clips]"
)
@click.option(
    "--start", default=None, help="Weight to begin with instead of the recipe's: a name or a .safetensors file."
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
def train(recipe: Path, corpus: Path, out: Path, clips: Path | None, start: str | None, device: str) -> None:
    """Train a model by a recipe: a TOML file, or the name of one that comes with sdr2hdr (look, wmnet, fmstfnet).

    The clips are made first and kept. Stopped at any step, the same command goes on from the last checkpoint.
    `sdr2hdr weights export` makes a weight file of the result.

    \b
    Example:
      sdr2hdr train wmnet --corpus hdri/ --out run/
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sdr2hdr.render.device import keep_one_heap
    from sdr2hdr.training import speed
    from sdr2hdr.training.corpus import Split
    from sdr2hdr.training.curves import draw
    from sdr2hdr.training.dataset import ClipMaker
    from sdr2hdr.training.loop import Report, Trainer
    from sdr2hdr.training.recipe import read_recipe, recipe_path
    from sdr2hdr.training.store import make_clips
    from sdr2hdr.weights.load import starting_tensors

    keep_one_heap()
    console = Console(stderr=True)
    r = read_recipe(recipe_path(recipe))
    begin = start or r.start
    tensors = starting_tensors(begin) if begin else None
    clips = clips or out / "clips"
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console) as progress:
        parts: tuple[tuple[Split, int], ...] = (("train", r.clips.count), ("select", r.clips.select))
        for split, count in parts:
            task = progress.add_task(f"{split} clips", total=count, said="")
            maker = ClipMaker(
                corpus, split, size=(r.clips.height, r.clips.width), frames=r.clips.frames, seed=r.clips.seed
            )
            if maker.stills:
                for n in range(count):
                    make_clips(maker, clips / split, range(n, n + 1))
                    progress.update(task, completed=n + 1)
        trainer = Trainer(r, clips, out, device=device, start=tensors)
        went_on = trainer.resume()
        console.print(f"{'Going on at' if went_on else 'Starting at'} step {trainer.step} of {r.steps}")
        arithmetic = speed.share(trainer)
        task = progress.add_task("steps", total=r.steps, completed=trainer.step, said="")

        def show(said: Report) -> None:
            rate = f"{said.samples:.1f} samples/s, {arithmetic(said.samples):.0%} of the device's peak"
            chosen = "" if said.psnr is None else f", {said.psnr:.2f} dB on select clips"
            console.print(f"step {said.step}: loss {said.loss:.5f}, {said.seconds:.2f} s a step, {rate}{chosen}")
            progress.update(task, completed=said.step, said="")
            draw(out)

        trainer.run(show)
