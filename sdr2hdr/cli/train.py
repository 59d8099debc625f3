"""``sdr2hdr train`` and ``sdr2hdr evaluate``: weights from a corpus of HDR stills, and what they score."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table


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
    """Train a model by a recipe: a TOML file, or the name of one that comes with sdr2hdr (look, wmnet).

    The clips are made first and kept. Stopped at any step, the same command goes on from the last checkpoint.
    `sdr2hdr weights export` makes a weight file of the result.

    \b
    Example:
      sdr2hdr train wmnet --corpus hdri/ --out run/
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sdr2hdr.training import speed
    from sdr2hdr.training.corpus import Split
    from sdr2hdr.training.curves import draw
    from sdr2hdr.training.dataset import ClipMaker
    from sdr2hdr.training.loop import Report, Trainer
    from sdr2hdr.training.recipe import read_recipe, recipe_path
    from sdr2hdr.training.store import make_clips
    from sdr2hdr.weights.load import starting_tensors

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


@click.command()
@click.option(
    "--corpus", type=click.Path(path_type=Path), required=True, help="Folder of HDR stills with its manifest.json."
)
@click.option(
    "--models", default="bt2408,bt2446a,wmnet", show_default=True, help="Models or weights, with commas between."
)
@click.option(
    "--every", type=click.IntRange(1), default=1, show_default=True, help="Take every n-th simulated clip only."
)
@click.option("--precision", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@click.option("--json", "as_json", is_flag=True, help="All single scores as JSON on standard output.")
def evaluate(corpus: Path, models: str, every: int, precision: str, as_json: bool) -> None:
    """Measure models on the val scenes of a corpus: simulated clips by look and QP, and real SDR/HDR pairs.

    PSNR in dB on PQ codes, and mean dE_ITP.

    \b
    Example:
      sdr2hdr evaluate --corpus hdri/ --models bt2408,bt2446a,wmnet
    """
    from sdr2hdr.training.evaluate import load_for, real_pairs, simulated, table

    loaded = {name: load_for(name, precision) for name in models.split(",")}
    with Console(stderr=True).status("Measuring"):
        found = list(simulated(loaded, corpus, every=every))
        pairs = list(real_pairs(loaded, corpus))
    if as_json:
        click.echo(json.dumps([vars(s) for s in found + pairs]))
        return
    console = Console()
    for title, scores, by in (
        ("Simulated val clips, by look", found, "look"),
        ("Simulated val clips, by QP", found, "qp"),
        ("Real val pairs", pairs, "scene"),
    ):
        out = Table(title=title, title_justify="left")
        out.add_column(by)
        for name in loaded:
            out.add_column(f"{name}: PSNR dB / dE_ITP", justify="right")
        for key, row in table(scores, by).items():
            out.add_row(key, *(f"{p:.2f} / {d:.2f}" for p, d in row.values()))
        console.print(out)
