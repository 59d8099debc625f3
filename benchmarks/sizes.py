"""Peak memory and time by picture size: a model, made to do something, renders a few frames, each size in its own process.

    python benchmarks/sizes.py [--model fmstfnet] [--heights 270,540,1080,2160] [--tile whole] [--precision float32]

``--tile`` is an edge, ``whole`` (no tiles: how memory grows with the picture) or ``auto`` (what `convert` takes on this machine).
With ``--attention`` only FMSTFNet's hashed attention is measured, on features a quarter of each size, and beside it what the
scores of plain attention would take.
"""

import argparse
import subprocess
import sys

RENDER = """
import resource, sys, time, torch
from sdr2hdr.models import registry
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.renderer import Renderer, Run
keep_one_heap()
name, height, tile, precision, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
torch.manual_seed(0)
model, spec, size = registry.build(name), registry.spec(name), (height, height * 16 // 9)
for key, m in model.named_modules():
    if key.startswith("conv_last") and isinstance(m, torch.nn.Conv2d):
        torch.nn.init.normal_(m.weight, std=0.01)
edge = None if tile == "auto" else 1 << 20 if tile == "whole" else int(tile)
r = Renderer(model, spec, size, device="cpu", precision=precision, tile=edge)
frames = (torch.rand(3, *size) for _ in range(count))
start = time.process_time()
for _ in r.run(frames, Run(0, count, 0, count), r.new_states()):
    pass
seconds = (time.process_time() - start) / count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, seconds, len(r.tiles))
"""

ATTENTION = """
import resource, sys, time, torch
from sdr2hdr.models.hashing import HashedAttention
height = int(sys.argv[1]) // 4
maps = [torch.randn(1, 64, height, height * 16 // 9) for _ in range(3)]
layer = HashedAttention(64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
with torch.inference_mode():
    layer(maps[0], maps[1:])
seconds = time.process_time() - start
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, seconds, maps[0][0, 0].numel())
"""


def child(code: str, *args: object) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], check=True, capture_output=True, text=True)
    return [float(v) for v in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fmstfnet")
    parser.add_argument("--heights", default="270,540,1080,2160")
    parser.add_argument("--tile", default="whole")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--attention", action="store_true")
    a = parser.parse_args()
    for height in map(int, a.heights.split(",")):
        pixels = height * (height * 16 // 9)
        if a.attention:
            kib, seconds, places = child(ATTENTION, height)
            plain = places * 3 * places * 4 / 2**30
            print(
                f"{height}p, {places:.0f} places, three frames: {kib / 1024:.0f} MiB, {kib * 1024 / pixels:.0f} bytes a pixel, "
                f"{seconds:.2f} s; scores of plain attention alone {plain:.1f} GiB",
                flush=True,
            )
            continue
        kib, seconds, tiles = child(RENDER, a.model, height, a.tile, a.precision, a.frames)
        print(
            f"{a.model} {a.precision} {height}p, {tiles:.0f} tile{'s' if tiles > 1 else ''}: peak {kib / 1024:.0f} MiB, "
            f"{kib * 1024 / pixels:.0f} bytes a pixel, {seconds:.2f} s of processor time a frame",
            flush=True,
        )


if __name__ == "__main__":
    main()
