"""``loss.csv``, a line for each report of a training, and its plot ``loss.png``."""

import csv
import io
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sdr2hdr.errors import OutputError
from sdr2hdr.writing import whole_file, write_whole

Line = tuple[int, float, float, float | None]
"""A step, the loss, seconds a step, and PSNR on the select clips if it was measured."""


def add(out: Path, line: Line) -> None:
    """Append a report to ``loss.csv`` in a training's output folder. Raises OutputError."""
    path = out / "loss.csv"
    try:
        with path.open("a", encoding="utf-8", newline="") as f:
            f.write(_text([line]))
    except OSError as e:
        raise OutputError(
            f"{path} cannot be written ({e.strerror}); free space there, and the same command goes on."
        ) from e


def keep(out: Path, step: int) -> None:
    """Keep of ``loss.csv`` the reports up to ``step``: those that a resumed training does not make again."""
    path = out / "loss.csv"
    if path.exists():
        kept = [line for line in _read(path) if line[0] <= step]
        write_whole(path, _text(kept).encode(), overwrite=True)


def _text(lines: Iterable[Line]) -> str:
    text = io.StringIO()
    for step, loss, seconds, psnr in lines:
        csv.writer(text).writerow(
            [step, f"{loss:.6f}", f"{seconds:.3f}", "" if psnr is None else f"{psnr:.3f}"]
        )
    return text.getvalue()


def _read(path: Path) -> list[Line]:
    """The lines of ``loss.csv``, but those that a stop has cut."""
    lines = []
    with path.open(encoding="utf-8", errors="replace", newline="") as f:
        for row in csv.reader(f):
            with suppress(ValueError):
                step, loss, seconds, psnr = row
                lines.append(
                    (int(step), float(loss), float(seconds), float(psnr) if psnr else None)
                )
    return lines


def draw(out: Path) -> None:
    """``loss.png`` in a training's output folder from its ``loss.csv``; does nothing if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    lines = _read(out / "loss.csv")
    figure, left = plt.subplots(figsize=(8, 4.5), layout="constrained")
    left.plot([r[0] for r in lines], [r[1] for r in lines], color="tab:blue", linewidth=1)
    left.set(xlabel="step", ylabel="loss (mean of the last steps)")
    if all(r[1] > 0 for r in lines):  # with clean_weight the loss is already a logarithm
        left.set_yscale("log")
    scored = [(r[0], r[3]) for r in lines if r[3] is not None]
    if scored:
        right = left.twinx()
        right.plot(*zip(*scored, strict=True), color="tab:orange", marker="o", markersize=3)
        right.set_ylabel("PSNR on select clips, dB (orange)")
    with whole_file(out / "loss.png") as part:
        figure.savefig(part, dpi=110, format="png")
    plt.close(figure)
