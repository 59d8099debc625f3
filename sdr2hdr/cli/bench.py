"""``sdr2hdr bench``: how fast this machine converts."""

from typing import Any

import click

from sdr2hdr.cli import values
from sdr2hdr.cli.screen import console, say, show_json
from sdr2hdr.options import by_key
from sdr2hdr.system import let_threads_sleep

SIZES = ("540p", "1080p", "2160p")
_SHORT = {
    "decode": "dec",
    "colour in": "in",
    "model": "model",
    "colour out": "out",
    "render": "render",
    "encode": "enc",
}
"""Stages and the headings of their columns."""


def _sizes(_ctx: click.Context, _param: click.Parameter, text: str) -> list[str]:
    sizes = [size.strip() for size in text.split(",")]
    for size in sizes:
        if size not in SIZES:
            raise click.BadParameter(
                f"There is no size {size!r}; give some of {', '.join(SIZES)}, with commas between."
            )
    return list(dict.fromkeys(sizes))


@click.command()
@click.option(
    "--models", default="look,wmnet-deep", show_default=True, callback=values.names, metavar="A,B,C",
    shell_complete=values.models, help="Models or named weights to measure.",
)  # fmt: skip
@click.option(
    "--sizes", default=",".join(SIZES), show_default=True, callback=_sizes, metavar="A,B,C",
    help="Picture sizes: 540p, 1080p, 2160p.",
)  # fmt: skip
@click.option(
    "--frames",
    default=8,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Frames per measurement.",
)
@click.option("--device", default="auto", show_default=True, help=by_key()["device"].about.help)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, with versions, instead of a table."
)
def bench(
    models: tuple[str, ...], sizes: list[str], frames: int, device: str, as_json: bool
) -> None:
    """Measure how fast this machine converts: each stage alone, and whole conversions of a synthetic moving picture.

    The device's peak is a bfloat16 matrix product, measured at the start. Close other programs first. More --frames give
    steadier figures.

    \b
    Examples:
      sdr2hdr bench
      sdr2hdr bench --models look,bt2446a,kpnet-light --sizes 1080p --json
    """
    let_threads_sleep()
    from sdr2hdr.bench import bench as run
    from sdr2hdr.options import DEFAULTS

    options = DEFAULTS.changed(device=device)
    found = run(
        models,
        sizes,
        frames=frames,
        options=options,
        progress=lambda what: say(f"Measuring {what} ..."),
    )
    if as_json:
        show_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    peak = found["peak"]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    screen = console()
    screen.print(f"{versions}; {found['machine']['threads']} threads")
    screen.print(
        f"{peak['device']} ({peak['name']}): {peak['operations'] / 1e12:.3g} TFLOP/s in bfloat16"
    )
    table = Table(box=None, padding=(0, 1, 0, 0))
    for title in ("size", "model"):
        table.add_column(title, no_wrap=True)
    for title in (*_SHORT.values(), "fps", "slowest", "peak", "GiB"):
        table.add_column(title, justify="right", no_wrap=True)
    for m in found["measured"]:
        memory = m["memory"] if m["gpu_memory"] is None else m["gpu_memory"]
        table.add_row(
            m["size"],
            m["model"],
            *(f"{m['stages'][stage] * 1e3:.3g}" for stage in _SHORT),
            f"{m['frames_per_second']:.3g}",
            f"{m['slowest']} {m['share']:.0%}",
            f"{m['of_peak']:.0%}" if m["operations"] else "-",
            "-" if memory is None else f"{memory / (1 << 30):.2f}",
        )
    screen.print(table)
    screen.print(
        "dec to enc: milliseconds per frame of each stage alone, from decode to encode; render: what a conversion does for in, "
        "model and out; fps (frames per second), slowest: of a whole conversion; "
        "peak: the model's share of the device's; GiB: peak memory"
    )
    for m in found["measured"]:
        time = (
            f"{m['film_hours']:.3g} hours"
            if m["film_hours"] >= 1
            else f"{m['film_hours'] * 60:.2g} minutes"
        )
        screen.print(f"A film of two hours at {m['size']} takes about {time} with {m['model']}.")
