"""Structural similarity of two pictures.

Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity", 2004.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.metrics.filters import blur

RADIUS = 5
"""The window is Gaussian, 11x11 pixels, of sigma 1.5."""

_C1, _C2 = 0.01**2, 0.03**2  # K1 and K2 of the paper, for a range of 1


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM at every pixel of planes ``N,H,W`` of range 1 where the window fits: ``N,H-10,W-10``; gradients flow through it."""
    moments = torch.stack([a, b, a * a, b * b, a * b])
    ma, mb, aa, bb, ab = blur(moments.flatten(0, 1), 1.5, RADIUS).chunk(5)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    return (2 * ma * mb + _C1) * (2 * cov + _C2) / ((ma * ma + mb * mb + _C1) * (va + vb + _C2))


def ssim(result: Tensor, truth: Tensor) -> float:
    """Mean SSIM of one picture ``3,H,W`` of codes 0..1 (range 1), at least 11x11: the mean over R', G' and B'.

    Only pixels whose window lies inside the picture count, and the picture is not shrunk: what the HDRTV papers measure on PQ
    codes. Both pictures are clamped to 0..1.
    """
    return float(ssim_map(result.clamp(0, 1).double(), truth.clamp(0, 1).double()).mean())


def ssim_7(result: Tensor, truth: Tensor) -> float:
    """SSIM as KPNet's code measures it, of one picture ``3,H,W``, at least 7x7: scikit-image's before 0.19, left at its defaults.

    The window is uniform, 7x7, with sample variances, and the range is 2, because that version took floats to be -1..1. Values
    are therefore higher than :func:`ssim`'s. Only pixels whose window lies inside count.
    """
    a, b = (x.clamp(0, 1).double() for x in (result, truth))
    moments = F.avg_pool2d(torch.stack([a, b, a * a, b * b, a * b]), 7, 1)
    ma, mb, aa, bb, ab = moments
    sample = 49 / 48
    va, vb, cov = sample * (aa - ma * ma), sample * (bb - mb * mb), sample * (ab - ma * mb)
    c1, c2 = 4 * _C1, 4 * _C2
    top = (2 * ma * mb + c1) * (2 * cov + c2)
    return float((top / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean())
