"""Tiles against the whole frame, and the published memory against the token memory.

    python benchmarks/tiles.py [CLIP] [--picture DIFFERENCE.png]

Prints the largest and the mean difference in PQ code values 0..1 over some frames, and writes the difference picture, 50 times
enlarged, in which a seam would show as a line. Then how much the picture changes when the remembered scene is another one,
by frame size, for both forms of WMNet's memory.
"""

import argparse
from pathlib import Path

import imageio.v3 as iio
import torch

from sdr2hdr import load_model
from sdr2hdr.media.source import Source
from sdr2hdr.models import registry
from sdr2hdr.models.wmnet import WMNet
from sdr2hdr.render.renderer import Renderer, Run

TILES = (256, 320, 448)
FRAMES = 4


def render(
    model: torch.nn.Module, name: str, frames: torch.Tensor, tile: int, precision: str
) -> tuple[torch.Tensor, int]:
    size = tuple(frames.shape[-2:])
    r = Renderer(model, registry.spec(name), size, device=torch.device("cpu"), precision=precision, tile=tile)
    run = Run(0, len(frames), 0, len(frames))
    return torch.stack(list(r.run(iter(frames), run, r.new_states()))), len(r.tiles)


def memory_effect(attention: str, size: int) -> float:
    """RMS change of the codes when memory holds another scene, with Kaiming-sized weights."""
    torch.manual_seed(0)
    model = WMNet(attention, "none").eval()
    for p in model.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.7 / p[0].numel() ** 0.5)
    frames = torch.rand(1, 2, 3, size, size)
    thumbs = torch.rand(1, 2, 3, 64, 64)
    out = []
    with torch.inference_mode():
        for level in (0.1, 0.9):
            seen = torch.full((1, 2, 3, size, size), level) + 0.1 * torch.rand(1, 2, 3, size, size)
            _, state = model(seen, {}, thumbs=torch.full((1, 2, 3, 64, 64), level))
            out.append(model(frames, state, thumbs=thumbs)[0][:, 0])
    return float((out[0] - out[1]).square().mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "clip", type=Path, nargs="?", default=Path(__file__).parent.parent / "examples" / "tears_of_steel.webm"
    )
    parser.add_argument("--picture", type=Path)
    a = parser.parse_args()
    name = "wmnet"
    with Source(a.clip) as source:
        frames = torch.stack([p.rgb() for i, p in zip(range(50), source.pictures(), strict=False) if i >= 50 - FRAMES])
    for precision in ("float32", "bfloat16"):
        whole, _ = render(load_model(name), name, frames, 1 << 20, precision)
        for tile in TILES:
            tiled, count = render(load_model(name), name, frames, tile, precision)
            difference = (tiled - whole).abs()
            print(
                f"{name} {precision}, tiles of {tile} ({count}): max {difference.max():.5f}, mean {difference.mean():.6f}, "
                f"stated tolerance {registry.spec(name).tolerance}"
            )
            if a.picture and precision == "float32" and tile == TILES[0]:
                iio.imwrite(a.picture, (difference[-1].permute(1, 2, 0) * 50 * 255).clamp(0, 255).byte().numpy())
    for size in (64, 128, 256):
        effects = ", ".join(f"{form} {memory_effect(form, size):.2e}" for form in ("published", "tokens"))
        print(f"change by another remembered scene at {size}x{size}: {effects}")


if __name__ == "__main__":
    main()
