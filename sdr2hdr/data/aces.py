"""Pairs as a production delivers them: one scene through the SDR and the HDR output transform of ACES.

OpenColorIO (a ``train`` extra) holds the transforms of ACES 1.3 and ACES 2.0 as built-ins; nothing is downloaded.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color.exposure import MID_GREY
from sdr2hdr.color.primaries import luminance, rgb_to_xyz
from sdr2hdr.color.transfer import pq_eotf

PEAKS = {"aces13": (1000, 2000), "aces20": (500, 1000, 2000)}
"""Versions, and the peaks in nits of their HDR output transforms that are used."""

_SDR = {"aces13": "SDR-VIDEO_1.0", "aces20": "SDR-100nit-REC709_2.0"}
_HDR = {"aces13": "HDR-VIDEO-{}nit-15nit-REC2020lim_1.1", "aces20": "HDR-{}nit-REC2020_2.0"}


@cache
def _processor(output: str, display: str) -> Any:
    import PyOpenColorIO as ocio

    to_xyz = np.eye(4)
    to_xyz[:3, :3] = rgb_to_xyz("bt2020").numpy()
    inverse = ocio.TRANSFORM_DIR_INVERSE
    group = ocio.GroupTransform(
        [
            ocio.MatrixTransform(to_xyz.flatten().tolist()),
            ocio.BuiltinTransform("UTILITY - ACES-AP0_to_CIE-XYZ-D65_BFD", inverse),
            ocio.BuiltinTransform(f"ACES-OUTPUT - ACES2065-1_to_CIE-XYZ-D65 - {output}"),
            ocio.BuiltinTransform(f"DISPLAY - CIE-XYZ-D65_to_{display}"),
        ]
    )
    return ocio.Config.CreateRaw().getProcessor(group).getDefaultCPUProcessor()


def _through(light: Tensor, output: str, display: str) -> Tensor:
    pixels = np.ascontiguousarray(light.movedim(-3, -1).float().numpy())
    _processor(output, display).applyRGB(pixels.reshape(-1, 3))
    return torch.from_numpy(pixels).movedim(-1, -3).clamp(0, 1).contiguous()


def to_sdr(light: Tensor, version: str) -> Tensor:
    """Scene light ``...,3,H,W`` (BT.2020, 18 % grey at 0.18) to BT.709 R'G'B' 0..1 for a BT.1886 display of 100 nits."""
    return _through(light, _SDR[version], "REC.1886-REC.709")


def to_hdr(light: Tensor, version: str, peak: int) -> Tensor:
    """The same scene light to BT.2020 PQ codes 0..1 for a display of ``peak`` nits, one of :data:`PEAKS`."""
    return _through(light, _HDR[version].format(peak), "REC.2100-PQ")


def expose(light: Tensor, rng: np.random.Generator, *, night: bool) -> Tensor:
    """Scene light ``T,3,H,W`` of any scale as a camera crew and a colourist hand it to the output transform.

    The log-average of the first frame comes to 0.18 times a drawn stop or two (darker at night); contrast about 18 % grey,
    saturation and white vary as in a light grade.
    """
    mean = (luminance(light[:1]) + 1e-4).log().mean().exp()
    stops = rng.normal(-1.7 if night else -0.2, 0.9)
    out = light * (0.18 / mean * 2.0**stops)
    out = out * torch.from_numpy(np.exp(rng.normal(0, 0.05, 3))).float()[:, None, None]
    luma = luminance(out).unsqueeze(1).clamp_min(1e-6)
    out = out * (luma / 0.18).pow(float(rng.normal(0.05, 0.08)))
    luma = luminance(out).unsqueeze(1)
    saturation = float(np.clip(rng.normal(1.1, 0.2), 0.6, 1.7))
    graded: Tensor = (luma + (out - luma) * saturation).clamp_min(0.0)
    return graded


@cache
def brightness(version: str, peak: int) -> float:
    """How many times as bright as on a 100-nit SDR display a version's HDR shows the grey that its SDR gives code 0.5."""
    grey = torch.logspace(-3, 1, 4000).expand(3, 1, -1)
    at = int(torch.searchsorted(to_sdr(grey, version)[1, 0].contiguous(), torch.tensor(0.5)))
    return float(pq_eotf(to_hdr(grey, version, peak)[1, 0, at])) / MID_GREY
