"""Tiny data sets of paired frames, and a recipe small enough for them."""

from pathlib import Path

import numpy as np
import torch

from sdr2hdr.media.png import png_of

RECIPE = """
name = "tiny"
model = "wmnet"
warmup = 1
[clips]
count = 3
frames = 2
height = 32
width = 32
select = 1
[config]
blocks = 3
base = "bt2408"
[[stages]]
task = "masked"
steps = 1
batch = 2
frames = 1
patch = 32
[[stages]]
steps = 2
batch = 2
frames = 2
patch = 32
"""


def write_frames(
    folder: Path, *, scenes: int = 5, frames: int = 3, size: tuple[int, int] = (80, 112)
) -> Path:
    """A data set whose HDR codes are its SDR codes times 0.6, each scene a still camera before a texture of its own."""
    for scene in range(scenes):
        coarse = np.random.default_rng(scene).uniform(0.3, 0.7, (size[0] // 8, size[1] // 8, 3))
        sdr = torch.from_numpy(coarse.repeat(8, 0).repeat(8, 1)).permute(2, 0, 1)
        for n in range(frames):
            for side, samples in (
                ("sdr", (sdr * 255).to(torch.uint8)),
                ("hdr", (sdr * 0.6 * 65535).to(torch.int32)),
            ):
                path = folder / side / f"s{scene:03d}" / f"{n:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png_of(samples))
    return folder


def write_pairs(
    folder: Path, sdr: str, hdr: str, names: list[str], size: tuple[int, int] = (48, 64)
) -> Path:
    """Pairs of frames of these names in two folders: random blocks, the HDR codes about 0.6 of the SDR codes."""
    for number, name in enumerate(names):
        coarse = np.random.default_rng(number).uniform(0.1, 0.9, (size[0] // 4, size[1] // 4, 3))
        codes = torch.from_numpy(coarse.repeat(4, 0).repeat(4, 1)).permute(2, 0, 1)
        for side, samples in (
            (sdr, (codes * 255).to(torch.uint8)),
            (hdr, (codes * 0.6 * 65535).to(torch.int32)),
        ):
            path = folder / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png_of(samples))
    return folder


def write_septuplets(folder: Path, size: tuple[int, int] = (32, 48)) -> Path:
    """Vimeo-90K's layout: two septuplets to train on and one to test on, of soft blocks that change from frame to frame."""
    for name in ("00001/0001", "00001/0002", "00002/0001"):
        for n in range(1, 8):
            small = np.random.default_rng(n).uniform(0, 1, (size[0] // 8, size[1] // 8, 3)) ** 3
            codes = torch.from_numpy(small.repeat(8, 0).repeat(8, 1)).permute(2, 0, 1)
            path = folder / "sequences" / name / f"im{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png_of((codes * 255).to(torch.uint8)))
    (folder / "sep_trainlist.txt").write_text("00001/0001\n00001/0002\n")
    (folder / "sep_testlist.txt").write_text("00002/0001\n\n")
    return folder
