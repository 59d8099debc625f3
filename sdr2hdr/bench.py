"""Measures how fast this machine converts: every stage alone, and whole conversions."""

import multiprocessing
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from sdr2hdr import __version__
from sdr2hdr.color.yuv import PIXEL_FORMATS
from sdr2hdr.convert import convert
from sdr2hdr.errors import ModelError
from sdr2hdr.media.encoder import ChunkEncoder, EncodeSettings
from sdr2hdr.media.made import write_clip
from sdr2hdr.media.source import Source
from sdr2hdr.options import DEFAULTS, Options
from sdr2hdr.render.device import keep_one_heap, pick_device
from sdr2hdr.render.looks import scene_look
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.render.stream import Finished, open_stream
from sdr2hdr.weights.opened import open_model, spec_of

SIZES = {"540p": (960, 540), "1080p": (1920, 1080), "2160p": (3840, 2160)}
MODELS = ("look", "wmnet-deep")
FILM = 2 * 60 * 60 * 24
"""Frames of a film of two hours."""

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """A model at a size. ``stages`` are the seconds per frame of each stage alone: ``decode``, ``colour in``, ``model``,
    ``colour out``, ``encode``.

    ``frames_per_second`` is the rate of a whole conversion without its start-up. ``slowest`` is its slowest stage, which
    worked for ``share`` of the time. ``memory`` is the peak main memory in bytes, or None if the system does not report it;
    ``gpu_memory`` is that of the GPU. ``operations`` are the model's multiplications and additions per frame, ``of_peak``
    their rate relative to the device's peak. ``film_hours`` is how long a film of two hours takes.
    """

    model: str
    size: str
    width: int
    height: int
    device: str
    precision: str
    frames: int
    stages: dict[str, float]
    frames_per_second: float
    slowest: str
    share: float
    memory: int | None
    gpu_memory: int | None
    operations: float
    of_peak: float
    film_hours: float


@dataclass(frozen=True)
class Peak:
    """The device's peak: the measured operations per second of a bfloat16 matrix product."""

    device: str
    name: str
    operations: float


def bench(
    models: Sequence[str] = MODELS,
    sizes: Sequence[str] = tuple(SIZES),
    *,
    frames: int = 8,
    options: Options = DEFAULTS,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure models at picture sizes (keys of :data:`SIZES`) on a synthetic moving picture of ``frames`` frames.

    Each measurement runs in its own process, so that its memory can be measured. ``progress`` receives the name of each
    one. Returns plain values: ``versions``, ``machine``, ``peak`` and ``measured``. Raises ModelError if a model or a
    device is not available, or if the system ended a process.
    """
    pick_device(options.device)
    for model in models:
        spec_of(model)
    progress("the device's peak")
    peak = _apart(peak_of, options.device)
    measured = []
    for size in sizes:
        for model in models:
            progress(f"{model} at {size}")
            measured.append(_apart(measure, model, size, frames, options, peak.operations))
    packages = ("torch", "av", "numpy")
    return {
        "versions": {"sdr2hdr": __version__, "python": platform.python_version()}
        | {n: version(n) for n in packages},
        "machine": {"system": platform.platform(), "threads": torch.get_num_threads()},
        "peak": asdict(peak),
        "measured": [asdict(each) for each in measured],
    }


def _apart(work: Callable[..., T], *args: Any) -> T:
    """The result of a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, *args).result()
        except BrokenProcessPool as e:
            raise ModelError(
                "The system ended a measurement, perhaps because memory ran out; give fewer --models or smaller --sizes."
            ) from e


def peak_of(device: str, edge: int = 2048, seconds: float = 1.0) -> Peak:
    """The best rate of a product of two bfloat16 matrices within one second."""
    where = pick_device(device)
    a = torch.randn(edge, edge, device=where, dtype=torch.bfloat16)
    torch.mm(a, a)
    least, until = float("inf"), time.monotonic() + seconds
    while least == float("inf") or time.monotonic() < until:
        _settle(where)
        since = time.perf_counter()
        torch.mm(a, a)
        _settle(where)
        least = min(least, time.perf_counter() - since)
    name = (
        torch.cuda.get_device_name(where)
        if where.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return Peak(str(where), name, 2 * edge**3 / least)


def measure(model: str, size: str, frames: int, options: Options, peak: float) -> Measured:
    """One model at one size, in this process. ``peak`` is the device's, in operations per second."""
    keep_one_heap()
    width, height = SIZES[size]
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mkv"
        write_clip(
            clip, moving_picture(width, height, frames), options={"preset": "veryfast", "crf": "18"}
        )
        stages, renderer, operations = _stages(clip, Path(folder), model, options)
        report = convert(clip, Path(folder) / "out.mkv", model, options=options)
    slowest, seconds = max(report.busy.items(), key=lambda item: item[1])
    on_gpu = renderer.device.type == "cuda"
    return Measured(
        model=model,
        size=size,
        width=width,
        height=height,
        device=str(renderer.device),
        precision=renderer.precision,
        frames=frames,
        stages=stages,
        frames_per_second=report.frames_per_second,
        slowest=slowest,
        share=min(1.0, seconds / report.render_seconds),
        memory=_most_memory(),
        gpu_memory=torch.cuda.max_memory_allocated(renderer.device) if on_gpu else None,
        operations=operations,
        of_peak=operations / stages["model"] / peak,
        film_hours=FILM / report.frames_per_second / 3600,
    )


def _stages(
    clip: Path, folder: Path, name: str, options: Options
) -> tuple[dict[str, float], Renderer, float]:
    """Seconds per frame of each stage alone, on every frame of the clip; the renderer; its operations per frame.

    ``render`` is what a conversion does instead of the three stages before it: on a CPU often all in one pass.
    """
    source = Source(clip)
    pictures, decode = _timed(lambda: list(source.pictures()))
    rate, step, (width, height) = source.info.rate, source.info.time_base, source.info.size
    count = len(pictures)
    loaded = open_model(name)
    renderer = Renderer(
        loaded.model, loaded.spec, (height, width), device=options.device, precision=options.precision, tile=options.tile
    )  # fmt: skip
    stream = open_stream(renderer, PIXEL_FORMATS[options.planes])
    stream.finished(
        stream.rgb(pictures[0]), 0
    )  # kernels are compiled here, and not while the clock runs
    where = renderer.device
    frames, colour_in = _timed(lambda: [stream.rgb(picture) for picture in pictures], where)
    run = Run(0, count, 0, count)
    with FlopCounterMode(
        display=False, custom_mapping=_fused_operations()
    ) as counted:  # and the first call's own work is done
        list(renderer.run(iter(frames), run, renderer.new_states()))
    codes, model = _timed(lambda: list(renderer.run(iter(frames), run, renderer.new_states())))
    there = [c.to(where) for c in codes]  # where they are in a conversion
    finished, colour_out = _timed(
        lambda: [
            stream.finished(c, picture.pts) for c, picture in zip(there, pictures, strict=True)
        ],
        where,
    )
    look = scene_look(renderer.model, renderer.spec, frames)
    settled = look is not None or not renderer.spec.stateful
    pts = [picture.pts for picture in pictures]

    def rendered(part: Run) -> list[Finished]:
        states = renderer.new_states(look)
        return list(stream.run(iter(pictures), part, states, pts, settled=settled))

    rendered(Run(0, 1, 0, count))  # a table is made once for each scene
    _, render = _timed(lambda: rendered(run), where)
    settings = EncodeSettings(
        options.codec,
        options.quality or 0.0,
        options.speed,
        width,
        height,
        time_base=step,
        rate=Fraction(rate),
        encoder=options.writer,
        pix_fmt=options.planes,
    )

    def encoded() -> None:
        with ChunkEncoder(folder / "alone.packets", settings) as encoder:
            for made, picture in zip(finished, pictures, strict=True):
                planes = tuple(plane.cpu() for plane in made.planes)
                encoder.encode(planes, picture.pts, picture.duration)
            encoder.close()

    _, encode = _timed(encoded)
    seconds = {
        "decode": decode,
        "colour in": colour_in,
        "model": model,
        "colour out": colour_out,
        "render": render,
        "encode": encode,
    }
    return (
        {stage: s / count for stage, s in seconds.items()},
        renderer,
        counted.get_total_flops() / count,
    )


def _fused_operations() -> dict[Any, Callable[..., int]]:
    """Counters for the fused convolutions of ``models/parts/fused.py``, which PyTorch's counter does not know."""

    def fused(x: list[int], *shapes: Any, out_shape: list[int], **_: Any) -> int:
        with_sum = (
            isinstance(shapes[1], torch.Size) and len(shapes[1]) == 4
        )  # the added tensor precedes the kernel in the arguments
        return int(conv_flop_count(x, shapes[1 if with_sum else 0], out_shape))

    try:
        return {torch.ops.mkldnn._convolution_pointwise: fused}
    except AttributeError:  # a build without oneDNN fuses nothing
        return {}


def moving_picture(width: int, height: int, frames: int) -> Iterator[NDArray[np.uint8]]:
    """R'G'B' pictures ``H,W,3`` of a fine texture over a gradient that moves by 3 pixels per frame."""
    rng = np.random.default_rng(0)
    slope = np.linspace(30, 220, width)[None, :, None] * np.array([1.0, 0.9, 0.7])
    texture = np.kron(
        rng.uniform(-25, 25, (height // 4 + 1, width // 4 + 1, 3)), np.ones((4, 4, 1))
    )
    picture = (slope + texture[:height, :width]).clip(0, 255).astype(np.uint8)
    return (np.roll(picture, 3 * i, axis=1) for i in range(frames))


def _timed(work: Callable[[], T], device: torch.device | None = None) -> tuple[T, float]:
    """The result of work and its seconds, until a ``device`` on which the result stays has finished, too."""
    since = time.perf_counter()
    done = work()
    if device is not None:
        _settle(device)
    return done, time.perf_counter() - since


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _most_memory() -> int | None:
    """The peak memory of this process; getrusage would also count that of its parent."""
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except (OSError, StopIteration):
        return None
