"""A CUDA GPU against the CPU: is it right, how fast, and in how much memory.

    python -m benchmarks.gpu [--out gpu.json] [--models look,wmnet,...] [--sizes 960x540,1920x1080,3840x2160] [--device cuda]

Needs torch and numpy alone, and a copy of the folders ``sdr2hdr`` and ``benchmarks``: no PyAV, nothing installed. Every model
runs with its bundled weight.

* Right: the model's codes in float32, those in the precision that a conversion would take, and the planes and light that come out
  of the whole frame loop, against the same on the CPU in float32. LIMITS are what they may differ by.
* Fast: frames a second from planes to planes, as in a conversion but for decoding and encoding; the model alone, and its
  share of the device's measured peak (a bfloat16 matrix product); the host's processor time a frame.
* Memory: the most that torch held on the GPU, at each size.

Exit code 1 if a limit is passed. ``--device cpu --sizes 128x96`` rehearses all of it without a GPU.
"""

import argparse
import json
import platform
import sys
import time
import tomllib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import sdr2hdr
from sdr2hdr.color.grade import BRIGHTNESS
from sdr2hdr.color.light import LightMeter
from sdr2hdr.color.turn import UPRIGHT, Turn
from sdr2hdr.color.yuv import HDR10, YuvLayout, from_yuv, to_yuv
from sdr2hdr.models import registry
from sdr2hdr.models.model import Model
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.render.device import is_out_of_memory, pick_device
from sdr2hdr.render.on_device import DeviceStream
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.render.stream import Finished, Stream

CHECKED = (192, 128)
"""Width and height of the pictures that are compared with the CPU's."""

LIMITS = {
    "float32 mean": 0.01,
    "float32 worst": 1.0,
    "precision mean": 0.5,
    "precision worst": 16.0,
    "planes mean": 0.6,
    "planes worst": 18.0,
    "max_cll": 0.02,
    "max_fall": 0.005,
}
"""Steps of 10-bit code, but for the light, which is a share. Networks change no code by more than 16, so neither can rounding; a
plane's code adds its own rounding and dither's."""

_DTYPES = {"F16": torch.float16, "F32": torch.float32, "I64": torch.int64, "BF16": torch.bfloat16}


LAYOUT = YuvLayout("bt709")


@dataclass(frozen=True)
class Made:
    """A picture that was made up, as the frame loop wants it (:class:`sdr2hdr.render.coded.Coded`)."""

    planes: tuple[Tensor, ...]
    layout: YuvLayout = LAYOUT
    turn: Turn = UPRIGHT
    deband: str = "off"

    @property
    def coding(self) -> Hashable:
        return self.layout

    @property
    def recodes(self) -> bool:
        return False

    def recoded(self, rgb: Tensor) -> Tensor:
        return rgb

    def rgb(self) -> Tensor:
        return from_yuv(self.planes, self.layout)


def pictures(width: int, height: int, count: int) -> list[Made]:
    """8-bit 4:2:0 pictures of soft colours with grain, of which a bright square moves."""
    rng = torch.Generator().manual_seed(1)
    few = torch.rand(1, 3, 6, 10, generator=rng)
    still = torch.nn.functional.interpolate(few, (height, width), mode="bicubic")[0].clamp(0, 1)
    made = []
    for n in range(count):
        rgb = still + 0.01 * torch.randn(3, height, width, generator=rng)
        rgb[:, height // 8 : height // 4, 4 * n : 4 * n + width // 8] = 0.97
        planes = to_yuv(
            rgb.clamp(0, 1), seed=n, peak_code=1.0, layout=replace(HDR10, matrix="bt709")
        )
        made.append(Made(tuple((p.to(torch.int32) >> 2).to(torch.uint8) for p in planes)))
    return made


def bundled(name: str) -> tuple[Model, ModelSpec]:
    """A model with the weight that comes with it, read without safetensors; as it is built where it needs none."""
    folder = Path(sdr2hdr.__file__).parent / "weights"
    entries = tomllib.loads((folder / "weights.toml").read_text()).values()
    entry = next((e for e in entries if e["model"] == name and e.get("default")), None)
    config = entry.get("config", {}) if entry else {}
    model, spec = registry.build(name, config), registry.spec(name, config)
    if entry:
        data = (folder / "files" / entry["source"].removeprefix("file:")).read_bytes()
        model.load_state_dict(tensors(data))
    return model, spec


def tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file: a length, a JSON header of that length, and the numbers."""
    start = 8 + int.from_bytes(data[:8], "little")
    out = {}
    for key, about in json.loads(data[8:start]).items():
        if key != "__metadata__":
            a, b = (start + at for at in about["data_offsets"])
            numbers = torch.frombuffer(bytearray(data[a:b]), dtype=_DTYPES[about["dtype"]])
            out[key] = numbers.view(about["shape"])
    return out


def renderer_of(name: str, size: tuple[int, int], device: str, precision: str) -> Renderer:
    model, spec = bundled(name)
    return Renderer(model, spec, size[::-1], device=device, precision=precision, tile=None)


def look_of(renderer: Renderer, film: list[Made]) -> Tensor | None:
    """The look of the film's first picture, read on the CPU, so that both devices map alike."""
    if not renderer.spec.look:
        return None
    thumb = torch.nn.functional.adaptive_avg_pool2d(film[0].rgb()[None], renderer.spec.thumb)
    model, _ = bundled(renderer.spec.name)
    with torch.inference_mode():
        return model.read_look(thumb, torch.tensor([BRIGHTNESS]))[0]


def loop(stream: Stream, film: list[Made], look: Tensor | None) -> Iterator[Finished]:
    """The frame loop over a scene."""
    run = Run(0, len(film), 0, len(film))
    states = stream.renderer.new_states(look)
    yield from stream.run(iter(film), run, states, range(len(film)), settled=True)


def codes(renderer: Renderer, film: list[Made], look: Tensor | None) -> Tensor:
    run = Run(0, len(film), 0, len(film))
    frames = (picture.rgb() for picture in film)
    return torch.stack(list(renderer.run(frames, run, renderer.new_states(look)))) * 1023


def compared(name: str, device: str) -> dict[str, float]:
    """By how much the device's results differ from the CPU's in float32."""
    film = pictures(*CHECKED, 2 * registry.spec(name).block)
    cpu = renderer_of(name, CHECKED, "cpu", "float32")
    look = look_of(cpu, film)
    truth = codes(cpu, film, look)
    found: dict[str, float] = {}
    for word, precision in (("float32", "float32"), ("precision", "auto")):
        there = renderer_of(name, CHECKED, device, precision)
        apart = (codes(there, film, look) - truth).abs()
        found |= {f"{word} mean": float(apart.mean()), f"{word} worst": float(apart.max())}
    ours, theirs = (list(loop(stream, film, look)) for stream in (Stream(cpu), DeviceStream(there)))
    steps = torch.cat(
        [
            (p.int() - q.cpu().int()).abs().flatten().float()
            for a, b in zip(ours, theirs, strict=True)
            for p, q in zip(a.planes, b.planes, strict=True)
        ]
    )
    found |= {"planes mean": float(steps.mean()), "planes worst": float(steps.max())}
    meters = LightMeter(), LightMeter()
    for meter, frames in zip(meters, (ours, theirs), strict=True):
        for frame in frames:
            meter.add_light(frame.light)
    a, b = (meter.facts() for meter in meters)
    found["max_cll"] = abs(b.max_cll / a.max_cll - 1)
    found["max_fall"] = abs(b.max_fall / a.max_fall - 1)
    return found


def timed(name: str, size: tuple[int, int], device: torch.device, seconds: float) -> dict[str, Any]:
    """Speed and memory of a model at a size, for about so many seconds."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    renderer = renderer_of(name, size, str(device), "auto")
    film = pictures(*size, 2 * renderer.spec.block)
    look = look_of(renderer, film)
    stream = DeviceStream(renderer)

    def planes_to_planes() -> None:
        for _ in loop(stream, film, look):
            pass

    frames = torch.stack([p.rgb() for p in film[: renderer.spec.block]]).to(device)

    def model_alone() -> None:
        renderer.window_there(frames, 0, 0, renderer.new_states(look))

    with FlopCounterMode(display=False) as counted:
        model_alone()
    operations = counted.get_total_flops() / len(frames)
    whole, host = rate(planes_to_planes, len(film), device, seconds)
    alone, _ = rate(model_alone, len(frames), device, seconds)
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {
        "precision": renderer.precision,
        "tiles": len(renderer.tiles),
        "frames_per_second": whole,
        "host_ms_per_frame": host * 1e3,
        "model_frames_per_second": alone,
        "operations_per_frame": operations,
        "operations_per_second": operations * alone,
        "gpu_bytes": memory,
    }


def rate(
    work: Callable[[], None], frames: int, device: torch.device, seconds: float
) -> tuple[float, float]:
    """Frames a second, and the host's processor seconds a frame, of work that was warmed up."""
    for _ in range(2):
        work()
    settle(device)
    since, busy, times = time.perf_counter(), time.thread_time(), 0
    while times < 2 or time.perf_counter() - since < seconds:
        work()
        times += 1
    host = time.thread_time() - busy
    settle(device)
    return times * frames / (time.perf_counter() - since), host / (times * frames)


def peak(device: torch.device, seconds: float) -> float:
    """Operations a second of a bfloat16 matrix product."""
    edge = 8192 if device.type == "cuda" else 512
    a = torch.randn(edge, edge, device=device, dtype=torch.bfloat16)
    products, _ = rate(lambda: _product(a), 1, device, seconds)
    return 2 * edge**3 * products


def _product(a: Tensor) -> None:
    torch.mm(a, a)


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    names: list[str], sizes: list[tuple[int, int]], device: torch.device, seconds: float
) -> dict[str, Any]:
    best = peak(device, seconds)
    on_gpu = device.type == "cuda"
    out: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "versions": {
            "sdr2hdr": sdr2hdr.__version__,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "peak_operations_per_second": best,
        "limits": LIMITS,
        "models": {},
    }
    for name in names:
        found: dict[str, Any] = {"apart": compared(name, str(device)), "sizes": {}}
        passed = {k: v for k, v in found["apart"].items() if not v <= LIMITS[k]}
        found["passed_limits"] = passed
        print(f"{name}: " + ", ".join(f"{k} {v:.3g}" for k, v in found["apart"].items()))
        for key, value in passed.items():
            print(f"  PASSES THE LIMIT: {key} is {value:.3g}, and may be {LIMITS[key]:g}")
        for width, height in sizes:
            try:
                at = timed(name, (width, height), device, seconds)
            except (RuntimeError, MemoryError) as e:
                if not is_out_of_memory(e):
                    raise
                found["sizes"][f"{width}x{height}"] = {"out_of_memory": str(e).partition("\n")[0]}
                print(f"  {width}x{height}: out of memory")
                continue
            at["share_of_peak"] = at["operations_per_second"] / best
            found["sizes"][f"{width}x{height}"] = at
            memory = "" if at["gpu_bytes"] is None else f", {at['gpu_bytes'] / 2**30:.2f} GiB"
            print(
                f"  {width}x{height} in {at['precision']}: {at['frames_per_second']:.1f} frames/s from planes to planes,"
                f" {at['host_ms_per_frame']:.2f} ms of the host, model {at['model_frames_per_second']:.1f} frames/s"
                f" at {at['share_of_peak']:.0%} of peak{memory}"
            )
        out["models"][name] = found
    return out


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, default=Path("gpu.json"))
    options.add_argument(
        "--models", default=",".join(n for n in registry.names() if n != "lut"), metavar="A,B,C"
    )
    options.add_argument("--sizes", default="960x540,1920x1080,3840x2160", metavar="WxH,...")
    options.add_argument("--device", default="cuda")
    options.add_argument("--seconds", type=float, default=3.0, help="of each measurement of speed")
    a = options.parse_args()
    sizes = [(int(w), int(h)) for w, h in (size.split("x") for size in a.sizes.split(","))]
    found = measure(a.models.split(","), sizes, pick_device(a.device), a.seconds)
    a.out.write_text(json.dumps(found, indent=1))
    print(f"All figures are in {a.out}.")
    return int(any(m["passed_limits"] for m in found["models"].values()))


if __name__ == "__main__":
    sys.exit(main())
