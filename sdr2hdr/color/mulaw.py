"""The mu-law curve in which reconstruction from several exposures is trained and judged (Kalantari et al. 2017)."""

import math

import torch
from torch import Tensor

MU = 5000.0
MU_PEAK = 1000.0
"""Nits of value 1. The papers scale each scene to its own largest light; a film needs one scale for all of its frames."""


def mu_law(nits: Tensor) -> Tensor:
    """Nits (below 0 counts as none) to tone-mapped values: 0 is black, 1 is 1000 nits; brighter light is above 1."""
    return torch.log1p(nits.float().clamp_min(0.0) * (MU / MU_PEAK)) / math.log1p(MU)


def mu_law_inverse(value: Tensor) -> Tensor:
    """Nits of tone-mapped values, the inverse of :func:`mu_law`; values below 0 are black."""
    return torch.expm1(value.float().clamp_min(0.0) * math.log1p(MU)) * (MU_PEAK / MU)
