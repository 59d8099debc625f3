"""PSNR and dE_ITP, on PQ codes 0..1 in BT.2020."""

import math

from torch import Tensor

from sdr2hdr.color.ictcp import delta_e_itp


def psnr(result: Tensor, truth: Tensor) -> float:
    """PSNR in dB of one picture ``3,H,W``: all channels together, peak 1, both clamped to 0..1; identical pictures give inf."""
    error = mse(result, truth)
    return -10.0 * math.log10(error) if error > 0 else math.inf


def mse(result: Tensor, truth: Tensor) -> float:
    """Mean squared error of one picture ``3,H,W``, all channels together, both clamped to 0..1."""
    return (result.clamp(0, 1).double() - truth.clamp(0, 1).double()).square().mean().item()


def mean_delta_e_itp(result: Tensor, truth: Tensor) -> float:
    """Mean dE_ITP (BT.2124) of one picture ``3,H,W``."""
    return delta_e_itp(result.clamp(0, 1), truth.clamp(0, 1)).mean().item()
