"""``sdr2hdr evaluate``: what models and results score."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table


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
