"""Wavelet-domain masked image modelling (WMNet, phase I): the masked input from which a picture is reconstructed.

Three Haar levels; all high bands are zero, and so are random coefficients of the last low band. Their share rises from 0 to
0.5 over the phase. In the published code it never rises (its step condition holds for no integer). Other wavelets, levels and
masks are those of the paper's tables V, VIII and IX.
"""

from functools import lru_cache

import numpy as np
import pywt
import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.data.store import Batch
from sdr2hdr.models.model import MaskedModel
from sdr2hdr.training.recipe import Stage
from sdr2hdr.training.task import Step, Task

LEVELS = 3
BLOCK = 8
"""The side in pixels of what is hidden in the picture itself: what one coefficient of three levels covers."""


class Masked(Task[MaskedModel]):
    """Phase I: pictures from what the masks leave of them. Later stages take over only the encoder."""

    name = "masked"

    def leaves(self, net: MaskedModel, parameter: str) -> bool:
        return parameter.startswith(net.encoder)

    def loss(self, net: MaskedModel, batch: Batch, step: Step) -> Tensor:
        picture, stage = batch.sdr.flatten(0, 1), step.stage
        share = curriculum(step.within, stage.steps, stage.masking)
        seen = hidden(picture, share, step.generator, stage)
        return (net.reconstruct(seen).float() - picture).abs().mean()


def curriculum(step: int, steps: int, largest: float = 0.5) -> float:
    """The share of masked coefficients at a step of phase I: 0 at its start, ``largest`` at its end, in steps of 0.01."""
    return round(largest * step / max(steps - 1, 1), 2)


def hidden(picture: Tensor, share: float, generator: torch.Generator, stage: Stage) -> Tensor:
    """What a stage's masks leave of pictures ``B,3,H,W`` (multiples of 8) when they hide that share."""
    if stage.hides == "space":
        small = (picture.shape[-2] // BLOCK, picture.shape[-1] // BLOCK)
        kept = kept_at_random((len(picture), *small), share, generator).to(picture)
        return picture * F.interpolate(kept, scale_factor=float(BLOCK), mode="nearest")
    if stage.hides == "high":
        share = 0.0
    seen = masked(picture, share, generator, stage.wavelet, stage.levels)
    if stage.hides == "low":  # the high bands are what a picture has beyond its low band
        wavelet, levels = stage.wavelet, stage.levels
        seen = seen + picture - from_low_band(low_band(picture, levels, wavelet), levels, wavelet)
    return seen


def masked(
    picture: Tensor,
    ratio: float,
    generator: torch.Generator,
    wavelet: str = "haar",
    levels: int = LEVELS,
) -> Tensor:
    """``B,3,H,W`` (multiples of 8) from its low band alone, with a share of the coefficients zero in R, G and B."""
    band = low_band(picture, levels, wavelet)
    kept = kept_at_random((len(band), *band.shape[-2:]), ratio, generator)
    return from_low_band(band * kept.to(band), levels, wavelet)


def kept_at_random(shape: tuple[int, int, int], ratio: float, generator: torch.Generator) -> Tensor:
    """Which of ``B,H,W`` coefficients stay, ``B,1,H,W``: all but exactly that share, drawn on the CPU."""
    b, h, w = shape
    order = torch.rand(b, h * w, generator=generator).argsort(dim=1)
    return (order.argsort(dim=1) >= round(ratio * h * w)).view(b, 1, h, w)


def low_band(picture: Tensor, levels: int = LEVELS, wavelet: str = "haar") -> Tensor:
    """The last low band ``B,C,H/2^n,W/2^n`` of ``B,C,H,W``, as PyWavelets has it for periodic pictures."""
    for _ in range(levels):
        down, across = (_analysis(n, wavelet).to(picture) for n in picture.shape[-2:])
        picture = down @ picture @ across.T
    return picture


def from_low_band(band: Tensor, levels: int = LEVELS, wavelet: str = "haar") -> Tensor:
    """The picture whose high bands are all zero and whose last low band is ``band``."""
    for _ in range(levels):
        down, across = (_synthesis(2 * n, wavelet).to(band) for n in band.shape[-2:])
        band = down @ band @ across.T
    return band


@lru_cache(maxsize=32)
def _analysis(size: int, wavelet: str) -> Tensor:
    """The matrix ``size/2,size`` from a row of pixels to its low coefficients."""
    low, _ = pywt.dwt(np.eye(size), wavelet, mode="periodization", axis=0)
    return torch.from_numpy(low)


@lru_cache(maxsize=32)
def _synthesis(size: int, wavelet: str) -> Tensor:
    """The matrix ``size,size/2`` back."""
    return torch.from_numpy(
        pywt.idwt(np.eye(size // 2), None, wavelet, mode="periodization", axis=0)
    )
