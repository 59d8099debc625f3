"""Vimeo-90K's septuplets as HDR video: ordinary pictures taken back to light, for training on alternating exposures.

Source: Chen et al. 2021 (DeepHDRVideo) and its published code, which HDR-V-Diff follows: the inverse of a drawn camera curve
(Eilertsen et al. 2017), frames at drawn distances, some in reverse, and a drawn exposure. Its rotation and rescaling are left
out.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color.mulaw import MU_PEAK
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.data.area import check_size, drawn_area
from sdr2hdr.data.clips import Clip, rgb_planes
from sdr2hdr.data.splits import TrainingSplit, rng
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import png_facts, read_codes
from sdr2hdr.reading import read_text

FRAMES = 7
SELECT = 100
"""Septuplets of the test list that a weight is chosen on."""


def septuplets(folder: Path, split: TrainingSplit) -> list[Path]:
    """The folders of the septuplets of a list: ``sep_trainlist.txt``, or the first hundred of ``sep_testlist.txt``.

    Raises InputError for a list that is missing or damaged, and for septuplets without all seven pictures.
    """
    path = folder / ("sep_trainlist.txt" if split == "train" else "sep_testlist.txt")
    names = read_text(path, "a list of septuplets").split()
    if split == "select":
        names = names[:SELECT]
    wanted = {f"im{n}.png" for n in range(1, FRAMES + 1)}
    found: list[Path] = []
    incomplete: list[Path] = []
    for name in names:
        parts = name.split("/")
        if len(parts) != 2 or not all(p.isdigit() for p in parts):
            raise InputError(f"{path} names {name[:40]!r}, which is no septuplet; get it again.")
        place = folder / "sequences" / parts[0] / parts[1]
        try:
            complete = wanted <= {path.name for path in place.iterdir()}
        except OSError:
            complete = False
        (found if complete else incomplete).append(place)
    if incomplete:
        raise InputError(
            f"{len(incomplete)} of {len(names)} septuplets are incomplete, the first is {incomplete[0]}; "
            "download and unpack Vimeo-90K again."
        )
    if not found:
        raise InputError(f"{path} is empty; get it again.")
    return found


def inverse_camera_curve(codes: Tensor, n: float, sigma: float) -> Tensor:
    """Light 0..1 of codes 0..1 of the camera curve (1 + sigma) x^n / (x^n + sigma)."""
    return (sigma * codes / (1 + sigma - codes)).pow(1 / n)


class VimeoMaker:
    """Clips of septuplets: R'G'B' as it is, and as master the light behind it, of which 1 is 1000 nits."""

    def __init__(
        self,
        folder: Path,
        split: TrainingSplit,
        *,
        size: tuple[int, int],
        frames: int,
        seed: int = 0,
    ) -> None:
        self.split, self.size, self.frames, self.seed = split, size, frames, seed
        if frames > FRAMES:
            raise InputError(
                f"A septuplet of {folder} has {FRAMES} frames, and the recipe asks for {frames}; ask for fewer."
            )
        self.material = septuplets(folder, split)
        first = png_facts(self.material[0] / "im1.png")
        check_size(f"{folder} has frames of", first.size, size)

    @property
    def scenes(self) -> int:
        return len(self.material)

    def train_clip(self, number: int) -> Clip:
        random = rng(self.seed, self.split, number)
        place = self.material[int(random.integers(len(self.material)))]
        order = np.sort(random.permutation(FRAMES)[: self.frames]) + 1
        if random.random() < 0.5:
            order = order[::-1]
        n = float(np.clip(random.normal(0.65, 0.1), 0.4, 0.9))
        sigma = float(np.clip(random.normal(0.6, 0.1), 0.4, 0.8))
        pictures = torch.stack([read_codes(place / f"im{i}.png") for i in order])
        sdr = pictures[
            (..., *drawn_area(random, (pictures.shape[-2], pictures.shape[-1]), self.size))
        ]
        light = exposed(inverse_camera_curve(sdr, n, sigma), random)
        codes = pq_inverse_eotf(convert(light * MU_PEAK, "bt709", "bt2020").clamp_min(0.0))
        planes = rgb_planes(sdr)
        kept = (codes * 65535.0).round().to(torch.int32)
        name = f"{place.parent.name}_{place.name}"
        return Clip(planes, planes, kept, name, "vimeo", 0, 1.0)


def exposed(light: Tensor, random: np.random.Generator) -> Tensor:
    """Light ``T,3,H,W`` 0..1 by another exposure, drawn at the middle frame: in half of the clips its largest value becomes a
    tenth to all of 1, in the others a high percentile (98 to 100) becomes any value from itself to 1. Cut off at 1."""
    middle = light[len(light) // 2]
    if random.random() < 0.5:
        anchor = float(middle.max())
        wanted = anchor * float(random.uniform(0.1, 1.0))
    else:
        anchor = float(np.percentile(middle.numpy(), random.uniform(98, 100)))
        wanted = float(random.uniform(anchor, 1.0))
    return (light * (wanted / (anchor + 1e-8))).clamp(0, 1)
