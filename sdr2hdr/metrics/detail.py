"""PSNR of fine detail and of changes between frames, as DIDNet's paper has them.

Neither is defined in the paper beyond a phrase. What the phrases leave open is chosen here and said where it is.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

KERNELS = (1, 3, 5, 7)
"""Sides of the squares over which changes are averaged."""


def hf_psnr(result: Tensor, truth: Tensor) -> float:
    """PSNR in dB of the high subbands of one picture ``3,H,W`` of codes: peak 1, identical pictures give inf.

    "The PSNR of the high-frequency subband of the image" (DIDNet, section IV-D): here the three high subbands of one level of
    the orthonormal Haar transform, together. An odd last row or column is left out.
    """
    error = result.clamp(0, 1).double() - truth.clamp(0, 1).double()
    height, width = (n // 2 * 2 for n in error.shape[-2:])
    a, b = error[..., 0:height:2, 0:width:2], error[..., 0:height:2, 1:width:2]
    c, d = error[..., 1:height:2, 0:width:2], error[..., 1:height:2, 1:width:2]
    high = torch.stack([a - b + c - d, a + b - c - d, a - b - c + d]) / 2
    return _decibels(high.square().mean().item())


def msrl_psnr(result: Tensor, before: Tensor, truth: Tensor, truth_before: Tensor) -> float:
    """PSNR in dB of the multi-scale relation-based loss between two frames ``3,H,W`` of codes, peak 1.

    Dai et al., "Video demoireing with relation-based temporal consistency" (2022): the change between the two frames is
    averaged over squares of 1, 3, 5 and 7 pixels, at each sample the size with the least change of the result is taken, and
    the result's change is compared with the truth's of that size. The loss is their mean absolute difference; the paper's
    PSNR "based on this loss" is taken to be that of the mean square of the same differences. Borders are padded with zeros,
    which count, as in the published code.
    """
    change = torch.stack([_change(result, before, k) for k in KERNELS])
    wanted = torch.stack([_change(truth, truth_before, k) for k in KERNELS])
    least = change.abs().argmin(0, keepdim=True)
    error = change.gather(0, least) - wanted.gather(0, least)
    return _decibels(error.square().mean().item())


def _change(now: Tensor, then: Tensor, side: int) -> Tensor:
    difference = now.clamp(0, 1).double() - then.clamp(0, 1).double()
    return F.avg_pool2d(difference[None], side, 1, side // 2)[0]


def _decibels(mse: float) -> float:
    return -10.0 * math.log10(mse) if mse > 0 else math.inf
