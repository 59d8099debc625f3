"""Peak memory and time by picture size: a model, made to do something, renders a few frames, each size in its own process.

    python -m benchmarks.sizes [--model fmstfnet] [--heights 270,540,1080,2160] [--tile whole] [--precision float32]

``--tile`` is an edge, ``whole`` (no tiles: how memory grows with the picture) or ``auto`` (what `convert` takes on this machine).
With ``--attention`` only FMSTFNet's hashed attention is measured, on features a quarter of each size, and beside it what the
scores of plain attention would take.
"""

import time

import torch

from benchmarks.command import parser
from benchmarks.cost import in_child, peak_mib
from sdr2hdr.models import registry
from sdr2hdr.models.fmstfnet.hashing import HashedAttention
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.renderer import Renderer, Run


def rendered(
    name: str, height: int, tile: str, precision: str, count: int
) -> tuple[float, float, int]:
    """Peak MiB, processor seconds a frame, and the number of tiles."""
    keep_one_heap()
    torch.manual_seed(0)
    model, spec, size = registry.build(name), registry.spec(name), (height, height * 16 // 9)
    for key, m in model.named_modules():
        if key.startswith("conv_last") and isinstance(m, torch.nn.Conv2d):
            torch.nn.init.normal_(m.weight, std=0.01)
    edge = None if tile == "auto" else 1 << 20 if tile == "whole" else int(tile)
    renderer = Renderer(model, spec, size, device="cpu", precision=precision, tile=edge)
    frames = (torch.rand(3, *size) for _ in range(count))
    since = time.process_time()
    for _ in renderer.run(frames, Run(0, count, 0, count), renderer.new_states()):
        pass
    return peak_mib(), (time.process_time() - since) / count, len(renderer.tiles)


@torch.inference_mode()
def attended(height: int) -> tuple[float, float, int]:
    """MiB beyond the features, processor seconds, and the number of places."""
    rows = height // 4
    maps = [torch.randn(1, 64, rows, rows * 16 // 9) for _ in range(3)]
    layer = HashedAttention(64)
    before, since = peak_mib(), time.process_time()
    layer(maps[0], maps[1:])
    return peak_mib() - before, time.process_time() - since, maps[0][0, 0].numel()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", default="fmstfnet")
    options.add_argument("--heights", default="270,540,1080,2160")
    options.add_argument("--tile", default="whole")
    options.add_argument("--precision", default="float32")
    options.add_argument("--frames", type=int, default=2)
    options.add_argument("--attention", action="store_true")
    a = options.parse_args()
    for height in map(int, a.heights.split(",")):
        pixels = height * (height * 16 // 9)
        if a.attention:
            mib, seconds, places = in_child(attended, height)
            plain = places * 3 * places * 4 / 2**30
            print(
                f"{height}p, {places} places, three frames: {mib:.0f} MiB, {mib * 2**20 / pixels:.0f} bytes a pixel, "
                f"{seconds:.2f} s; scores of plain attention alone {plain:.1f} GiB",
                flush=True,
            )
            continue
        mib, seconds, tiles = in_child(rendered, a.model, height, a.tile, a.precision, a.frames)
        print(
            f"{a.model} {a.precision} {height}p, {tiles} tile{'s' if tiles > 1 else ''}: peak {mib:.0f} MiB, "
            f"{mib * 2**20 / pixels:.0f} bytes a pixel, {seconds:.2f} s of processor time a frame",
            flush=True,
        )


if __name__ == "__main__":
    main()
