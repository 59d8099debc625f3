"""How much the shape of a film's look varies over its scenes: nits of greys, with each scene alone and drawn to the film.

    python -m benchmarks.shots FILM [--brightness 2.5]

Takes one decode of the film for each row.
"""

from pathlib import Path

import torch

from benchmarks.command import parser
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.exports.reading import read_film
from sdr2hdr.options import Options

CODES = (0.25, 0.5, 0.75, 0.9, 1.0)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("film", type=Path)
    options.add_argument("--brightness", type=float, default=2.5)
    args = options.parse_args()
    print("| look of | scenes | " + " | ".join(f"code {c:g}" for c in CODES) + " |")
    print("|---|---|" + "---|" * len(CODES))
    for over in ("scene", "film"):
        o = Options(model="look", look_over=over, brightness=args.brightness, device="cpu")
        reading = read_film(args.film, o, lambda *_: None)
        looks = [look for look in reading.film.looks if look is not None]
        greys = torch.stack(
            [
                pq_eotf(reading.loaded.model.greys(torch.tensor(CODES), {"look": look[None]}))
                for look in looks
            ]
        )
        cells = [
            f"{float(column.mean()):.1f} ({float(column.min()):.1f} to {float(column.max()):.1f})"
            for column in greys.T
        ]
        print(
            f"| {'the scene' if over == 'scene' else 'scene and film'} | {len(looks)} | {' | '.join(cells)} |"
        )


if __name__ == "__main__":
    main()
