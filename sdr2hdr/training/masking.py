"""Wavelet-domain masked image modelling (WMNet, phase I): the masked input from which a picture is reconstructed.

Three Haar levels; all high bands are zero, and so are random coefficients of the last low band. Their share rises from 0 to
0.5 over the phase. In the published code it never rises (its step condition holds for no integer).
"""

import pywt
import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.data.store import Batch
from sdr2hdr.models.model import MaskedModel
from sdr2hdr.training.task import Step, Task

LEVELS = 3


class Masked(Task[MaskedModel]):
    """Phase I: pictures from their masked low band. Later stages take over only the encoder."""

    name = "masked"

    def leaves(self, net: MaskedModel, parameter: str) -> bool:
        return parameter.startswith(net.encoder)

    def loss(self, net: MaskedModel, batch: Batch, step: Step) -> Tensor:
        picture = batch.sdr.flatten(0, 1)
        seen = masked(
            picture, curriculum(step.within, step.stage.steps, step.stage.masking), step.generator
        )
        return (net.reconstruct(seen).float() - picture).abs().mean()


def _kernel(filters: tuple[float, ...], channels: int, like: Tensor) -> Tensor:
    f = torch.tensor(filters, dtype=like.dtype, device=like.device)
    return torch.outer(f, f)[None, None].expand(channels, 1, -1, -1)


def low_band(picture: Tensor, levels: int = LEVELS) -> Tensor:
    """The last low band ``B,C,H/2^n,W/2^n`` (orthonormal Haar of PyWavelets) of ``B,C,H,W``."""
    low, _, _, _ = pywt.Wavelet("haar").filter_bank
    for _ in range(levels):
        picture = F.conv2d(
            picture, _kernel(low, picture.shape[1], picture), stride=2, groups=picture.shape[1]
        )
    return picture


def from_low_band(band: Tensor, levels: int = LEVELS) -> Tensor:
    """The picture whose high bands are all zero and whose last low band is ``band``."""
    _, _, low, _ = pywt.Wavelet("haar").filter_bank
    for _ in range(levels):
        band = F.conv_transpose2d(
            band, _kernel(low, band.shape[1], band), stride=2, groups=band.shape[1]
        )
    return band


def curriculum(step: int, steps: int, largest: float = 0.5) -> float:
    """The share of masked coefficients at a step of phase I: 0 at its start, ``largest`` at its end, in steps of 0.01."""
    return round(largest * step / max(steps - 1, 1), 2)


def masked(picture: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """``B,3,H,W`` (multiples of 8) from its low band alone, with a share of the coefficients zero in R, G and B."""
    band = low_band(picture)
    b, _, h, w = band.shape
    order = torch.rand(b, h * w, generator=generator).argsort(dim=1)
    kept = (order.argsort(dim=1) >= round(ratio * h * w)).view(b, 1, h, w)
    return from_low_band(band * kept.to(band))
