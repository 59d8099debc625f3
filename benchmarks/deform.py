"""Deformable convolution: plain torch against torchvision's operator; modulated kernels against modulated features.

    python -m benchmarks.deform [--device cuda] [--size 64x64] [--batch 8]

torchvision is timed where it loads beside this torch. Times are of this machine at this moment; the best of five runs.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.command import parser
from benchmarks.cost import least
from sdr2hdr.models.didnet.condition import ModulatedConv, Modulation
from sdr2hdr.models.parts.deform import deform_conv2d, torchvision_operator

CHANNELS, GROUPS, RUNS = 48, 21, 5


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Processor time on a CPU, so that other programs do not count; wall time on a GPU."""

    def finished() -> None:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return least(
        finished, times=RUNS, clock=time.process_time if device.type == "cpu" else time.perf_counter
    )[0]


def given(
    dtype: torch.dtype, device: torch.device, batch: int, height: int, width: int
) -> list[Tensor]:
    torch.manual_seed(0)
    x = torch.rand(batch, GROUPS, height, width)
    offset, mask = (
        2 * torch.randn(batch, 18 * GROUPS, height, width),
        torch.rand(batch, 9 * GROUPS, height, width),
    )
    weight, bias = torch.randn(CHANNELS, GROUPS, 3, 3) / (9 * GROUPS) ** 0.5, torch.randn(CHANNELS)
    last = torch.channels_last
    moved = [
        t.to(device, dtype)
        for t in (offset.to(memory_format=last), mask.to(memory_format=last), weight, bias)
    ]
    return [x.to(device), *(t.requires_grad_() for t in moved)]


def gradients(forward: Callable[[], Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(forward().float().square().mean(), inputs)


def deformable(dtype: torch.dtype, device: torch.device, shape: tuple[int, int, int]) -> None:
    results = {}
    for operator in ("torch", "torchvision"):
        if operator == "torchvision" and torchvision_operator() is None:
            print("torchvision does not load beside this torch")
            continue
        x, offset, mask, weight, bias = given(dtype, device, *shape)
        inputs = (offset, mask, weight, bias)

        forward = partial(deform_conv2d, x, *inputs, operator=operator)
        both = partial(gradients, forward, inputs)
        results[operator] = [forward().detach().float(), *(g.float() for g in both())]
        with torch.no_grad():
            alone = seconds(forward, device)
        print(
            f"{operator} {dtype}: forward {1e3 * alone:.1f} ms, with gradients {1e3 * seconds(both, device):.1f} ms"
        )
    if len(results) == 2:
        gaps = [float((a - b).abs().max()) for a, b in zip(*results.values(), strict=True)]
        names = ("result", "d offset", "d mask", "d weight", "d bias")
        print(
            "largest differences:",
            ", ".join(f"{n} {g:.1e}" for n, g in zip(names, gaps, strict=True)),
        )


@torch.inference_mode()
def modulated(dtype: torch.dtype, device: torch.device) -> None:
    torch.manual_seed(0)
    for height, width in ((270, 480), (540, 960), (1080, 1920)):
        conv = ModulatedConv(CHANNELS).to(device, dtype)
        x = torch.rand(1, CHANNELS, height, width, device=device).to(
            dtype, memory_format=torch.channels_last
        )
        m = Modulation(
            *(0.1 * torch.randn(1, CHANNELS, device=device, dtype=dtype) for _ in range(3))
        )
        kernel, features = (seconds(partial(way, x, m), device) for way in (conv, conv.by_features))
        gap = float((conv(x, m) - conv.by_features(x, m)).abs().max())
        # eq. 13 against eq. 12: two products and a sum a number, of the kernel or of the features before and after
        work = [3 * 9 * CHANNELS**2, 3 * CHANNELS * height * width]
        print(
            f"{width}x{height} {dtype}: kernel {1e3 * kernel:.1f} ms, features {1e3 * features:.1f} ms, differ by {gap:.1e}; "
            f"modulation {work[0] / 1e6:.3f} against {work[1] / 1e6:.1f} million operations"
        )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--device", default="cpu")
    options.add_argument("--size", default="64x64")
    options.add_argument("--batch", type=int, default=8)
    a = options.parse_args()
    device = torch.device(a.device)
    width, height = (int(n) for n in a.size.split("x"))
    for dtype in (torch.float32, torch.bfloat16):
        deformable(dtype, device, (a.batch, height, width))
    for dtype in (torch.float32, torch.bfloat16):
        modulated(dtype, device)


if __name__ == "__main__":
    main()
