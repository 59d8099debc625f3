"""Patch matching between frames: where each pixel of one frame lies in another, from coarse to fine, without learnt
weights.

At the coarsest size every position is compared with those a few positions around (whole patches, hard choice); each finer
size moves the answer by at most one position. Pictures are compared at the same exposure, so that clipped areas are alike.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

COARSEST = 8
_REACH = 3
"""Positions of the coarsest size that are searched each way: 24 pixels of the full size."""


def match(reference: Tensor, moved: Tensor) -> Tensor:
    """Displacements ``B,2,H,W`` (y, x, pixels): where in ``moved`` each pixel of ``reference`` lies.

    Both are ``B,1,H,W`` in 0..1; sides are multiples of 8. Found to a fraction of a pixel.
    """
    flow = reference.new_zeros(
        reference.shape[0], 2, reference.shape[2] // COARSEST, reference.shape[3] // COARSEST
    )
    for scale in (COARSEST, COARSEST // 2, COARSEST // 4, 1):
        a, b = (F.avg_pool2d(x, scale) if scale > 1 else x for x in (reference, moved))
        if scale != COARSEST:
            flow = enlarge(flow)
        reach = _REACH if scale == COARSEST else 1
        flow = flow + _search(a, warp(b, flow), reach)
        if scale > 1:
            flow = _settled(flow)
    return flow


def enlarge(flow: Tensor) -> Tensor:
    """Displacements of a picture of twice the size."""
    return 2 * F.interpolate(flow, scale_factor=2.0, mode="bilinear", align_corners=False)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """``x B,C,H,W`` sampled bilinearly at every pixel plus its displacement ``B,2,H,W`` (y, x, pixels); edges repeat."""
    h, w = x.shape[-2:]
    y = torch.arange(h, device=x.device, dtype=torch.float32)[:, None] + flow[:, 0].float()
    z = torch.arange(w, device=x.device, dtype=torch.float32) + flow[:, 1].float()
    grid = torch.stack([(2 * z + 1) / w - 1, (2 * y + 1) / h - 1], dim=-1)
    return F.grid_sample(
        x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def _search(a: Tensor, b: Tensor, reach: int) -> Tensor:
    """The displacement up to ``reach`` each way at which patches of 5x5 pixels differ least, refined to a fraction."""
    h, w = a.shape[-2:]
    side = 2 * reach + 1
    padded = F.pad(b, (reach, reach, reach, reach), mode="replicate")
    costs, far = [], []
    for dy in range(side):
        for dx in range(side):
            costs.append(a - padded[..., dy : dy + h, dx : dx + w])
            far.append(abs(dy - reach) + abs(dx - reach))
    away = a.new_tensor(far)[:, None, None]
    cost = (
        _patch(torch.cat(costs, 1).square_()) * (1 + 0.02 * away) + 2e-5 * away
    )  # a flat area stays
    best = cost.argmin(1, keepdim=True)
    y, x = best // side, best % side
    parts = []
    for at, step in ((y, side), (x, 1)):
        inner = (at > 0) & (at < side - 1)
        here = cost.gather(1, best)
        before, after = (
            cost.gather(1, (best + s).clamp(0, side * side - 1)) for s in (-step, step)
        )
        bend = (before - 2 * here + after).clamp_min(1e-9) + 1e-4
        fraction = (
            (0.5 * (before - after) / bend).clamp(-0.5, 0.5) * here / (here + 1e-5)
        )  # unchanged if it fits as it is
        parts.append(at - reach + torch.where(inner, fraction, 0.0))
    return torch.cat(parts, 1)


def _patch(x: Tensor) -> Tensor:
    x = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), (1, 5), 1)
    return F.avg_pool2d(x, (5, 1), 1)


def _settled(flow: Tensor) -> Tensor:
    """The median of 3x3 positions, which removes single wrong answers."""
    b, c, h, w = flow.shape
    around = F.unfold(F.pad(flow, (1, 1, 1, 1), mode="replicate"), 3).view(b, c, 9, h, w)
    return around.median(2).values
