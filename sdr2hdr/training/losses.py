"""The losses of training."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.ictcp import ictcp
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.metrics.blocks import MOST, grid_steps
from sdr2hdr.metrics.filters import luma
from sdr2hdr.metrics.ssim import RADIUS, ssim_map
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.model import Window
from sdr2hdr.models.parts.pyramid import take_apart
from sdr2hdr.models.spec import State
from sdr2hdr.training.recipe import Recipe


def gaussian_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of ``N,C,H,W`` pictures of range 1, with zeros beyond the border as in WMNet's published loss."""
    a, b = (F.pad(x.flatten(0, 1), (RADIUS,) * 4) for x in (a, b))
    return ssim_map(a, b).mean()


def mapping_loss(codes: Tensor, truth: Tensor, recipe: Recipe) -> Tensor:
    """L1, MSE, its logarithm, detail, SSIM and colour on PQ codes ``B,T,3,H,W``, with the recipe's weights."""
    error = codes - truth
    loss = recipe.l1_weight * error.abs().mean() + recipe.mse_weight * error.square().mean()
    if recipe.log_mse_weight:
        loss = loss + recipe.log_mse_weight * damage(error, 3e-5)
    if recipe.itp_weight:
        loss = loss + recipe.itp_weight * itp_loss(codes, truth)
    if recipe.pyramid_weight:
        loss = loss + recipe.pyramid_weight * pyramid_loss(error)
    if recipe.ssim_weight:
        loss = loss + recipe.ssim_weight * (
            1 - gaussian_ssim(codes.flatten(0, 1), truth.flatten(0, 1))
        )
    return loss


def itp_loss(codes: Tensor, truth: Tensor) -> Tensor:
    """Mean dE_ITP (BT.2124) of PQ codes ``B,T,3,H,W``, with a gradient where there is no difference."""
    found, wanted = (ictcp(pq_eotf(x.clamp_min(1e-6))) for x in (codes, truth))
    i, t, p = (found - wanted).unbind(-3)
    distance: Tensor = (i * i + 0.25 * t * t + p * p + 1e-9).sqrt().mean()
    return 720 * distance


def pyramid_loss(error: Tensor) -> Tensor:
    """L1 of the detail of two sizes (full and half) of an error of codes ``B,T,3,H,W``, added (FMSTFNet's eq. 4, L_r).

    The pyramid is the one that the network works on. The detail of the error is that of the codes minus that of the truth;
    a wrong brightness, which hides most of the damage from a plain L1, does not count.
    """
    _, details = take_apart(error.flatten(0, 1), 2)
    return torch.stack([d.abs().mean() for d in details]).sum()


def perceptual_loss(
    features: Callable[[Tensor], Sequence[Tensor]], codes: Tensor, truth: Tensor
) -> Tensor:
    """Mean over some layers of the L1 between features of the codes and of the truth, ``B,T,3,H,W`` (eq. 4, L_p)."""
    with torch.no_grad():
        wanted = features(truth.flatten(0, 1))
    found = features(codes.flatten(0, 1))
    return torch.stack([(a - b).abs().mean() for a, b in zip(found, wanted, strict=True)]).mean()


def damage(error: Tensor, floor: float) -> Tensor:
    """Mean over pictures of the logarithm of their MSE, ``B,T,3,H,W``, as in a mean of PSNRs.

    Below the MSE ``floor`` less does not matter. A plain L1 or MSE is dominated by the worst pictures of a batch.
    """
    return (error.square().mean(dim=(-3, -2, -1)) + floor).log().mean()


def clean_loss(
    net: OnBase, codes: Tensor, clean: Tensor, thumbs: Tensor, brightness: Tensor
) -> Tensor:
    """:func:`damage` of codes against the base's mapping of the undamaged SDR ``clean``, both ``B,T,3,H,W``.

    The look is that of the compressed picture's ``thumbs B,T,3,S,S`` at a ``brightness B``, as the network reads it. Most of an
    error against the master is a look that the picture does not show; this loss measures only the codec's damage. Its floor
    (40 dB) is well below the error of looks.
    """
    with torch.no_grad():
        state: State = {}
        wanted = []
        window = Window(clean, thumbs=thumbs, brightness=brightness)
        for t in window.inner:
            look, state = net.scene_look(window, t, state)
            wanted.append(net.base_codes(clean[:, t], look))
    return damage(codes.float() - torch.stack(wanted, dim=1), 1e-4)


def restored_loss(restored: Tensor, clean: Tensor, recipe: Recipe) -> Tensor:
    """L1 of restored SDR against the undamaged one, ``B,T,3,H,W`` both, and the recipe's share of its :func:`damage`."""
    error = restored.float() - clean
    loss = error.abs().mean()
    return loss + recipe.clean_weight * damage(error, 2e-5) if recipe.clean_weight else loss


def grid_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """How unlike the grid of the codec's blocks is in restored SDR and in the undamaged one, ``B,T,3,H,W`` both.

    The mean distance of their :func:`~sdr2hdr.metrics.blocks.blockiness`, of pictures that begin at the corner of a block.
    Borders that are smoother than the undamaged picture's are a grid as well. What is between the borders gets no gradient: a
    texture that hides the grid is not asked for.
    """
    found, wanted = (
        [steps.mean(1) for steps in grid_steps(luma(x), most=2 * MOST)] for x in (restored, clean)
    )
    ratio = found[0] / (found[1].detach() + 1e-4)
    return (ratio - wanted[0] / (wanted[1] + 1e-4)).abs().mean()
