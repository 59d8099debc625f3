"""How a scene becomes an HDR master, and how that master becomes the SDR picture people have.

The SDR looks are a family: each draws its own curve, so that the HDR that undoes it spreads around the answers of networks
that were trained on graded television (code 0.5 is about 60 nits, 0.75 about 190, 0.875 about 300), while ``camera`` leaves
shadows and mid-tones at one to one and compresses highlights only, as phones do.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color import tonemap
from sdr2hdr.color.primaries import convert, luminance
from sdr2hdr.color.transfer import WHITE, bt1886_inverse_eotf

LOOKS = ("graded", "bt2446a", "bt2446c", "bt2390", "reinhard", "filmic", "clip", "camera")
LOOK_WEIGHTS = (0.30, 0.12, 0.10, 0.10, 0.10, 0.10, 0.08, 0.10)
"""How often training draws each look, where a recipe says nothing else."""

GRADED_CODES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375, 1.0)
GRADED_NITS = (0.005, 1.1, 8.25, 26.0, 60.0, 116.0, 190.0, 240.0, 300.0, 383.0, 650.0)
"""What networks trained on graded television answer to a grey picture (mean of two), as a curve from SDR code to nits."""


def look_shares(graded: float) -> tuple[float, ...]:
    """How often each look is drawn if ``graded`` is the share of the first; the others keep their shares of the rest."""
    rest = (1 - graded) / (1 - LOOK_WEIGHTS[0])
    return (graded, *(w * rest for w in LOOK_WEIGHTS[1:]))


@dataclass(frozen=True)
class Master:
    """A graded HDR clip: ``nits T,3,H,W`` BT.2020 and the peak it was graded to."""

    nits: Tensor
    peak: float


def grade(light: Tensor, look: str, rng: np.random.Generator, *, night: bool, white_is_one: bool) -> Master:
    """Linear scene light ``T,3,H,W`` (BT.2020) to an HDR master: exposure, contrast, saturation, shoulder, peak.

    Nobody grades what a camera makes (``look`` is ``camera``): its exposure puts the average at 18 % of white, and that is all.
    """
    camera = look == "camera"
    peak = 1000.0 if rng.random() < 0.7 else float(np.exp(rng.uniform(math.log(500), math.log(2000))))
    y = luminance(light[:1])
    if white_is_one:
        gain = WHITE * math.exp(rng.normal(0, 0.15))
    else:
        # log-average nits of the first frame
        key = math.exp(
            rng.normal(math.log(0.18 * WHITE), 0.25) if camera else rng.normal(math.log(9.0 if night else 24.0), 0.4)
        )
        gain = key / float((y + 1e-4).log().mean().exp())
        # keep a bright tail within reach: the 90th percentile stays below 600 nits
        gain = min(gain, 600.0 / max(float(torch.quantile(y.flatten()[::7], 0.9)), 1e-6))
    nits = light * gain
    contrast = rng.normal(1.0, 0.03) if white_is_one or camera else rng.normal(1.08, 0.1)
    luma = luminance(nits).unsqueeze(1).clamp_min(1e-5)
    nits = nits * (luma / 26.0).pow(contrast - 1.0)  # about mid grey: 18 % of white is 26 nits (BT.2408-7 clause 3.2)
    saturation = float(np.clip(rng.normal(1.05, 0.1) if camera else rng.normal(1.1, 0.2), 0.6, 1.7))
    luma = luminance(nits).unsqueeze(1)
    nits = (luma + (nits - luma) * saturation).clamp_min(0.0)
    shoulder = peak * math.exp(rng.uniform(0.1, 1.6))
    return Master(tonemap.bt2390_eetf(nits.clamp_max(shoulder), shoulder, peak), peak)


def _graded_curve(rng: np.random.Generator) -> Callable[[Tensor], Tensor]:
    gain, power, lift = math.exp(rng.normal(-0.04, 0.12)), rng.normal(1.0, 0.04), rng.normal(-0.05, 0.15)
    codes = torch.linspace(0, 1, 256)
    logs = np.interp(codes.numpy(), GRADED_CODES, np.log(GRADED_NITS))
    top = np.interp(codes.numpy(), [0, 0.9, 1], [0.0, 0.0, 1.0]) * rng.normal(0, 0.15)
    low = np.interp(codes.numpy(), [0, 0.3, 1], [1.0, 0.0, 0.0]) * lift
    logs = np.maximum.accumulate((logs - math.log(60)) * power + math.log(60 * gain) + top + low) + 1e-6 * np.arange(
        256
    )
    knots = torch.from_numpy(logs).float()

    def curve(n: Tensor) -> Tensor:
        x = (n + 1e-4).log()
        i = torch.searchsorted(knots, x.contiguous()).clamp(1, 255)
        a, b = knots[i - 1], knots[i]
        code = codes[i - 1] + (codes[i] - codes[i - 1]) * ((x - a) / (b - a)).clamp(0, 1)
        return code.pow(2.4)

    return curve


def _anchored(shape: Callable[[Tensor], Tensor], nits_at_half: float) -> Callable[[Tensor], Tensor]:
    """Scale the input of a rising light-to-light curve so that SDR code 0.5 comes from the given nits."""
    xs = torch.logspace(-5, 4, 4000)
    at = float(xs[int(torch.searchsorted(shape(xs).contiguous(), torch.tensor(0.5**2.4)).clamp(0, 3999))])
    scale = at / nits_at_half
    return lambda n: shape(n * scale)


def _curve(look: str, rng: np.random.Generator, peak: float) -> Callable[[Tensor], Tensor]:
    anchor = math.exp(rng.normal(math.log(58.0), 0.12))
    if look == "graded":
        return _graded_curve(rng)
    if look == "reinhard":
        white = math.exp(rng.uniform(math.log(1.6), math.log(4.0)))
        return _anchored(lambda x: x * (1 + x / white**2) / (1 + x), anchor)
    if look == "filmic":  # a rational S curve, toe and shoulder drawn
        a, b, d, e = rng.uniform(1.8, 2.8), rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.25)
        return _anchored(lambda x: (x * (a * x + b) / (x * (a * x + d) + e)).clamp(0, 1), anchor)
    if look == "clip":
        gamma = rng.normal(1.0, 0.05)
        return _anchored(lambda x: x.clamp(0, 1).pow(gamma), anchor)
    if look == "bt2390":
        to = math.exp(rng.uniform(math.log(260.0), math.log(400.0)))
        return lambda n: tonemap.bt2390_eetf(n, peak, to) / to
    # camera: one to one below a knee, then a shoulder that reaches 1 at the brightest light
    knee, span, gain = rng.uniform(0.3, 0.7), peak / WHITE * rng.uniform(0.5, 1.0), math.exp(rng.normal(0, 0.08))

    def camera(n: Tensor) -> Tensor:
        x = n * (gain / WHITE)
        u = ((x - knee) / (span - knee)).clamp(0, 1)
        k = (span - knee) / (1 - knee)  # starts with slope one
        return torch.where(x < knee, x, knee + (1 - knee) * (u * k / (1 + u * (k - 1))))

    return camera


def render_sdr(master: Master, look: str, rng: np.random.Generator) -> Tensor:
    """The SDR picture ``T,3,H,W`` R'G'B' 0..1 (BT.709, BT.1886) that a look makes of a master; not yet quantised."""
    nits = master.nits
    if look == "bt2446a":
        light = tonemap.bt2446a_down(nits * math.exp(rng.normal(0.15, 0.1)))
        light = convert(light, "bt2020", "bt709")
    elif look == "bt2446c":
        # made for masters of half the light that graded ones have: exposed down, so that code 0.5 is near 55 nits
        light = tonemap.bt2446c_down(nits * math.exp(rng.normal(-0.75, 0.1)), rng.uniform(0, 0.1)) / 1.18
        light = convert(light, "bt2020", "bt709")
    else:
        curve = _curve(look, rng, master.peak)
        mode = rng.choice(["rgb709", "rgb2020", "max"], p=[0.5, 0.2, 0.3])
        if look == "bt2390" or mode == "max":
            brightest = nits.amax(dim=1, keepdim=True)
            light = convert(nits * (curve(brightest) / brightest.clamp_min(1e-4)), "bt2020", "bt709")
        elif mode == "rgb2020":
            light = convert(curve(nits), "bt2020", "bt709")
        else:
            rgb = convert(nits, "bt2020", "bt709")
            light = curve(rgb.clamp_min(0.0)) + rgb.clamp_max(0.0) / 100.0
    saturation = float(rng.normal(1.0, 0.06))
    luma = luminance(light, "bt709").unsqueeze(1)
    light = luma + (light - luma) * saturation
    light = tonemap.gamut_clip(light) if rng.random() < 0.6 else tonemap.gamut_compress(light)
    return bt1886_inverse_eotf(light)
