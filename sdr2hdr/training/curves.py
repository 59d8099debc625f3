"""A plot of the loss and of the score on select clips, next to ``loss.csv``."""

import csv
from pathlib import Path

from sdr2hdr.writing import whole_file


def draw(out: Path) -> None:
    """``loss.png`` in a training's output folder from its ``loss.csv``; does nothing if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with (out / "loss.csv").open(newline="") as f:
        rows = [(int(r[0]), float(r[1]), float(r[3]) if r[3] else None) for r in csv.reader(f)]
    figure, left = plt.subplots(figsize=(8, 4.5), layout="constrained")
    left.plot([r[0] for r in rows], [r[1] for r in rows], color="tab:blue", linewidth=1)
    left.set(xlabel="step", ylabel="loss (mean of the last steps)")
    if all(r[1] > 0 for r in rows):  # with clean_weight the loss is already a logarithm
        left.set_yscale("log")
    scored = [(r[0], r[2]) for r in rows if r[2] is not None]
    if scored:
        right = left.twinx()
        right.plot(*zip(*scored, strict=True), color="tab:orange", marker="o", markersize=3)
        right.set_ylabel("PSNR on select clips, dB (orange)")
    with whole_file(out / "loss.png") as part:
        figure.savefig(part, dpi=110, format="png")
    plt.close(figure)
