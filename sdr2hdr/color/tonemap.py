"""Static mappings between SDR and HDR, in light on tensors ``...,3,H,W`` of BT.2020 RGB unless a name says otherwise.

Sources: BT.2408-7 clause 5.1.3 (direct mapping), BT.2446-1 clauses 4.1 and 4.2 (method A), 6.1 (method C),
BT.2390-11 clause 5.4 (EETF).
"""

import math

import torch
from torch import Tensor

from sdr2hdr.color.luma import weights
from sdr2hdr.color.primaries import convert, luminance
from sdr2hdr.color.transfer import (
    WHITE,
    bt1886_eotf,
    bt1886_inverse_eotf,
    pq_code,
    pq_eotf,
    pq_inverse_eotf,
)

KR, KG, KB = weights("bt2020nc")


def bt2408(sdr: Tensor, white: float = WHITE) -> Tensor:
    """Direct mapping: SDR BT.709 R'G'B' 0..1 to BT.2020 nits, display light with 100 % at ``white`` (BT.2408-7 5.1.3)."""
    return convert(bt1886_eotf(sdr.clamp(0.0, 1.0)) * white, "bt709", "bt2020")


def bt2446a(sdr: Tensor) -> Tensor:
    """Graded expansion: SDR BT.709 R'G'B' 0..1 to BT.2020 nits 0..1000 (BT.2446-1 clause 4.2, method A)."""
    rgb = bt1886_inverse_eotf(convert(bt1886_eotf(sdr.clamp(0.0, 1.0)), "bt709", "bt2020"))
    r, g, b = rgb.unbind(-3)
    luma = KR * r + KG * g + KB * b
    y = 255.0 * luma
    exponent = torch.where(
        y <= 70.0,
        (1.8712e-5 * y - 2.7334e-3) * y + 1.3141,
        (2.8305e-6 * y - 7.4622e-4) * y + 1.2528,
    )
    y_hdr = y.pow(exponent)  # 0..1000 in the gamma domain
    # chroma follows luma with a gain of 1.075; written on colour differences, so that black divides nothing
    gain = 1.075 * torch.where(luma > 0.0, y_hdr / luma.clamp_min(1e-9), torch.ones_like(luma))
    hdr = torch.stack([y_hdr + gain * (c - luma) for c in (r, g, b)], dim=-3)
    return (hdr.clamp(0.0, 1000.0) / 1000.0).pow(2.4) * 1000.0


def bt2446a_down(nits: Tensor, peak: float = 1000.0) -> Tensor:
    """HDR BT.2020 nits 0..peak to SDR display light 0..1 in BT.2020 primaries (BT.2446-1 clause 4.1, method A)."""
    r, g, b = (nits / peak).clamp(0.0, 1.0).pow(1.0 / 2.4).unbind(-3)
    luma = KR * r + KG * g + KB * b
    rho_hdr, rho_sdr = (1.0 + 32.0 * (p / 10000.0) ** (1.0 / 2.4) for p in (peak, 100.0))
    p = torch.log(1.0 + (rho_hdr - 1.0) * luma) / math.log(rho_hdr)
    c = torch.where(
        p <= 0.7399,
        1.0770 * p,
        torch.where(p < 0.9909, (-1.1510 * p + 2.7811) * p - 0.6302, 0.5 * p + 0.5),
    )
    sdr = (torch.pow(rho_sdr, c) - 1.0) / (rho_sdr - 1.0)
    gain = sdr / (1.1 * luma).clamp_min(1e-6)
    cb, cr = gain * (b - luma) / 1.8814, gain * (r - luma) / 1.4746
    y = sdr - (0.1 * cr).clamp_min(0.0)
    rgb = torch.stack([y + 1.4746 * cr, y - 0.16455 * cb - 0.57135 * cr, y + 1.8814 * cb], dim=-3)
    return rgb.clamp(0.0, 1.0).pow(2.4)


def bt2446c_down(nits: Tensor, crosstalk: float = 0.05) -> Tensor:
    """HDR BT.2020 nits 0..1000 to SDR light in BT.2020 primaries, 1.0 is 100 nits, up to 1.18 (BT.2446-1 clause 6.1)."""
    mix = nits * (1.0 - 3.0 * crosstalk) + crosstalk * nits.sum(dim=-3, keepdim=True)
    y = luminance(mix).unsqueeze(-3)
    inflection = 58.5 / 0.83802
    high = 15.09968 * torch.log((y / inflection - 0.74204).clamp_min(1e-6)) + 78.99439
    out = torch.where(y < inflection, 0.83802 * y, high)
    rgb = mix * out / y.clamp_min(1e-6)
    # undoing crosstalk needs the sum of the channels, and crosstalk keeps it
    back = (rgb - crosstalk * rgb.sum(dim=-3, keepdim=True)) / (1.0 - 3.0 * crosstalk)
    return back.clamp_min(0.0) / 100.0


def bt2390_eetf(nits: Tensor, source_peak: float, peak: float) -> Tensor:
    """Roll highlights off from a mastering peak to a display's (BT.2390-11 clause 5.4.1), on max(R, G, B), hue kept.

    Nits in and out; light below the knee is left as it is. ``peak`` at or above ``source_peak`` only clips.
    """
    if peak >= source_peak:
        return nits.clamp(0.0, peak)
    brightest = nits.amax(dim=-3, keepdim=True)
    top = pq_code(source_peak)
    e1 = (pq_inverse_eotf(brightest) / top).clamp_max(1.0)
    max_lum = pq_code(peak) / top
    knee = 1.5 * max_lum - 0.5
    t = ((e1 - knee) / (1.0 - knee)).clamp_min(0.0)
    t2, t3 = t * t, t * t * t
    spline = (
        (2 * t3 - 3 * t2 + 1) * knee + (t3 - 2 * t2 + t) * (1 - knee) + (-2 * t3 + 3 * t2) * max_lum
    )
    target = pq_eotf(torch.where(e1 < knee, e1, spline) * top)
    return torch.where(e1 < knee, nits, nits * target / brightest.clamp_min(1e-6)).clamp(0.0, peak)


def gamut_clip(rgb: Tensor) -> Tensor:
    """Clip linear RGB light to 0..1 a channel: what most SDR mastering chains do with colours outside."""
    return rgb.clamp(0.0, 1.0)


def gamut_compress(rgb: Tensor, primaries: str = "bt709") -> Tensor:
    """Desaturate linear RGB towards its own luminance until no channel is negative; light above 1 is then clipped."""
    y = luminance(rgb, primaries).clamp_min(0.0).unsqueeze(-3)
    lowest = rgb.amin(dim=-3, keepdim=True)
    keep = torch.where(lowest < 0.0, y / (y - lowest).clamp_min(1e-9), torch.ones_like(y))
    return (y + (rgb - y) * keep).clamp(0.0, 1.0)
