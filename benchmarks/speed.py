"""How well the machine is used: stages that overlap, and the network's arithmetic against bare convolutions.

    python benchmarks/speed.py [CLIP]

Times are of this machine at this moment; the ratios are what to quote. GFLOP counts a multiply-add as two operations.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from sdr2hdr import convert, load_model
from sdr2hdr.models import registry
from sdr2hdr.models.layers import thumbnail
from sdr2hdr.render.device import pick_precision
from sdr2hdr.render.renderer import prepared

SIZE, FRAMES, RUNS = (332, 800), 4, 5


def convolutions(model: nn.Module, run) -> list[tuple[nn.Conv2d, torch.Size]]:
    """Every 2-D convolution a run calls, with its input's shape."""
    called: list[tuple[nn.Conv2d, torch.Size]] = []
    hooks = [
        m.register_forward_pre_hook(lambda m, x: called.append((m, x[0].shape)))
        for m in model.modules()
        if isinstance(m, nn.Conv2d)
    ]
    run()
    for h in hooks:
        h.remove()
    return called


def best(run) -> float:
    times = []
    for _ in range(RUNS):
        since = time.perf_counter()
        run()
        times.append(time.perf_counter() - since)
    return min(times)


@torch.inference_mode()
def arithmetic(name: str) -> None:
    spec, cpu = registry.spec(name), torch.device("cpu")
    precision = pick_precision("auto", spec, cpu)
    model = prepared(load_model(name), cpu, precision)
    frames = torch.rand(1, FRAMES, 3, *SIZE)
    thumbs = thumbnail(frames, spec.thumb) if spec.thumb else None

    def whole() -> None:
        model(frames, model.new_state(SIZE), thumbs=thumbs)

    called = convolutions(model, whole)
    dtype = next(model.parameters()).dtype
    inputs = {s: torch.rand(s).to(dtype, memory_format=torch.channels_last) for _, s in called}

    def bare() -> None:
        for m, shape in called:
            F.conv2d(inputs[shape], m.weight, m.bias, m.stride, m.padding, groups=m.groups)

    work = sum(2 * m.weight.numel() * (s[2] // m.stride[0]) * (s[3] // m.stride[1]) * s[0] for m, s in called)
    a, b = best(whole), best(bare)
    took = f"{a / FRAMES * 1e3:.0f} ms a frame, {work / a / 1e9:.0f} GFLOP/s"
    print(f"{name} in {precision}, {FRAMES} frames of {SIZE[1]}x{SIZE[0]}: {took}")
    print(
        f"bare convolutions of the same shapes: {work / b / 1e9:.0f} GFLOP/s; ratio {b / a:.2f} (asked: at least 0.6)"
    )


def overlap(clip: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = convert(clip, Path(folder) / "out.mkv", name)
    stage, seconds = max(report.busy.items(), key=lambda item: item[1])
    busy = ", ".join(f"{k} {v:.1f} s" for k, v in report.busy.items())
    print(f"{name} on {clip.name}: {report.frames_per_second:.2f} frames/s; at work: {busy}")
    share = seconds / report.render_seconds
    print(f"slowest stage ({stage}) over rendering's wall time: {share:.2f} (asked: at least 0.85)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "clip", type=Path, nargs="?", default=Path(__file__).parent.parent / "examples" / "tears_of_steel.webm"
    )
    parser.add_argument("--model", default="wmnet")
    a = parser.parse_args()
    arithmetic(a.model)
    overlap(a.clip, a.model)


if __name__ == "__main__":
    main()
