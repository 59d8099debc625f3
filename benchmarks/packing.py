"""How exact and how fast planes are made and read, beside FFmpeg's swscale; run: ``python -m benchmarks.packing``.

Truth is BT.2020 table 5 and H.273 8.3 in float64. Colours are flat over 8x8 blocks, so that chroma filters, which may
differ in taste, do not count: only samples inside blocks are compared. Times are of one thread's processor time, the
least of several runs.
"""

from collections.abc import Callable

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from benchmarks.cost import least
from sdr2hdr.color.light import LightMeter
from sdr2hdr.color.yuv import PIXEL_FORMATS as FORMATS
from sdr2hdr.color.yuv import YuvLayout, from_yuv, to_yuv
from sdr2hdr.kernels.metering import metered
from sdr2hdr.kernels.writing import packed

HEIGHT, WIDTH, BLOCK = 1080, 1920, 8
KR, KB = 0.2627, 0.0593
Array = NDArray[np.float64]


def blocks(seed: int) -> torch.Tensor:
    small = torch.rand(
        3, HEIGHT // BLOCK, WIDTH // BLOCK, generator=torch.Generator().manual_seed(seed)
    )
    return small.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)


def inside(plane: Array) -> Array:
    """The samples of a plane of any subsampling that lie at least two luma samples inside their block."""
    step = BLOCK * plane.shape[0] // HEIGHT
    keep = slice(step // 4, step - step // 4)
    tiles = plane.reshape(plane.shape[0] // step, step, plane.shape[1] // step, step)
    return np.ascontiguousarray(tiles[:, keep][:, :, :, keep])


def formula(rgb: Array) -> list[Array]:
    y = KR * rgb[0] + (1 - KR - KB) * rgb[1] + KB * rgb[2]
    cb, cr = (rgb[2] - y) / (2 * (1 - KB)), (rgb[0] - y) / (2 * (1 - KR))
    return [64 + 876 * y, (512 + 896 * cb)[::2, ::2], (512 + 896 * cr)[::2, ::2]]


def swscale_to_yuv(rgb: torch.Tensor) -> list[Array]:
    packed = (rgb.permute(1, 2, 0) * 65535 + 0.5).to(torch.int32).numpy().astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(packed), "rgb48le")
    out = frame.reformat(
        format="yuv420p10le", dst_colorspace=Colorspace.BT2020, dst_color_range=ColorRange.MPEG
    )
    return [
        np.frombuffer(bytes(p), np.uint16).reshape(p.height, -1)[:, : p.width].astype(np.float64)
        for p in out.planes
    ]


def row(name: str, errors: list[Array]) -> None:
    cells = [
        f"{e.mean():+8.4f} {np.sqrt((e**2).mean()):7.4f} {np.abs(e).max():7.3f}" for e in errors
    ]
    print(f"{name:28}" + " |".join(cells))


def writing() -> float:
    rgb = blocks(1)
    truth = [inside(p) for p in formula(rgb.numpy().astype(np.float64))]
    print("R'G'B' to 10-bit Y'CbCr, error in codes (mean, rms, max)")
    print(f"{'':28}{'Y':^24}|{'Cb':^25}|{'Cr':^24}")
    worst = 0.0
    for name, planes in {
        "ours": [p.numpy().astype(np.float64) for p in to_yuv(rgb, seed=None, peak_code=1.0)],
        "ours, with noise": [
            p.numpy().astype(np.float64) for p in to_yuv(rgb, seed=1, peak_code=1.0)
        ],
        "swscale": swscale_to_yuv(rgb),
    }.items():
        errors = [inside(p) - t for p, t in zip(planes, truth, strict=True)]
        row(name, errors)
        if name == "ours":
            worst = max(float(np.abs(e).max()) for e in errors)
    return worst


def reading() -> None:
    """10-bit BT.709 4:2:0 planes to R'G'B'."""
    rng = np.random.default_rng(0)
    small = [
        rng.integers(low, high, (HEIGHT // BLOCK, WIDTH // BLOCK))
        for low, high in ((400, 600), (440, 584), (440, 584))
    ]
    planes = [
        np.kron(s, np.ones((n, n))).astype(np.uint16)
        for s, n in zip(small, (BLOCK, BLOCK // 2, BLOCK // 2), strict=True)
    ]
    y = (planes[0].astype(np.float64) - 64) / 876
    cb, cr = (np.kron((c.astype(np.float64) - 512) / 896, np.ones((2, 2))) for c in planes[1:])
    r, b = y + 1.5748 * cr, y + 1.8556 * cb
    truth = np.stack([r, (y - 0.2126 * r - 0.0722 * b) / 0.7152, b])
    ours = from_yuv(
        tuple(torch.from_numpy(p) for p in planes), YuvLayout("bt709", depth=10)
    ).numpy()
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p10le")
    for plane, data in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        rows[:, : data.shape[1]] = data
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRange.MPEG
    scaled = frame.reformat(format="rgb48le").to_ndarray().transpose(2, 0, 1) / 65535
    print("\n10-bit Y'CbCr to R'G'B', error in 10-bit codes (mean, rms, max)")
    print(f"{'':28}{'R':^24}|{'G':^25}|{'B':^24}")
    for name, rgb in (("ours", ours), ("swscale, rgb48", scaled)):
        row(
            name,
            [
                876 * (inside(c.astype(np.float64)) - inside(t))
                for c, t in zip(rgb, truth, strict=True)
            ],
        )


def speed() -> None:
    torch.set_num_threads(1)
    grid = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(2)) * 0.75
    rgb = torch.nn.functional.interpolate(grid, (HEIGHT, WIDTH), mode="bilinear")[0]
    planes = to_yuv(rgb, seed=1, peak_code=0.75)
    narrow = tuple((p.to(torch.int16) >> 2).to(torch.uint8) for p in planes)
    packed = np.ascontiguousarray(
        (rgb.permute(1, 2, 0) * 65535).to(torch.int32).numpy().astype(np.uint16)
    )
    frame = av.VideoFrame.from_ndarray(packed, "rgb48le")
    print("\nProcessor time of a 1080p frame on one thread, ms")
    meter = LightMeter()
    runs: dict[str, Callable[[], object]] = {
        "to_yuv, near the peak": lambda: to_yuv(rgb, seed=1, peak_code=0.75),
        "to_yuv, well below it": lambda: to_yuv(rgb * 0.5, seed=1, peak_code=0.75),
        "to_yuv, no noise, no peak": lambda: to_yuv(rgb, seed=None, peak_code=1.0),
        "swscale from rgb48": lambda: frame.reformat(
            format="yuv420p10le", dst_colorspace=Colorspace.BT2020, threads=1
        ),
        "light meter": lambda: meter.add(planes),
        "from_yuv, 8 bit": lambda: from_yuv(narrow, YuvLayout("bt709")),
        "from_yuv, 10 bit": lambda: from_yuv(planes, YuvLayout("bt709", depth=10)),
    }
    for name, run in runs.items():
        print(f"{name:28}{1000 * least(run, times=10)[0]:8.1f}")


def formats() -> None:
    """What the pixel formats cost in the compiled kernels, by sample and relative to 4:2:0 in 10 bits; the formats take turns."""
    torch.set_num_threads(1)
    grid = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(2)) * 0.75
    rgb = torch.nn.functional.interpolate(grid, (HEIGHT, WIDTH), mode="bilinear")[0]
    planes = {name: packed(rgb, seed=1, peak_code=0.8, layout=at) for name, at in FORMATS.items()}
    stages: dict[str, Callable[[str], Callable[[], object]]] = {
        "packing": lambda n: lambda: packed(rgb, seed=1, peak_code=0.8, layout=FORMATS[n]),
        "metering": lambda n: lambda: metered(planes[n], 0.8, FORMATS[n]),
        "both": lambda n: (
            lambda: metered(packed(rgb, seed=1, peak_code=0.8, layout=FORMATS[n]), 0.8, FORMATS[n])
        ),
    }
    print("\nProcessor time of a 1080p frame in the kernels, ms, and per sample relative to 4:2:0")
    print(f"{'':14}" + "".join(f"{stage:>20}" for stage in stages))
    took = {
        stage: dict(zip(FORMATS, least(*map(run, FORMATS), times=20), strict=True))
        for stage, run in stages.items()
    }
    for name, layout in FORMATS.items():
        small = layout.small(HEIGHT, WIDTH)
        samples = (HEIGHT * WIDTH + 2 * small[0] * small[1]) / (1.5 * HEIGHT * WIDTH)
        cells = ((t[name], t[name] / samples / t["yuv420p10"]) for t in took.values())
        print(f"{name:14}" + "".join(f"{1000 * ms:12.1f}{ratio:8.2f}" for ms, ratio in cells))


if __name__ == "__main__":
    error = writing()
    reading()
    speed()
    formats()
    if error > 0.5 + 1e-3:
        raise SystemExit(f"packing is off by {error:.3f} codes; more than rounding")
