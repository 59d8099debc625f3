"""Charts of scores: by look, by QP, by scene."""

import io
from collections.abc import Mapping, Sequence

from sdr2hdr.evaluation.scores import Summary
from sdr2hdr.metrics.measures import Measure

MOST = 40
"""Maximum number of groups in a chart; tables and CSV have all of them."""


def has_matplotlib() -> bool:
    """Whether charts can be drawn."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    return True


def chart(
    title: str, by: str, found: Mapping[str, Mapping[str, Summary]], measures: Sequence[Measure]
) -> bytes:
    """A PNG with a panel a measure: means by group (as :func:`sdr2hdr.evaluation.scores.groups` gives them) and model.

    QPs stand on a line, everything else as bars. Needs matplotlib.
    """
    from matplotlib import pyplot as plt

    keys = [k for k in found if k != "all"][:MOST]
    models = list(found["all"])
    panels = [m for m in measures if any(m.key in s.mean for s in found["all"].values())]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    down = 3.2 if by == "qp" else 1.0 + 0.1 * len(keys) * (len(models) + 1)
    figure, axes = plt.subplots(
        rows, columns, figsize=(6.5 * columns, down * rows), layout="constrained", squeeze=False
    )
    figure.suptitle(title, fontsize=12)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for measure, axis in zip(panels, axes.flat, strict=False):
        better = "higher is better" if measure.higher else "lower is better"
        axis.set_title(f"{measure.title} ({better})", fontsize=10)
        for number, model in enumerate(models):
            means = [
                found[k][model].mean.get(measure.key, float("nan"))
                if model in found[k]
                else float("nan")
                for k in keys
            ]
            if by == "qp":
                axis.plot([int(k) for k in keys], means, marker="o", markersize=4, label=model)
                axis.set_xlabel("QP")
                axis.set_xticks([int(k) for k in keys])
            else:
                at = [
                    i + (number - (len(models) - 1) / 2) * 0.8 / len(models)
                    for i in range(len(keys))
                ]
                axis.barh(at, means, height=0.8 / len(models), label=model)
        if by != "qp":
            axis.set_yticks(range(len(keys)), keys, fontsize=8)
            axis.invert_yaxis()
            _tighten(axis, [found[k][m].mean.get(measure.key) for k in keys for m in found[k]])
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    plt.close(figure)
    return out.getvalue()


def _tighten(axis: object, values: Sequence[float | None]) -> None:
    """Let bars begin near the least value where all are much alike (SSIM), so that their differences show."""
    known = [v for v in values if v is not None]
    if known and min(known) > 0 and max(known) < 1.5 * min(known):
        low, high = min(known), max(known)
        margin = max(high - low, 1e-6) * 0.25
        axis.set_xlim(low - margin, high + margin)  # type: ignore[attr-defined]
