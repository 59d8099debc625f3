"""``sdr2hdr evaluate``: scores of models and results."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sdr2hdr.cli import values
from sdr2hdr.cli.screen import console, say, show_text
from sdr2hdr.color.grade import BRIGHTNESSES

if TYPE_CHECKING:
    from sdr2hdr.evaluation.scores import Score, Summary
    from sdr2hdr.metrics.measures import Measure


def _qps(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...]:
    try:
        qps = tuple(int(q) for q in value.split(",")) if value is not None else ()
    except ValueError as e:
        raise click.BadParameter("write whole numbers, such as 27,32,37,42.") from e
    if any(not 1 <= q <= 51 for q in qps):
        raise click.BadParameter("a QP is a whole number from 1 to 51.")
    return qps


def _check_protocol(
    what: Path | None, qps: tuple[int, ...], intra: bool, middle: int | None
) -> None:
    if (qps or middle) and (what is None or not what.is_dir()):
        raise click.UsageError("--qp and --middle are for folders of frames.")
    if intra and not qps:
        raise click.UsageError("--intra says how to compress: give --qp as well.")


@click.command()
@click.argument("what", type=click.Path(path_type=Path), required=False)
@click.argument("truth", type=click.Path(path_type=Path), required=False)
@click.option("--val", is_flag=True, help="Measure models on the val scenes of --corpus instead.")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of HDR stills, for --val.",
)
@click.option(
    "--models",
    default="bt2408,bt2446a,wmnet",
    show_default=True,
    callback=values.names,
    metavar="A,B,C",
    shell_complete=values.models,
    help="Models, named weights or .safetensors files that convert the SDR.",
)
@click.option(
    "--metrics",
    "wanted",
    default="quick",
    show_default=True,
    callback=values.names,
    metavar="quick|all|A,B,C",
    help="What to measure; docs/measuring.md defines each measure.",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="With --val: every n-th clip only.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=None,
    help="Measure only the first frames of each film or scene.",
)
@click.option(
    "--scenes", type=click.Path(path_type=Path), default=None, help="Only the scenes of this list."
)
@click.option(
    "--part",
    type=click.Choice(["train", "test", "all"]),
    default="test",
    show_default=True,
    help="Which scenes of the list.",
)
@click.option(
    "--exposures",
    default=None,
    metavar="CYCLE|FILE",
    help="Alternating exposures of the SDR (hdrvdiff): 1,1/4 or ev:0,-2, or a file with one exposure per frame.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for CSV, JSON, charts and worst frames.",
)
@click.option(
    "--worst",
    "most",
    type=click.IntRange(0),
    default=4,
    show_default=True,
    help="Number of worst frames per model, in --out.",
)
@click.option(
    "--brightness",
    type=values.Range(*BRIGHTNESSES),
    default=None,
    help="Brightness of the results.  [default: that of convert; with --val each part's own]",
)
@click.option(
    "--peak",
    type=values.Range(100, 10000),
    default=1000.0,
    show_default=True,
    help="Peak of the results in nits; 10000 only limits codes to 0..1, as papers do.",
)
@click.option(
    "--qp",
    "qps",
    default=None,
    callback=_qps,
    metavar="A,B,C",
    help="Compress the SDR frames with x265 at these QPs first (folders of frames).",
)
@click.option("--intra", is_flag=True, help="With --qp: code every picture alone.")
@click.option(
    "--middle",
    type=click.IntRange(3),
    default=None,
    help="Cut scenes into sets of this many frames and judge the middle frame of each.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Write into --out even if it holds files.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--precision", default="auto", show_default=True, help="auto, float32, bfloat16 or float16."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print everything as JSON, with single scores.",
)
def evaluate(
    what: Path | None, truth: Path | None, val: bool, corpus: Path | None, models: tuple[str, ...],
    wanted: tuple[str, ...], every: int, limit: int | None, scenes: Path | None, part: str, out: Path | None, most: int,
    exposures: str | None, brightness: float | None, peak: float, qps: tuple[int, ...], intra: bool,
    middle: int | None, overwrite: bool, device: str, precision: str, as_json: bool,
) -> None:  # fmt: skip
    """Measure a result, or the output of models, against an HDR truth.

    WHAT and TRUTH are two videos, or two folders of PNG frames (8 bits are SDR, 16 bits PQ). WHAT alone may be
    a data set that holds an SDR and an HDR folder. If there is no truth, flicker, warping error and blockiness are
    measured. SDR is first converted by each model. With --val, the models are measured on simulated clips by look
    and QP, on stills through ACES, and on real pairs.

    \b
    Examples:
      sdr2hdr evaluate converted.mkv truth.mkv
      sdr2hdr evaluate film-sdr.mp4 film-hdr.mkv --models bt2408,wmnet --out report/
      sdr2hdr evaluate HDRTV1K/test_sdr HDRTV1K/test_hdr --metrics all
      sdr2hdr evaluate --val --corpus hdri/
    """
    _check_protocol(what, qps, intra, middle)
    from sdr2hdr.evaluation.report import check_folder, write_report
    from sdr2hdr.evaluation.scores import to_json
    from sdr2hdr.evaluation.worst import Worst
    from sdr2hdr.metrics.measures import choose

    val = val or (corpus is not None and what is None)
    if val and (what is not None or corpus is None):
        raise click.UsageError(
            "--val measures the val scenes of a corpus: give --corpus FOLDER and no other file."
        )
    if not val and what is None:
        raise click.UsageError("Name what to measure: RESULT TRUTH, or --val with --corpus FOLDER.")
    try:
        chosen = choose(wanted)
    except ValueError as e:
        raise click.UsageError(str(e)) from e
    if out is not None:
        check_folder(out, overwrite)
    error = console(stderr=True)
    for key, why in chosen.absent.items():
        say(f"{key} is left out: {why}.")
    worst = Worst(most if out is not None else 0)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=error, transient=True) as bar:
        task = bar.add_task("Measuring", total=None)
        scores: list[Score]
        if corpus is not None and val:
            from sdr2hdr.evaluation.val import aces_pairs, converter, real_pairs, simulated
            from sdr2hdr.weights.opened import open_model

            loaded = {
                n: converter(open_model(n), brightness, device=device, precision=precision)
                for n in models
            }

            def show(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            scores = [
                *simulated(loaded, corpus, chosen.measures, worst, every=every, progress=show)
            ]
            scores += aces_pairs(loaded, corpus, chosen.measures, worst, every=every, progress=show)
            scores += real_pairs(loaded, corpus, chosen.measures, worst, progress=show)
        elif what is not None:
            from sdr2hdr.evaluation.films import measure
            from sdr2hdr.evaluation.protocols import protocol
            from sdr2hdr.evaluation.strips import pairings
            from sdr2hdr.jobs.exposures import read_exposures

            times = read_exposures(exposures)
            pairs = protocol(
                pairings(what, truth, scenes, part, times), qps, intra=intra, middle=middle
            )
            scores = list(
                measure(
                    pairs, models, chosen.measures, worst, limit=limit, device=device, precision=precision, peak=peak,
                    brightness=brightness, times=times,
                    progress=lambda at, done: bar.update(task, description=at, completed=done),
                )
            )  # fmt: skip
    if out is not None:
        for note in write_report(out, scores, chosen.measures, chosen.absent, worst):
            say(note)
    if as_json:
        show_text(to_json(scores, chosen.measures, chosen.absent))
        return
    _show(scores, chosen.measures)


def _show(scores: "Sequence[Score]", measures: "Sequence[Measure]") -> None:
    """Tables on standard output."""
    from sdr2hdr.evaluation.scores import GROUPINGS, parts_of

    terminal = console()
    for part, mine in parts_of(scores).items():
        _whole(terminal, part, mine, measures)
        for by in GROUPINGS:
            _grouped(terminal, f"{part}, by {by}", mine, measures, by)


def _whole(
    terminal: Console, title: str, scores: "Sequence[Score]", measures: "Sequence[Measure]"
) -> None:
    from sdr2hdr.evaluation.scores import models_of, summary

    names = models_of(scores)
    found = {name: summary([s for s in scores if s.model == name]) for name in names}
    table = Table(
        "measure",
        title=f"{title}: mean over frames (and their standard deviation)",
        title_justify="left",
    )
    for name in names:
        table.add_column(f"{name}, {found[name].frames} frames", justify="right")
    for m in measures:
        if any(m.key in f.mean for f in found.values()):
            table.add_row(
                f"{m.title} {'↑' if m.higher else '↓'}", *(_cell(f, m) for f in found.values())
            )
    terminal.print(table)


def _cell(found: "Summary", m: "Measure") -> str:
    if m.key not in found.mean:
        return "-"
    mean, std = found.mean[m.key], found.std[m.key]
    return f"{mean:.{m.digits}f}" + (f" ({std:.{m.digits}f})" if math.isfinite(std) else "")


def _grouped(
    terminal: Console, title: str, scores: "Sequence[Score]", measures: "Sequence[Measure]", by: str
) -> None:
    from sdr2hdr.evaluation.scores import groups

    found = groups(scores, by)
    if not found:
        return
    taken = {k for s in found["all"].values() for k in s.mean}
    shown = [m for m in measures if m.key in ("psnr", "de_itp") and m.key in taken]
    shown = shown or [m for m in measures if m.key in taken][:2]
    if not shown:
        return
    what = " / ".join(m.title for m in shown)
    table = Table(by, title=f"{title}: {what}", title_justify="left")
    for name in found["all"]:
        table.add_column(name, justify="right")
    for key, row in found.items():
        cells = [
            " / ".join(
                f"{row[n].mean[m.key]:.{m.digits}f}" if m.key in row[n].mean else "-" for m in shown
            )
            if n in row
            else "-"
            for n in found["all"]
        ]
        table.add_row(key, *cells)
    terminal.print(table)
