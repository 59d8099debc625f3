"""Transfer curves. All work element-wise on float32 tensors; results in low precision are wrong, so inputs are raised to float32.

Sources: SMPTE ST 2084 / BT.2100-2 table 4 (PQ), BT.1886 annex 1, BT.2100-2 table 5 (HLG), BT.2390-11
6.2 (HLG on other displays), IEC 61966-2-1 (sRGB).
"""

import math

import torch
from torch import Tensor

from sdr2hdr.color.luma import weights

PQ_PEAK = 10000.0
"""Nits of PQ code 1.0 (BT.2100-2 table 4)."""

WHITE = 203.0
"""Nits of HDR reference white (BT.2408-7 clause 2.2)."""

CAMERA_GAMMA = 2.2
"""Exponent of the power law that stands for the curve of an unknown camera (HDR-V-Diff, eq. 1)."""

M1, M2 = 2610 / 16384, 2523 / 4096 * 128
C1, C2, C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def pq_eotf(code: Tensor) -> Tensor:
    """PQ code 0..1 to nits 0..10000 (ST 2084 eq. 4.1); codes below 0 give 0 nits."""
    p = code.float().clamp_min(0.0).pow(1.0 / M2)
    return ((p - C1).clamp_min_(0.0) / (C2 - C3 * p)).pow_(1.0 / M1).mul_(PQ_PEAK)


def pq_inverse_eotf(nits: Tensor) -> Tensor:
    """Nits 0..10000 to PQ code 0..1 (ST 2084 eq. 5.2); negative light gives the code of 0 nits (7.3e-7)."""
    y = (nits.float().clamp_min(0.0) / PQ_PEAK).pow_(M1)
    return ((C1 + C2 * y) / (1.0 + C3 * y)).pow_(M2)


def pq_code(nits: float) -> float:
    """The PQ code 0..1 of one number of nits, in double precision."""
    y = (max(nits, 0.0) / PQ_PEAK) ** M1
    return float(((C1 + C2 * y) / (1.0 + C3 * y)) ** M2)


def pq_nits(code: float) -> float:
    """The nits of one PQ code 0..1, in double precision."""
    p = max(code, 0.0) ** (1.0 / M2)
    return float((max(p - C1, 0.0) / (C2 - C3 * p)) ** (1.0 / M1) * PQ_PEAK)


def bt1886_eotf(code: Tensor) -> Tensor:
    """SDR code 0..1 to display light 0..1 of a reference display with black at 0: a power of 2.4 (BT.1886 annex 1)."""
    return code.float().clamp_min(0.0).pow(2.4)


def bt1886_inverse_eotf(light: Tensor) -> Tensor:
    """Display light 0..1 to SDR code 0..1, the inverse of :func:`bt1886_eotf`."""
    return light.float().clamp_min(0.0).pow(1.0 / 2.4)


def srgb_eotf(code: Tensor) -> Tensor:
    """sRGB code 0..1 to linear light 0..1 (IEC 61966-2-1), for still pictures."""
    c = code.float().clamp_min(0.0)
    return torch.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055).pow(2.4))


def srgb_inverse_eotf(light: Tensor) -> Tensor:
    """Linear light 0..1 to sRGB code 0..1, the inverse of :func:`srgb_eotf`."""
    v = light.float().clamp_min(0.0)
    return torch.where(v <= 0.0031308, 12.92 * v, 1.055 * v.pow(1.0 / 2.4) - 0.055)


HLG_A, HLG_B, HLG_C = 0.17883277, 0.28466892, 0.55991073


def hlg_gamma(peak: float) -> float:
    """The system gamma of HLG on a display of a nominal peak in nits (BT.2100-2 note 5f; above 2000 BT.2390-11 6.2)."""
    if peak <= 2000.0:
        return 1.2 + 0.42 * math.log10(peak / 1000.0)
    return float(1.2 * 1.111 ** math.log2(peak / 1000.0))


def hlg_eotf(code: Tensor, peak: float = 1000.0) -> Tensor:
    """HLG R'G'B' codes ``...,3,H,W`` 0..1 to display nits at a nominal peak (BT.2100-2 table 5)."""
    v = code.float().clamp_min(0.0)
    scene = torch.where(v <= 0.5, v * v / 3.0, (torch.exp((v - HLG_C) / HLG_A) + HLG_B) / 12.0)
    return peak * _hlg_luma(scene).pow(hlg_gamma(peak) - 1.0) * scene


def hlg_inverse_eotf(nits: Tensor, peak: float = 1000.0) -> Tensor:
    """Display nits ``...,3,H,W`` to HLG R'G'B' codes (BT.2100-2 table 5, the inverse OOTF and the OETF).

    Colours that HLG cannot show so bright, which are those of little luminance, come to codes above 1.
    """
    light = nits.float().clamp_min(0.0) / peak
    gamma = hlg_gamma(peak)
    scene = _hlg_luma(light).pow((1.0 - gamma) / gamma) * light
    bright = HLG_A * (12.0 * scene - HLG_B).clamp_min(1e-6).log() + HLG_C
    return torch.where(scene <= 1.0 / 12.0, (3.0 * scene).sqrt(), bright)


def _hlg_luma(light: Tensor) -> Tensor:
    """Luminance ``...,1,H,W`` of BT.2020 light, above 0 so that it has a power."""
    r, g, b = light.unbind(-3)
    kr, kg, kb = weights("bt2020nc")
    return (kr * r + kg * g + kb * b).unsqueeze(-3).clamp_min(1e-9)
