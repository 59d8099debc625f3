"""What training minimises."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.training.recipe import Recipe


def gaussian_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of ``N,C,H,W`` pictures of range 1: Gaussian window 11x11 of sigma 1.5, zeros beyond the border.

    Wang et al. 2004 with the padding of WMNet's published loss; C1 = 0.01^2, C2 = 0.03^2.
    """
    c = a.shape[1]
    taps = torch.exp(-((torch.arange(11, dtype=a.dtype, device=a.device) - 5) ** 2) / (2 * 1.5**2))
    taps = taps / taps.sum()

    def blur(x: Tensor) -> Tensor:
        x = F.conv2d(x, taps.view(1, 1, 11, 1).expand(c, 1, 11, 1), padding=(5, 0), groups=c)
        return F.conv2d(x, taps.view(1, 1, 1, 11).expand(c, 1, 1, 11), padding=(0, 5), groups=c)

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return ssim.mean()


def mapping_loss(codes: Tensor, truth: Tensor, recipe: Recipe) -> Tensor:
    """L1, MSE and SSIM on PQ codes ``B,T,3,H,W``, weighted as the recipe says."""
    error = codes - truth
    loss = error.abs().mean() + recipe.mse_weight * error.square().mean()
    if recipe.ssim_weight:
        loss = loss + recipe.ssim_weight * (1 - gaussian_ssim(codes.flatten(0, 1), truth.flatten(0, 1)))
    return loss
