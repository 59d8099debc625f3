"""Filters that several measures share."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.luma import weights

_KR, _KG, _KB = weights("bt2020nc")


def luma(codes: Tensor) -> Tensor:
    """Y' ``...,H,W`` of R'G'B' codes ``...,3,H,W`` (BT.2020 non-constant luminance)."""
    r, g, b = codes.unbind(-3)
    return _KR * r + _KG * g + _KB * b


def blur(pictures: Tensor, sigma: float, radius: int) -> Tensor:
    """Gaussian means of planes ``N,H,W`` where the window fits: ``N,H-2*radius,W-2*radius``."""
    taps = torch.exp(
        -((torch.arange(-radius, radius + 1, dtype=pictures.dtype, device=pictures.device)) ** 2)
        / (2 * sigma**2)
    )
    taps = taps / taps.sum()
    across = F.conv2d(pictures[:, None], taps.view(1, 1, 1, -1))
    return F.conv2d(across, taps.view(1, 1, -1, 1))[:, 0]
