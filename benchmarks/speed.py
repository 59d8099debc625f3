"""How well the machine is used: stages that overlap, and the network's arithmetic against bare convolutions.

    python -m benchmarks.speed [CLIP]

Times are of this machine at this moment; the ratios are what to quote. GFLOP counts a multiply-add as two operations. The
arithmetic is timed in processor time of one thread, so that other programs count little, in many short turns, because a host
that runs other machines may be twice as fast in one second as in the next.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.command import EXAMPLE, parser
from benchmarks.cost import in_turns
from sdr2hdr import convert
from sdr2hdr.color.grade import BRIGHTNESS
from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.models.model import RepairingModel
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.renderer import Renderer
from sdr2hdr.render.stream import open_stream
from sdr2hdr.weights.opened import open_model

SIZE, FRAMES, RUNS = (336, 800), 2, 24


@dataclass(frozen=True)
class Call:
    """A convolution that was called: its input's shape, and what it was called with."""

    shape: torch.Size
    weight: torch.Tensor
    bias: torch.Tensor | None
    how: tuple[list[int], list[int], list[int], int]  # stride, padding, dilation, groups

    @property
    def operations(self) -> int:
        height, width = (n // s for n, s in zip(self.shape[2:], self.how[0], strict=True))
        return 2 * self.weight.numel() * self.shape[0] * height * width


class Convolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the convolutions called within; they are seen where gradients are needed, and may be fused away where not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            x, weight, bias, stride, padding, dilation, _, _, groups = args
            self.calls.append(Call(x.shape, weight, bias, (stride, padding, dilation, groups)))
        return func(*args, **(kwargs or {}))


def arithmetic(name: str) -> float:
    """Prints a network's rate beside that of bare convolutions of its shapes, and returns their ratio, the median of pairs.

    Of a network that repairs in front of the look it is the repairing: a conversion then steadies frames and maps them through a
    table, as `look` does.
    """
    keep_one_heap()  # as a conversion does
    torch.set_num_threads(1)
    opened = open_model(name)
    spec = opened.spec
    renderer = Renderer(opened.model, spec, SIZE, device="cpu")
    open_stream(renderer)  # puts kernels in
    model = renderer.model
    frames = torch.rand(1, FRAMES, 3, *SIZE)
    thumbs = thumbnail(frames, spec.thumb) if spec.thumb else None
    brightness = torch.full((1,), BRIGHTNESS) if spec.brightness else None

    def whole() -> None:
        if isinstance(model, RepairingModel):
            model.restored_frames(frames, range(FRAMES))
        else:
            model(frames, model.new_state(SIZE), thumbs=thumbs, brightness=brightness)

    with Convolutions() as seen:
        whole()  # with gradients, without which some are fused and not seen
    kinds = {(c.shape, c.weight.dtype) for c in seen.calls}  # the look reader is in float32
    inputs = {(s, d): torch.rand(s).to(d, memory_format=torch.channels_last) for s, d in kinds}

    def bare() -> None:
        for c in seen.calls:
            F.conv2d(inputs[c.shape, c.weight.dtype], c.weight, c.bias, *c.how)

    work = sum(c.operations for c in seen.calls)
    with torch.inference_mode():
        ours, theirs = in_turns(whole, bare, times=RUNS)
    low, ratio, high = quantiles((b / a for a, b in zip(ours, theirs, strict=True)), n=4)
    a, b = median(ours), median(theirs)
    took = f"{a / FRAMES * 1e3:.0f} ms a frame, {work / a / 1e9:.0f} GFLOP/s"
    print(f"{name} in {renderer.precision}, {FRAMES} frames of {SIZE[1]}x{SIZE[0]}: {took}")
    print(
        f"bare convolutions of the same shapes: {work / b / 1e9:.0f} GFLOP/s; ratio {ratio:.2f} (half of {RUNS} pairs:"
        f" {low:.2f} to {high:.2f}; asked: at least 0.8)"
    )
    return ratio


def overlap(clip: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = convert(clip, Path(folder) / "out.mkv", name)
    stage, seconds = max(report.busy.items(), key=lambda item: item[1])
    busy = ", ".join(f"{k} {v:.1f} s" for k, v in report.busy.items())
    print(f"{name} on {clip.name}: {report.frames_per_second:.2f} frames/s; at work: {busy}")
    share = seconds / report.render_seconds
    print(f"slowest stage ({stage}) over rendering's wall time: {share:.2f} (asked: at least 0.85)")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("clip", type=Path, nargs="?", default=EXAMPLE)
    options.add_argument("--model", default="wmnet")
    a = options.parse_args()
    arithmetic(a.model)
    overlap(a.clip, a.model)


if __name__ == "__main__":
    main()
