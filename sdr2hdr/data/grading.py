"""Grading: from a scene to an HDR master, and from the master to an SDR picture.

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
from sdr2hdr.color.exposure import MID_GREY
from sdr2hdr.color.primaries import convert, luminance
from sdr2hdr.color.transfer import WHITE, bt1886_inverse_eotf
from sdr2hdr.data import grades
from sdr2hdr.data.grades import table

Curve = Callable[[Tensor], Tensor]
"""From nits to SDR light 0..1, element by element."""

LOOKS = ("graded", "bt2446a", "bt2446c", "bt2390", "reinhard", "filmic", "clip", "camera")
LOOK_WEIGHTS = (0.30, 0.12, 0.10, 0.10, 0.10, 0.10, 0.08, 0.10)
"""The default share of each look in training."""

GRADED_CODES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375, 1.0)
GRADED_NITS = (0.005, 1.1, 8.25, 26.0, 60.0, 116.0, 190.0, 240.0, 300.0, 383.0, 650.0)
"""The answer of networks trained on graded television to a grey picture (mean of two), as a curve from SDR code to nits."""


CHARTS = 0.06


@dataclass(frozen=True)
class Mix:
    """The shares of the kinds of clips in training.

    Of all clips, ``pairs`` are real ones and ``aces`` scenes through two output transforms of ACES
    (:mod:`sdr2hdr.data.aces`); :data:`CHARTS` are made-up charts, the rest is simulated. Of the simulated, ``graded`` have
    that look and ``grades`` a curve drawn around real grades (:mod:`sdr2hdr.data.grades`), and the other looks share what
    is left. ``restaged`` scenes are lit, tinted or mixed with another first: more scenes than there are stills.
    """

    graded: float = LOOK_WEIGHTS[0]
    grades: float = 0.0
    pairs: float = 0.14
    aces: float = 0.0
    restaged: float = 0.0

    def look(self, rng: np.random.Generator) -> str:
        """A look, drawn."""
        rest = (1 - self.graded - self.grades) / (1 - LOOK_WEIGHTS[0])
        shares = [self.graded, *(w * rest for w in LOOK_WEIGHTS[1:]), self.grades]
        return str(rng.choice([*LOOKS, "grades"], p=shares))

    def kind(self, rng: np.random.Generator) -> str:
        """``scene``, ``pair``, ``chart`` or ``aces``, drawn."""
        shares = [1 - self.pairs - self.aces - CHARTS, self.pairs, CHARTS, self.aces]
        return str(rng.choice(["scene", "pair", "chart", "aces"], p=shares))


USUAL = Mix()


@dataclass(frozen=True)
class Master:
    """A graded HDR clip: ``nits T,3,H,W`` BT.2020 and the peak it was graded to."""

    nits: Tensor
    peak: float


def grade(
    light: Tensor,
    look: str,
    rng: np.random.Generator,
    *,
    night: bool,
    white_is_one: bool,
    exposure: float = 1.0,
) -> Master:
    """Linear scene light ``T,3,H,W`` (BT.2020) to an HDR master: exposure, contrast, saturation, shoulder, peak.

    ``exposure`` is for masters brighter or darker than graded television. A camera's picture is not graded (``look`` is
    ``camera``): its exposure only puts the average at 18 % of white.
    """
    camera = look == "camera"
    peak = (
        1000.0 if rng.random() < 0.7 else float(np.exp(rng.uniform(math.log(500), math.log(2000))))
    )
    y = luminance(light[:1])
    if white_is_one:
        gain = WHITE * math.exp(rng.normal(0, 0.15))
    else:
        # log-average nits of the first frame
        key = math.exp(
            rng.normal(math.log(0.18 * WHITE), 0.25)
            if camera
            else rng.normal(math.log(9.0 if night else 24.0), 0.4)
        )
        gain = key / float((y + 1e-4).log().mean().exp())
        # keep a bright tail within reach: the 90th percentile stays below 600 nits
        gain = min(gain, 600.0 / max(float(torch.quantile(y.flatten()[::7], 0.9)), 1e-6))
    nits = light * gain * exposure
    contrast = rng.normal(1.0, 0.03) if white_is_one or camera else rng.normal(1.08, 0.1)
    luma = luminance(nits).unsqueeze(1).clamp_min(1e-5)
    nits = nits * (luma / 26.0).pow(
        contrast - 1.0
    )  # about mid grey: 18 % of white is 26 nits (BT.2408-7 clause 3.2)
    saturation = float(np.clip(rng.normal(1.05, 0.1) if camera else rng.normal(1.1, 0.2), 0.6, 1.7))
    luma = luminance(nits).unsqueeze(1)
    nits = (luma + (nits - luma) * saturation).clamp_min(0.0)
    shoulder = peak * math.exp(rng.uniform(0.1, 1.6))
    return Master(tonemap.bt2390_eetf(nits.clamp_max(shoulder), shoulder, peak), peak)


def _graded_curve(rng: np.random.Generator) -> Curve:
    gain, power, lift = (
        math.exp(rng.normal(-0.04, 0.12)),
        rng.normal(1.0, 0.04),
        rng.normal(-0.05, 0.15),
    )
    codes = torch.linspace(0, 1, 256)
    logs = np.interp(codes.numpy(), GRADED_CODES, np.log(GRADED_NITS))
    top = np.interp(codes.numpy(), [0, 0.9, 1], [0.0, 0.0, 1.0]) * rng.normal(0, 0.15)
    low = np.interp(codes.numpy(), [0, 0.3, 1], [1.0, 0.0, 0.0]) * lift
    logs = np.maximum.accumulate(
        (logs - math.log(60)) * power + math.log(60 * gain) + top + low
    ) + 1e-6 * np.arange(256)
    return table(codes, torch.from_numpy(logs).float())


def _anchored(shape: Curve, nits_at_half: float) -> Curve:
    """Scale the input of a rising light-to-light curve so that SDR code 0.5 comes from the given nits."""
    xs = torch.logspace(-5, 4, 4000)
    at = float(
        xs[int(torch.searchsorted(shape(xs).contiguous(), torch.tensor(0.5**2.4)).clamp(0, 3999))]
    )
    scale = at / nits_at_half
    return lambda n: shape(n * scale)


def _curve(look: str, rng: np.random.Generator, peak: float) -> Curve:
    anchor = math.exp(rng.normal(math.log(58.0), 0.12))
    if look == "graded":
        return _graded_curve(rng)
    if look == "reinhard":
        white = math.exp(rng.uniform(math.log(1.6), math.log(4.0)))
        return _anchored(lambda x: x * (1 + x / white**2) / (1 + x), anchor)
    if look == "filmic":  # a rational S curve, toe and shoulder drawn
        a, b, d, e = (
            rng.uniform(1.8, 2.8),
            rng.uniform(0.1, 0.3),
            rng.uniform(0.3, 0.7),
            rng.uniform(0.1, 0.25),
        )
        return _anchored(lambda x: (x * (a * x + b) / (x * (a * x + d) + e)).clamp(0, 1), anchor)
    if look == "clip":
        gamma = rng.normal(1.0, 0.05)
        return _anchored(lambda x: x.clamp(0, 1).pow(gamma), anchor)
    if look == "bt2390":
        to = math.exp(rng.uniform(math.log(260.0), math.log(400.0)))
        return lambda n: tonemap.bt2390_eetf(n, peak, to) / to
    # camera: one to one below a knee, then a shoulder that reaches 1 at the brightest light
    knee, span, gain = (
        rng.uniform(0.3, 0.7),
        peak / WHITE * rng.uniform(0.5, 1.0),
        math.exp(rng.normal(0, 0.08)),
    )

    def camera(n: Tensor) -> Tensor:
        x = n * (gain / WHITE)
        u = ((x - knee) / (span - knee)).clamp(0, 1)
        k = (span - knee) / (1 - knee)  # starts with slope one
        return torch.where(x < knee, x, knee + (1 - knee) * (u * k / (1 + u * (k - 1))))

    return camera


def rendition(look: str, rng: np.random.Generator, peak: float, brightness: float = 0.0) -> Curve:
    """Draw how a look renders masters of a peak: a function from nits ``T,3,H,W`` (BT.2020) to SDR R'G'B' ``T,3,H,W`` 0..1
    (BT.709, BT.1886), not yet quantised. ``brightness`` is that of ``grades``; the other looks have their own."""
    if look == "bt2446a":
        gain = math.exp(rng.normal(0.15, 0.1))
        mapped: Curve = lambda nits: convert(tonemap.bt2446a_down(nits * gain), "bt2020", "bt709")  # noqa: E731
    elif look == "bt2446c":
        # made for masters of half the light that graded ones have: exposed down, so that code 0.5 is near 55 nits
        gain, crosstalk = math.exp(rng.normal(-0.75, 0.1)), rng.uniform(0, 0.1)

        def mapped(nits: Tensor) -> Tensor:
            return convert(tonemap.bt2446c_down(nits * gain, crosstalk) / 1.18, "bt2020", "bt709")
    else:
        curve = grades.curve(rng, brightness, peak) if look == "grades" else _curve(look, rng, peak)
        mode = rng.choice(["rgb709", "rgb2020", "max"], p=[0.5, 0.2, 0.3])
        mapped = _applied(curve, "max" if look == "bt2390" else str(mode))
    saturation, clips = float(rng.normal(1.0, 0.06)), rng.random() < 0.6

    def render(nits: Tensor) -> Tensor:
        light = mapped(nits)
        luma = luminance(light, "bt709").unsqueeze(1)
        light = luma + (light - luma) * saturation
        return bt1886_inverse_eotf(
            tonemap.gamut_clip(light) if clips else tonemap.gamut_compress(light)
        )

    return render


def render_sdr(master: Master, look: str, rng: np.random.Generator) -> Tensor:
    """The SDR picture ``T,3,H,W`` R'G'B' 0..1 (BT.709, BT.1886) that a drawn :func:`rendition` makes of a master."""
    return rendition(look, rng, master.peak)(master.nits)


def brightness_of(render: Curve, peak: float) -> float:
    """How many times as bright as on a 100-nit SDR display the grey was that a rendition turns into SDR code 0.5."""
    nits = torch.logspace(-1, math.log10(peak), 2000)
    codes = render(nits.view(1, 1, 1, -1).expand(1, 3, 1, -1))[0, 1, 0]
    at = int(
        torch.searchsorted(codes.cummax(0).values.contiguous(), torch.tensor(0.5)).clamp(0, 1999)
    )
    return float(nits[at]) / MID_GREY


def _applied(curve: Curve, mode: str) -> Curve:
    """A curve on R, G and B of either primaries, or on the brightest of them: nits (BT.2020) to BT.709 light."""
    if mode == "rgb2020":
        return lambda nits: convert(curve(nits), "bt2020", "bt709")

    def on_brightest(nits: Tensor) -> Tensor:
        brightest = nits.amax(dim=1, keepdim=True)
        return convert(nits * (curve(brightest) / brightest.clamp_min(1e-4)), "bt2020", "bt709")

    def on_rgb(nits: Tensor) -> Tensor:
        rgb = convert(nits, "bt2020", "bt709")
        return curve(rgb.clamp_min(0.0)) + rgb.clamp_max(0.0) / 100.0

    return on_brightest if mode == "max" else on_rgb
