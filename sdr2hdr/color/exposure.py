"""Brightness: how many times as bright a mid-grey comes out as on a reference SDR display, and how light is moved to another."""

import torch
from torch import Tensor

from sdr2hdr.color import tonemap
from sdr2hdr.color.primaries import luminance

MID_GREY = 100.0 * 0.5**2.4
"""Nits of SDR code 0.5 on a display of 100 nits (BT.1886): brightness 1."""


def exposed(nits: Tensor, factor: float, peak: float) -> Tensor:
    """BT.2020 light ``...,3,H,W`` times a factor. What would exceed the peak rolls off to it, hue kept (BT.2390 EETF)."""
    bright = nits * factor
    return (
        tonemap.bt2390_eetf(bright.clamp_max(peak * factor), peak * factor, peak)
        if factor > 1
        else bright
    )


def brightness_between(sdr: Tensor, nits: Tensor) -> float:
    """The brightness of a pair: SDR BT.709 codes (BT.1886) and BT.2020 nits of the same picture, ``...,3,H,W``.

    The median ratio of their luminances over pixels near SDR code 0.5; over the nearest fifth if there are none.
    """
    y = luminance(sdr.float().clamp(0, 1).pow(2.4), "bt709").flatten()
    away = (y.clamp_min(1e-6).pow(1 / 2.4) - 0.5).abs()
    near = away <= max(0.1, float(away[:: max(1, away.numel() // 100_000)].quantile(0.05)))
    ratio = luminance(nits).flatten()[near] / (100.0 * y[near]).clamp_min(1e-4)
    return float(torch.median(ratio))
