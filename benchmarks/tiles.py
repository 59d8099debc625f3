"""Tiles against the whole frame, and the published memory against the token memory.

    python -m benchmarks.tiles [CLIP] [--model wmnet] [--weights FILE] [--picture DIFFERENCE.png]

A model without a weight is measured as training begins it. Prints the largest and the mean difference in PQ code values 0..1
over some frames, and writes the difference picture, 50 times enlarged, in which a seam would show as a line. For WMNet then how
much the picture changes when the remembered scene is another one, by frame size, for both forms of its memory.
"""

from pathlib import Path

import imageio.v3 as iio
import torch

from benchmarks.command import EXAMPLE, parser
from sdr2hdr.errors import ModelError
from sdr2hdr.media.source import Source
from sdr2hdr.models import registry
from sdr2hdr.models.model import Model
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.models.wmnet.network import WMNet
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.opened import open_model

TILES = (256, 320, 448)  # those that are wide enough for the model's overlap are taken
FRAMES = 4


def loaded(name: str, weights: str | None) -> tuple[Model, ModelSpec]:
    try:
        found = open_model(weights or name)
        return found.model, found.spec
    except ModelError:
        if weights is not None:
            raise
        torch.manual_seed(0)
        model = registry.build(name)
        for key, m in model.named_modules():
            if not isinstance(m, torch.nn.Conv2d):
                continue
            if name != "fmstfnet":
                torch.nn.init.kaiming_normal_(m.weight)
            if key.startswith("conv_last"):
                torch.nn.init.kaiming_normal_(m.weight)
                m.weight.data.mul_(0.03 if name == "fmstfnet" else 0.1)
        return model, registry.spec(name)


def render(
    model: Model, spec: ModelSpec, frames: torch.Tensor, tile: int, precision: str
) -> tuple[torch.Tensor, int]:
    size = frames.shape[-2], frames.shape[-1]
    r = Renderer(model, spec, size, device="cpu", precision=precision, tile=tile)
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
    options = parser(__doc__)
    options.add_argument("clip", type=Path, nargs="?", default=EXAMPLE)
    options.add_argument("--model", default="wmnet")
    options.add_argument("--weights")
    options.add_argument("--picture", type=Path)
    a = options.parse_args()
    name = a.model
    source = Source(a.clip)
    frames = torch.stack(
        [p.rgb() for i, p in zip(range(50), source.pictures(), strict=False) if i >= 50 - FRAMES]
    )
    for precision in ("float32", "bfloat16"):
        model, spec = loaded(name, a.weights)
        whole, _ = render(model, spec, frames, 1 << 20, precision)
        for tile in (t for t in TILES if t > 2 * spec.overlap):
            tiled, count = render(model, spec, frames, tile, precision)
            difference = (tiled - whole).abs()
            print(
                f"{name} {precision}, tiles of {tile} ({count}): max {difference.max():.5f}, mean {difference.mean():.6f}, "
                f"stated tolerance {spec.tolerance}"
            )
            if a.picture and precision == "float32" and count > 1 and not a.picture.exists():
                iio.imwrite(
                    a.picture,
                    (difference[-1].permute(1, 2, 0) * 50 * 255).clamp(0, 255).byte().numpy(),
                )
    for size in (64, 128, 256) if name == "wmnet" else ():
        effects = ", ".join(
            f"{form} {memory_effect(form, size):.2e}" for form in ("published", "tokens")
        )
        print(f"change by another remembered scene at {size}x{size}: {effects}")


if __name__ == "__main__":
    main()
