"""``sdr2hdr models``: the list of models."""

from typing import Any

import click

from sdr2hdr.cli.screen import console, show_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def models(as_json: bool) -> None:
    """List the models with their requirements, weights and scores.

    PSNR is in dB on PQ values (higher is better). dE_ITP is the colour error of ITU-R BT.2124 (lower is better).

    \b
    Example:
      sdr2hdr models
    """
    facts = [_facts(name) for name in _names()]
    if as_json:
        show_json(facts)
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("model", "window", "parameters", "weight", "PSNR", "dE_ITP"):
        table.add_column(title, no_wrap=True)
    for title in ("licence", "paper"):
        table.add_column(title, overflow="fold")
    for f in facts:
        scores = f["scores"]
        cells = (
            f["name"],
            f"{f['past']}+{f['block']}+{f['future']}",
            f"{f['parameters'] / 1e6:.2f} M" if f["parameters"] else "-",
            f["weight"] or ("none yet" if f["has_weights"] else "needs none"),
            str(scores.get("psnr", "-")),
            str(scores.get("de_itp", "-")),
            f["licence"] or "-",
            f["paper"],
        )
        table.add_row(*(Text(cell) for cell in cells))
    terminal = console()
    terminal.print(table)
    terminal.print(
        "window: frames seen before + frames returned per call + frames seen after", style="dim"
    )


def _names() -> list[str]:
    from sdr2hdr.models import registry

    return registry.names()


def _facts(name: str) -> dict[str, Any]:
    import torch

    from sdr2hdr.models import registry
    from sdr2hdr.weights import manifest

    spec = registry.spec(name)
    weight = manifest.default_for(name) if spec.has_weights else None
    with torch.device("meta"):  # shapes without memory
        model = registry.build(name, weight.config if weight else None)
    return {
        "name": name,
        "title": spec.title,
        "paper": spec.paper,
        "past": spec.past,
        "block": spec.block,
        "future": spec.future,
        "has_weights": spec.has_weights,
        "parameters": sum(p.numel() for p in model.parameters()),
        "weight": weight.name if weight else None,
        "licence": weight.licence if weight else None,
        "scores": dict(weight.scores) if weight else {},
    }
