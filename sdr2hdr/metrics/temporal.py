"""Measures between successive frames: warping error and flicker."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.ictcp import ictcp
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.metrics.filters import luma
from sdr2hdr.metrics.flow import flow, seen_in_both, warp

Flow = Callable[[Tensor, Tensor], Tensor]
"""The way ``2,H,W`` of each pixel of a frame ``3,H,W`` of codes to the same thing in another."""

CELL = 16
"""Pixels of a cell over which light is averaged for flicker: grain and coding noise are no flicker."""

CUT = 0.05
"""A guide whose cells change by more of their luma than this, in the mean, has been cut there; nothing is measured across."""


def _cells(plane: Tensor) -> Tensor:
    height, width = plane.shape
    cell = min(CELL, height, width)
    return F.avg_pool2d(plane[None, None], cell)[0, 0]


def is_cut(guide: Tensor, guide_before: Tensor) -> bool:
    """Whether two frames ``3,H,W`` of codes 0..1 belong to different scenes, by the light of their cells."""
    change = _cells(luma(guide)) - _cells(luma(guide_before))
    return change.abs().mean().item() > CUT


def own_flow(here: Tensor, there: Tensor) -> Tensor:
    """The flow of :mod:`sdr2hdr.metrics.flow`, of the luma of codes ``3,H,W``."""
    return flow(luma(here), luma(there))


def e_warp(
    result: Tensor,
    before: Tensor,
    guide: Tensor,
    guide_before: Tensor,
    find: Flow = own_flow,
) -> float:
    """Warping error between two frames ``3,H,W`` of codes 0..1: mean squared error where both frames see the same thing.

    Lai, Huang, Wang, Shechtman, Yumer, Yang, "Learning blind video temporal consistency" (2018), eq. 9 and 10: the frame
    before is brought to this one by optical flow, and hidden pixels do not count. The flow, which ``find`` finds, is that of
    the guide, which is the truth, or the SDR source where there is none, so that all results are measured by one
    flow. NaN if no pixel is visible in both.
    """
    way, back = find(guide, guide_before), find(guide_before, guide)
    seen = seen_in_both(way, back)
    if not seen.any():
        return float("nan")
    error = (result.clamp(0, 1).float() - warp(before.clamp(0, 1).float(), way)).square().mean(0)
    return error[seen].mean().item()


def flicker(
    result: Tensor, before: Tensor, truth: Tensor | None = None, truth_before: Tensor | None = None
) -> float:
    """How much more the light of a result changes between two frames than the truth's, in units of dE_ITP (1 is just noticeable).

    Frames are ``3,H,W`` of PQ codes. In cells of 16x16 pixels the change of I of ICtCp is taken, the truth's change is taken off
    (to 0 at least), and the mean over the cells is multiplied by 720 (BT.2124). Without a truth all change counts, which is
    meaningful where camera and scene stand still.
    """

    def change(now: Tensor, then: Tensor) -> Tensor:
        return (
            _cells(ictcp(pq_eotf(now.clamp(0, 1)))[0]) - _cells(ictcp(pq_eotf(then.clamp(0, 1)))[0])
        ).abs()

    excess = change(result, before)
    if truth is not None and truth_before is not None:
        excess = (excess - change(truth, truth_before)).clamp_min(0.0)
    return 720.0 * excess.mean().item()
