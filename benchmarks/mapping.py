"""How exact the static mapping is: against colour-science, in dE_ITP, before quantisation and decoded from a finished file.

    python -m benchmarks.mapping

Charts of flat colours, the ColorChecker's 24 and 96 drawn at random (most of them far more saturated than things are), are
mapped by colour-science (BT.1886, RGB matrices, ST 2084) and by this project, then converted as a lossless RGB file at CRF 10
and decoded again.
"""

import tempfile
from pathlib import Path

import colour
import numpy as np
import torch
from numpy.typing import NDArray

from sdr2hdr import convert
from sdr2hdr.color.ictcp import delta_e_itp
from sdr2hdr.color.tonemap import bt2408
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.media.made import write_clip
from sdr2hdr.media.source import Source

PATCH, FRAMES = 48, 5


def reference(chart: np.ndarray) -> torch.Tensor:
    """PQ codes ``3,N`` by colour-science of SDR colours ``N,3``."""
    light = colour.models.eotf_BT1886(chart) * 203.0
    matrix = colour.matrix_RGB_to_RGB(
        colour.RGB_COLOURSPACES["ITU-R BT.709"], colour.RGB_COLOURSPACES["ITU-R BT.2020"]
    )
    codes = colour.models.eotf_inverse_ST2084(np.clip(light @ matrix.T, 0, None))
    return torch.from_numpy(codes.T.copy()).float()


def write(chart: NDArray[np.int64], path: Path) -> None:
    picture = np.kron(chart.reshape(4, -1, 3), np.ones((PATCH, PATCH, 1))).round().astype(np.uint8)
    write_clip(path, [picture] * FRAMES, codec="ffv1", pix_fmt="bgr0")


def colour_checker() -> np.ndarray:
    """8-bit BT.709 codes ``24,3`` of the ColorChecker under BT.1886."""
    checker = colour.CCS_COLOURCHECKERS["ColorChecker24 - After November 2014"]
    xyz = colour.xyY_to_XYZ(np.array(list(checker.data.values())))
    rgb = colour.XYZ_to_RGB(xyz, "ITU-R BT.709", checker.illuminant, "Bradford")
    return (np.clip(rgb, 0, 1) ** (1 / 2.4) * 255).round().astype(int)


def measure(name: str, chart: np.ndarray) -> None:
    truth = reference(chart / 255.0)
    ours = pq_inverse_eotf(bt2408(torch.from_numpy(chart.T / 255.0).float()[..., None]))[..., 0]
    before = delta_e_itp(ours[..., None], truth[..., None])
    print(
        f"{name}: before quantisation mean {before.mean():.4f}, max {before.max():.4f} dE_ITP (asked: below 0.1)"
    )
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "chart.mkv", Path(folder) / "out.mkv"
        write(chart, source)
        convert(source, target, "bt2408", crf=10)
        *_, last = Source(target, hdr=True).pictures()
        decoded = last.codes()
    patches = decoded.reshape(3, 4, PATCH, -1, PATCH)
    inner = patches[:, :, 8:-8, :, 8:-8].permute(0, 1, 3, 2, 4).reshape(3, len(chart), -1)
    after = delta_e_itp(inner, truth[..., None].expand_as(inner))
    high = after.flatten().quantile(0.95)
    print(
        f"{name}: decoded from the file mean {after.mean():.3f}, 95th percentile {high:.3f} dE_ITP (asked: mean below 1.0)"
    )


def main() -> None:
    measure("ColorChecker", colour_checker())
    measure("random colours", np.random.default_rng(7).integers(0, 256, (96, 3)))


if __name__ == "__main__":
    main()
