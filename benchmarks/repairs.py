"""How much of the codec's damage repairing networks take back, by strength of compression.

    python -m benchmarks.repairs CLIPS [--models wmnet-fast,wmnet-deep,wmnet,didnet] [--every 1]

CLIPS is a folder of clips that `sdr2hdr train` made (RUN/clips/select). A model is a weight's name or a file, so that exports
of checkpoints make a learning curve. Measured is the middle frame of each clip against its undamaged SDR: by how many dB the
repaired frame is nearer to it than the source. *PQ* is the same of both as PQ codes of a screen of 250 nits, where dark areas
count for more. For clips that were never compressed it is the root mean square of the change, in codes of 255. A second table is
the blockiness of those PQ codes, beside that of the source and of the undamaged picture.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmarks.command import parser
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.data.store import clip_paths, read_clip
from sdr2hdr.errors import Sdr2HdrError
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.blocks import blockiness
from sdr2hdr.models.model import RepairingModel
from sdr2hdr.weights.opened import open_model

STEP = 5
"""QPs in a row of the table."""
SCREEN, GAMMA = 250.0, 2.4


def seen(codes: Tensor) -> Tensor:
    """PQ codes of SDR codes 0..1 on a screen of :data:`SCREEN` nits."""
    return pq_inverse_eotf(SCREEN * codes.clamp(0, 1) ** GAMMA)


@torch.inference_mode()
def repaired(net: RepairingModel, paths: list[Path]) -> dict[int, tuple[float, ...]]:
    """The clips' means by the lowest QP of their row: dB of SDR and of PQ, blockiness of the result, of the source and of the
    truth; for 0, without compression, the change."""
    found: dict[int, list[tuple[float, ...]]] = {}
    for path in paths:
        clip = read_clip(path)
        frames = clip.sdr()
        middle = len(frames) // 2
        qp = torch.tensor([clip.known_qp or torch.nan])
        result = net.restored_frames(frames[None], range(middle, middle + 1), qp)[0, 0].float()
        source, truth = frames[middle], clip.undamaged()[middle]
        if clip.qp:
            gain = psnr(result, truth) - psnr(source, truth)
            pictures = [seen(x) for x in (result, source, truth)]
            pq = psnr(pictures[0], pictures[2]) - psnr(pictures[1], pictures[2])
            row = found.setdefault(max(clip.qp // STEP * STEP, 1), [])
            row.append((gain, pq, *map(blockiness, pictures)))
        else:
            change = float((result - source).square().mean().sqrt()) * 255
            found.setdefault(0, []).append((change,))
    return {qp: tuple(map(fmean, zip(*rows, strict=True))) for qp, rows in sorted(found.items())}


def row_name(qp: int) -> str:
    """The name of the row that begins with a QP."""
    return f"{qp} to {qp // STEP * STEP + STEP - 1}"


def repairing(names: str, options: ArgumentParser) -> dict[str, RepairingModel]:
    """The networks of those names, with commas between them; ends the command if one repairs no SDR picture."""
    found = {}
    for name in names.split(","):
        net = open_model(name).model
        if not isinstance(net, RepairingModel):
            options.error(f"{name} repairs no SDR picture in front of a look")
        found[name] = net
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("clips", type=Path)
    options.add_argument("--models", default="wmnet-fast,wmnet-deep,wmnet,didnet", metavar="A,B,C")
    options.add_argument("--every", type=int, default=1)
    a = options.parse_args()
    paths = clip_paths(a.clips)[:: a.every]
    if not paths:
        options.error(f"{a.clips} holds no clips; `sdr2hdr train` makes them")
    columns = {name: repaired(net, paths) for name, net in repairing(a.models, options).items()}
    names = list(columns)
    print(f"| QP | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for qp in columns[names[0]]:
        cells = (columns[name][qp] for name in names)
        if qp == 0:
            row, texts = "none: change, codes", [f"{c[0]:.3f}" for c in cells]
        else:
            row = row_name(qp)
            texts = [f"{c[0]:+.2f} (PQ {c[1]:+.2f})" for c in cells]
        print(f"| {row} | {' | '.join(texts)} |")
    print(
        f"\n| blockiness | undamaged | source | {' | '.join(names)} |\n|---|---|---|{'---|' * len(names)}"
    )
    for qp in filter(None, columns[names[0]]):
        _, _, _, source, truth = columns[names[0]][qp]
        blocks = [truth, source, *(columns[name][qp][2] for name in names)]
        print(f"| {row_name(qp)} | {' | '.join(f'{b:.3f}' for b in blocks)} |")


if __name__ == "__main__":
    try:
        main()
    except Sdr2HdrError as e:
        sys.exit(f"Error: {e}")
