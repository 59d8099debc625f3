"""How much of its input KPNet's features hold: the paper's table 3.

    python -m sdr2hdr.training.held WEIGHT.safetensors --clips RUN/clips [--steps 10000]

The compressed SDR picture is made again of the features of full, half and quarter size, by pixel shuffles and one convolution
each, which are trained for it with L1 (section 5.3.1). The network itself stays as it is; the paper does not say whether it
does. The table has the mean squared errors after 500, 5000 and 10,000 steps. ``--clips`` is the folder that
`sdr2hdr train kpnet-paper` made.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sdr2hdr.data.store import Sampler
from sdr2hdr.errors import InputError, Sdr2HdrError
from sdr2hdr.models.kpnet.network import KPNet
from sdr2hdr.weights.opened import open_model

STEPS = (500, 5000, 10000)
RATE, BATCH, PATCH = 2e-4, 12, 160
"""As KPNet itself is trained (section 5.1)."""


def _head(channels: int, doublings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(doublings):
        layers += [nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1))


def held(
    net: KPNet,
    clips: Path,
    steps: Sequence[int] = STEPS,
    *,
    batch: int = BATCH,
    patch: int = PATCH,
    device: str = "cpu",
) -> Iterator[tuple[int, list[float]]]:
    """The mean squared errors of the pictures from full, half and quarter size after each of ``steps``, over a batch of patches.

    Raises InputError if there are no clips or if the network has one size alone.
    """
    sampler = Sampler(clips / "train", 0)
    if not sampler.paths:
        raise InputError(
            f"{clips} holds no training clips; `sdr2hdr train kpnet-paper` makes them from a corpus."
        )
    if net.blocks < 3:
        raise InputError("The network has one size alone; name a weight of kpnet.")
    net = net.float().to(device)
    torch.manual_seed(0)
    channels = net.conv_first.out_channels
    heads = nn.ModuleList(_head(channels, n) for n in range(net.blocks)).to(device)
    adam = torch.optim.Adam(heads.parameters(), lr=RATE)
    for step in range(1, max(steps) + 1):
        sdr = sampler.batch(step, batch, 1, patch, 0).sdr[:, 0].to(device)
        with torch.no_grad():
            features = net.scaled(net.head(sdr))
        errors = [head(f) - sdr for head, f in zip(heads, features, strict=True)]
        if step in steps:
            yield step, [e.detach().square().mean().item() for e in errors]
        adam.zero_grad()
        loss: Tensor = torch.stack([e.abs().mean() for e in errors]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weight", help="a weight of kpnet: a file, or the name of one")
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS[-1])
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    try:
        net = open_model(a.weight).model
        if not isinstance(net, KPNet):
            raise InputError(f"{a.weight} is no weight of KPNet, whose table 3 this is; name one.")
        print("| steps | full size | half size | quarter size |\n|---|---|---|---|", flush=True)
        steps = sorted({s for s in STEPS if s < a.steps} | {a.steps})
        for step, errors in held(net, a.clips, steps, device=a.device):
            print(f"| {step} | {' | '.join(f'{e:.6f}' for e in errors)} |", flush=True)
    except Sdr2HdrError as e:
        sys.exit(f"Error: {e}")


if __name__ == "__main__":
    main()
