"""A look as few numbers: one monotone curve and a smooth change of colour, for a given brightness.

The exposure is the user's: grey of SDR code 0.5 comes out as ``brightness`` times 18.9 nits, whatever else the numbers are. The
rest of the curve is a cubic B-spline of the gain over linear display light, by SDR code. It acts on R, G and B and on their
brightest (or their luminance) in shares: on the brightest it keeps saturation, on the channels it gives back what highlights
lost. Greys stay grey and black stays black by construction.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color.primaries import convert, luminance
from sdr2hdr.color.transfer import bt1886_eotf, bt1886_inverse_eotf, pq_inverse_eotf

KNOTS = 12
"""Control points of the curve, over SDR codes 0 to 1."""

PARTS = {
    "rises": slice(1, KNOTS),
    "luminance": slice(KNOTS, KNOTS + 1),
    "channels": slice(KNOTS + 1, KNOTS + 3),
    "colour": slice(KNOTS + 3, KNOTS + 6),
}
"""Where a look's numbers are, after the brightness.

``rises``: how much the natural logarithm of the gain rises from one control point to the next. ``luminance``: its share, against
the brightest channel, in what the curve looks at. ``channels``: shares of the channels' own curves in mid-tones and in
highlights. ``colour``: saturation of shadows, mid-tones and highlights, times what the shares give.
"""

RANGES = {
    "rises": (-0.15, 1.2),  # below, the curve could fall where codes are near 1
    "luminance": (0.0, 1.0),
    "channels": (0.0, 1.0),
    "colour": (0.65, 1.35),
}
"""What the numbers of each part can be."""

NUMBERS = KNOTS + 6

PEAK = 1000.0
"""Nits that a look reaches at most."""

_ENTRIES = 1024  # of the curve, with linear interpolation between
_STEEPEST = 3.5  # natural logarithm of the largest gain, against that of mid-grey
_KEPT = 0.5  # saturation takes at most this share of the least channel
_RISE = 3.0  # of the natural logarithm of light by code, above code 1
_FLOOR = 1e-4  # nits; the gradient of PQ has no end at 0


def bounded(raw: Tensor) -> Tensor:
    """A look's numbers ``B,18`` from as many of any size: whatever these are, the curve rises and colours stay sane.

    The brightness is given as it is.
    """
    parts = {name: raw[:, part] for name, part in PARTS.items()}
    (low, high), (pale, full) = RANGES["rises"], RANGES["colour"]
    return torch.cat(
        [
            raw[:, :1],
            low + (high - low) * torch.sigmoid(parts["rises"] - 1.8),
            torch.sigmoid(parts["luminance"]),
            torch.sigmoid(parts["channels"] - raw.new_tensor([2.0, 1.0])),
            (full + pale) / 2 + (full - pale) / 2 * torch.tanh(parts["colour"]),
        ],
        1,
    )


def curve(look: Tensor) -> Tensor:
    """Natural logarithms of the gain over linear light, ``B,1025`` by SDR code 0..1, of looks ``B,18``; 0 at code 0.5.

    Light never falls where codes rise."""
    rises = look[:, PARTS["rises"]]
    points = torch.cat([torch.zeros_like(rises[:, :1]), rises.cumsum(1)], 1)
    gains = points @ _splines_on(look.device)
    linear = 2.4 * torch.linspace(0, 1, _ENTRIES + 1, device=look.device).clamp_min(1e-3).log()
    gains = (gains + linear).cummax(1).values - linear
    return (gains - gains[:, _ENTRIES // 2 : _ENTRIES // 2 + 1]).clamp_max(_STEEPEST)


def mapped(sdr: Tensor, look: Tensor) -> Tensor:
    """PQ codes ``B,3,H,W`` of the :func:`light` of SDR codes ``B,3,H,W`` by looks ``B,18``."""
    return pq_inverse_eotf(light(sdr, look))


def light(sdr: Tensor, look: Tensor) -> Tensor:
    """BT.2020 nits ``B,3,H,W``, no channel above 1000, of SDR BT.709 codes ``B,3,H,W`` by looks ``B,18``.

    Codes above 1 (:func:`sdr2hdr.color.clipped.lit`) are more light of the colour that they have at 1.
    """
    gains, numbers = curve(look), look[:, :, None, None]
    above = (sdr.float().amax(1, keepdim=True) - 1).clamp_min(0)
    codes = (sdr.float() / (1 + above)).clamp(0, 1)
    linear = bt1886_eotf(codes)
    brightest = codes.amax(1, keepdim=True)
    luma = bt1886_inverse_eotf(luminance(linear, "bt709").clamp_min(1e-7)).unsqueeze(1)
    of_luma, own_middle, own_high, shadows, middle, highlights = (
        numbers[:, i : i + 1] for i in range(KNOTS, NUMBERS)
    )
    level = torch.lerp(brightest, luma, of_luma)
    high = _step(brightest, 0.5, 1.0)
    share = torch.lerp(own_middle, own_high, high)
    common = _at(gains, level)
    own = torch.maximum(
        _at(gains, codes) - common, -0.3 - 3 * high
    )  # mid-tones lose no colour to a curve's shadows
    nits = linear * (100 * numbers[:, :1]) * (common + share * own).exp()
    low = 1 - _step(brightest, 0.0, 0.4)
    saturation = middle + (shadows - middle) * low + (highlights - middle) * high
    grey, least = luminance(nits, "bt709").unsqueeze(1), nits.amin(1, keepdim=True)
    room = 1 + _KEPT * least / (grey - least).clamp_min(
        1e-6
    )  # a saturated colour keeps its least channel
    nits = torch.lerp(grey, nits, torch.minimum(saturation, room))
    nits = convert(nits, "bt709", "bt2020").clamp_min(_FLOOR) * (_RISE * above).exp()
    return nits * (PEAK / nits.amax(1, keepdim=True).clamp_min(PEAK))


def _at(table: Tensor, code: Tensor) -> Tensor:
    """Values ``B,C,H,W`` of tables ``B,1025`` at codes 0..1 of that shape, linearly interpolated."""
    place = code.flatten(1) * _ENTRIES
    below = place.detach().long().clamp_(0, _ENTRIES - 1)
    found = torch.lerp(table.gather(1, below), table.gather(1, below + 1), place - below)
    return found.view_as(code)


def _step(x: Tensor, low: float, high: float) -> Tensor:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _splines() -> Tensor:
    """Uniform clamped cubic B-splines over 0..1, ``12,1025``, by de Boor's recurrence."""
    knots = np.concatenate([np.zeros(3), np.linspace(0, 1, KNOTS - 2), np.ones(3)])
    at = np.linspace(0, 1, _ENTRIES + 1)[:, None]
    at[-1] -= 1e-9
    values = ((at >= knots[:-1]) & (at < knots[1:])).astype(float)
    for degree in (1, 2, 3):
        left, right = knots[: -degree - 1], knots[degree + 1 :]
        up = (at - left[: values.shape[1] - 1]) / np.maximum(knots[degree:-1] - left, 1e-12)[
            : values.shape[1] - 1
        ]
        down = (right - at) / np.maximum(right - knots[1:-degree], 1e-12)
        values = up * values[:, :-1] + down * values[:, 1:]
    return torch.from_numpy(values.T.astype(np.float32))


_SPLINES = _splines()


@cache
def _splines_on(device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it is kept, and training may need it later
        return _SPLINES.to(device)
