"""Tiny copies of data sets of alternating exposures, in the layouts of their authors."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (32, 48)


def light(number: int) -> np.ndarray:
    """Light ``H,W,3`` 0..1 of soft blocks, some near 1."""
    rng = np.random.default_rng(number)
    small = rng.uniform(0, 1, (SIZE[0] // 8, SIZE[1] // 8, 3)) ** 3
    return np.asarray(small.repeat(8, 0).repeat(8, 1), dtype=np.float32)


def write_tif(path: Path, codes: np.ndarray) -> None:
    codec = av.CodecContext.create("tiff", "w")
    codec.height, codec.width, codec.pix_fmt = codes.shape[0], codes.shape[1], "rgb48le"
    codec.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray((codes * 65535).round().astype("<u2"), format="rgb48le")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes(p) for p in codec.encode(frame) + codec.encode(None)))


def write_hdr(path: Path, pixels: np.ndarray) -> None:
    """A Radiance picture without run lengths: a mantissa for each channel and one exponent (Ward)."""
    most = pixels.max(-1)
    exponent = np.ceil(np.log2(np.maximum(most, 1e-30)))
    scale = 256.0 / 2.0**exponent
    mantissa = np.clip(pixels * scale[..., None], 0, 255).astype(np.uint8)
    data = np.concatenate([mantissa, (exponent + 128).astype(np.uint8)[..., None]], -1)
    head = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {SIZE[0]} +X {SIZE[1]}\n".encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + data.tobytes())


def ldr(number: int, time: float) -> np.ndarray:
    return np.asarray(np.clip(light(number) * time, 0, 1) ** (1 / 2.2))


def deephdrvideo(folder: Path) -> Path:
    scene = folder / "bench"
    for n in range(4):
        write_tif(scene / f"{n}.tif", ldr(n, (1.0, 8.0)[n % 2]))
        if 0 < n < 3:
            write_hdr(scene / f"{n}.hdr", light(n))
    (scene / "Exposures.txt").write_text("-3.0\n0.0\n")
    (scene / "img_hdr_list.txt").write_text("".join(f"{n}.tif {n}.hdr\n" for n in range(4)))
    (folder / "scene_all.txt").write_text("bench\n")
    return folder


def cinematic(folder: Path, times: tuple[float, ...] = (1.0, 4.0, 16.0)) -> Path:
    name = f"POKER_FULLSHOT_{len(times)}expo"
    scene = folder / "Images" / name
    for n in range(5):
        write_tif(scene / f"p{n}.tif", ldr(n, times[n % len(times)]))
    write_hdr(scene / "p2.hdr", light(2))
    stops = np.log2(times) - 2
    (scene / "Exposures.txt").write_text("".join(f"{stop:.2f}\n" for stop in stops))
    (scene / "img_list.txt").write_text("".join(f"p{n}\n" for n in range(5)))
    (folder / f"scenes_{len(times)}expo.txt").write_text(f"{name}\n")
    return folder


def hdrvideo(folder: Path) -> Path:
    scene = folder / "Fire-2Exp-3Stop"
    for n in range(3):
        write_tif(scene / f"{n}.tif", ldr(n, 1.0))
    (scene / "Exposures.txt").write_text("0\n3\n")
    (scene / "img_list.txt").write_text("0.tif\n1.tif\n2.tif\n")
    (folder / "2Exp_scenes.txt").write_text("Fire-2Exp-3Stop\n")
    return folder


def real_hdrv(folder: Path) -> Path:
    for n in range(4):
        for stream, time in ((0, 1.0), (1, 8.0)):
            write_tif(folder / f"s1/Input_{stream}/frame_{n:02d}.tif", ldr(n, time))
        write_hdr(folder / f"s1/GT/GT_frame_{n:02d}.hdr", light(n))
    return folder
