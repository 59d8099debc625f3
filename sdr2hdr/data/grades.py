"""The relative curve of real grades: which nits a grey had that a production's SDR version shows as a code.

Every graded source that was measured is straight up to about code 0.5 and then rises ever faster, times one factor that differs
by source: its brightness. A curve for training is drawn around all of them.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color.exposure import MID_GREY

CODES = (0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.90, 0.95, 1.00)
ROWS = {
    "aces13": (0.63, 3.2, 8.4, 16, 26, 41, 61, 95, 181, 289, 624),
    "aces20": (0.52, 2.8, 7.7, 16, 31, 54, 94, 169, 341, 532, 962),
    "agx": (0.41, 2.1, 5.6, 11, 19, 33, 69, 176, 480, 729, 1000),
    "raw": (3.1, 8.2, 17, 32, 58, 110, 189, 387, 841, 1190, 1400),
    "photos-a": (2.1, 7.1, 14, 30, 50, 79, 127, 253, 496, 671, 900),
    "photos-b": (2.8, 9.0, 19, 37, 59, 89, 149, 267, 609, 833, 1000),
    "cosmos": (2.5, 10.4, 26, 47, 82, 147, 243, 433, 1100, 1300, 1500),
    "television": (0.6, 4.0, 13, 31, 60, 102, 156, 229, 331, 426, 650),
}
"""Nits of a grey by SDR code. Of the photographs (``raw``, ``photos-...``) the codes are sRGB, of the others BT.1886."""

_SRGB = ("raw", "photos-a", "photos-b")


def _relative() -> Tensor:
    """Natural logarithms of nits at 256 BT.1886 codes, 0 at code 0.5, a row each."""
    at = np.linspace(0, 1, 256)
    rows = []
    for name, nits in ROWS.items():
        codes = np.array(CODES)
        if name in _SRGB:
            codes = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4) ** (
                1 / 2.4
            )
        ratio = np.log(np.array(nits)) - 2.4 * np.log(
            codes
        )  # over display light: flat where the row is straight
        log = np.interp(at, codes, ratio) + 2.4 * np.log(np.maximum(at, 1 / 512))
        rows.append(log - np.interp(0.5, at, log))
    return torch.tensor(np.stack(rows), dtype=torch.float32)


def curve(rng: np.random.Generator, brightness: float, peak: float) -> Callable[[Tensor], Tensor]:
    """From nits to SDR light, so that SDR code 0.5 comes from ``brightness`` times 18.9 nits.

    Its inverse is a mix of two measured curves, varied in its shadows, its steepness and at its top, and ends at a drawn
    share of the peak.
    """
    rows = _relative()
    first, second = rng.integers(len(rows), size=2)
    share = float(rng.uniform(0, 1))
    at = torch.linspace(0, 1, 256)
    log = rows[first] * share + rows[second] * (1 - share)
    log = log * float(rng.normal(1.0, 0.04))
    low, high = float(rng.normal(0, 0.15)), float(rng.normal(0, 0.15))
    log = log + low * (1 - at / 0.4).clamp_min(0) + high * (at / 0.4 - 1.5).clamp_min(0)
    log = log + math.log(brightness * MID_GREY)
    # a bright grade has less room above its greys than a dark one: what lies above code 0.5 is squeezed or stretched to the top
    top = math.log(peak * math.exp(rng.uniform(-0.7, 0.0)))
    middle = float(log[127])
    above = (log - middle).clamp_min(0)
    log = torch.where(log > middle, middle + above * ((top - middle) / float(above[-1])), log)
    return table(at, log.cummax(0).values + 1e-6 * torch.arange(256))


def table(codes: Tensor, logs: Tensor) -> Callable[[Tensor], Tensor]:
    """The curve from nits to SDR light whose inverse gives ``exp(logs)`` nits (rising) at SDR codes 0..1."""

    def mapped(nits: Tensor) -> Tensor:
        x = (nits + 1e-4).log()
        i = torch.searchsorted(logs, x.contiguous()).clamp(1, len(logs) - 1)
        a, b = logs[i - 1], logs[i]
        code = codes[i - 1] + (codes[i] - codes[i - 1]) * ((x - a) / (b - a)).clamp(0, 1)
        return code.pow(2.4)

    return mapped
