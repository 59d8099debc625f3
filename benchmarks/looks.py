"""The calibration of the SDR looks: which HDR a grey SDR code comes from, for many draws of each look.

    python -m benchmarks.looks [--plot LOOKS.png] [--draws 200]

Prints nits by look (median, 10th and 90th percentile) beside what networks trained on graded television answer, and draws them.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks.command import parser
from sdr2hdr.data.grading import GRADED_CODES, GRADED_NITS, LOOKS, Master, render_sdr

CODES = np.linspace(0.1, 1.0, 37)


def undone(look: str, seed: int) -> np.ndarray:
    """Nits of a grey ramp at which one drawn look gives the SDR codes."""
    nits = torch.logspace(-2, 3, 3000)
    picture = nits.expand(1, 3, 1, -1).contiguous()
    sdr = render_sdr(Master(picture, 1000.0), look, np.random.default_rng(seed))[0, 1, 0]
    at = torch.searchsorted(sdr.contiguous(), torch.from_numpy(CODES).float()).clamp(max=2999)
    return nits[at].numpy()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--plot", type=Path)
    options.add_argument("--draws", type=int, default=200)
    args = options.parse_args()
    drawn = {look: np.array([undone(look, seed) for seed in range(args.draws)]) for look in LOOKS}
    print("code       " + "".join(f"{c:20.3f}" for c in CODES[::6]))
    print(
        "graded TV  "
        + "".join(f"{n:20.3g}" for n in np.interp(CODES[::6], GRADED_CODES, GRADED_NITS))
    )
    for look, found in drawn.items():
        low, mid, high = (np.percentile(found, p, axis=0)[::6] for p in (10, 50, 90))
        print(
            f"{look:11}"
            + "".join(
                f"{f'{m:.3g} ({a:.3g}-{b:.3g})':>20}"
                for a, m, b in zip(low, mid, high, strict=True)
            )
        )
    if args.plot:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        figure, panels = plt.subplots(
            2, 4, figsize=(14, 6.4), sharex=True, sharey=True, layout="constrained"
        )
        for panel, (look, found) in zip(panels.flat, drawn.items(), strict=True):
            panel.fill_between(
                CODES,
                *np.percentile(found, (10, 90), axis=0),
                alpha=0.3,
                label="10 to 90 % of draws",
            )
            panel.plot(CODES, np.median(found, axis=0), label="median")
            panel.plot(GRADED_CODES, GRADED_NITS, "k--", linewidth=1, label="graded television")
            panel.plot(CODES, 203 * CODES**2.4, "k:", linewidth=1, label="direct (BT.2408)")
            panel.set(title=look, yscale="log", ylim=(0.5, 1200), xlim=(0.1, 1))
        panels[0, 0].legend(fontsize=8)
        figure.supxlabel("SDR code of a grey")
        figure.supylabel("nits of the HDR that undoes it")
        figure.savefig(args.plot, dpi=80)


if __name__ == "__main__":
    main()
