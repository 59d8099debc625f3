"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", eq. 1), 3x3, with offsets of its own for every channel.

In plain torch it is bilinear sampling at each tap's positions and a product with the kernel, right wherever torch runs; on a CPU
it is also the faster form by far (``benchmarks/deform.py``). On a GPU torchvision's operator is taken where it loads.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 9
_PLACES = 4096
"""Pixels sampled at once: some megabytes, which the processor's cache holds, whatever the picture's size."""


@functools.cache
def torchvision_operator() -> Callable[..., Tensor] | None:
    """``torchvision.ops.deform_conv2d`` if torchvision loads with this torch, else None."""
    try:
        from torchvision.ops import deform_conv2d as operator
    except (ImportError, RuntimeError, OSError):  # RuntimeError: it was built for another torch
        return None
    return cast(Callable[..., Tensor], operator)


class _Sampling(torch.autograd.Function):
    """Samples in bands of rows. Only the offsets get a gradient, for which nothing but them is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor) -> Tensor:
        b, g, h, w = x.shape
        ctx.save_for_backward(x, offset)
        out = offset.new_empty(b, h, w, g * TAPS)
        for band, rows, turned, grid in _bands(x, offset):
            found = torch.grid_sampler_2d(turned, grid, 0, 0, False)
            out[band, rows].view(-1, g, TAPS).copy_(found.view(g, -1, TAPS).transpose(0, 1))
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        x, offset = ctx.saved_tensors
        b, g, h, w = x.shape
        gradient = gradients[0].permute(0, 2, 3, 1)
        out = offset.new_empty(b, h, w, 2 * g * TAPS)
        scale = _scale(x)
        for band, rows, turned, grid in _bands(x, offset):
            inner = (
                gradient[band, rows]
                .reshape(-1, g, TAPS)
                .transpose(0, 1)
                .float()
                .reshape(g, 1, 1, -1)
            )
            _, moved = torch.ops.aten.grid_sampler_2d_backward(
                inner, turned, grid, 0, 0, False, [False, True]
            )
            out[band, rows].view(-1, g, TAPS, 2).copy_(
                moved.view(g, -1, TAPS, 2).mul_(scale).transpose(0, 1)
            )
        return None, out.permute(0, 3, 1, 2)


def _scale(x: Tensor) -> Tensor:
    """From pixels (y, x) to grid_sample's units, in which the picture is from -1 to 1."""
    return x.new_tensor([2 / x.shape[2], 2 / x.shape[3]])


def _bands(x: Tensor, offset: Tensor) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Item, rows, the item's channels ``G,1,W,H`` and where to sample them, ``G,1,h*W*9,2``.

    grid_sample wants (x, y), which in the turned picture is (y, x).
    """
    b, g, height, width = x.shape
    turned, scale = x.transpose(2, 3).contiguous().unsqueeze(2), _scale(x)
    # channels-last memory holds the offsets of a pixel together, as (channel, tap, (y, x)): runs of 18 numbers move at once
    offset = offset.permute(0, 2, 3, 1)
    step = torch.arange(-1.0, 2.0, device=x.device)
    taps = torch.cartesian_prod(step, step)
    rows = torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device)
    size = max(1, _PLACES // width)
    for band in range(b):
        for top in range(0, height, size):
            part = slice(top, min(top + size, height))
            home = torch.cartesian_prod(rows[part], columns)[:, None] + taps  # h*W,9,2 in pixels
            grid = offset[band, part].reshape(-1, g, TAPS, 2).float() + home[:, None]
            grid = grid.add_(0.5).mul_(scale).sub_(1.0).transpose(0, 1).reshape(g, 1, -1, 2)
            yield band, part, turned[band], grid


def sample(x: Tensor, offset: Tensor) -> Tensor:
    """Bilinear samples of every channel at its own positions: ``B,G*9,H,W`` in channels-last order and ``offset``'s precision.

    ``x B,G,H,W`` is zero outside; ``offset B,G*9*2,H,W`` in pixels, ordered (channel, tap, (y, x)) as torchvision's. Gradients
    flow to the offsets alone: the sampled channels are frames.
    """
    out: Tensor = _Sampling.apply(x.detach().float(), offset)  # type: ignore[no-untyped-call]
    return out


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    *,
    operator: str = "auto",
) -> Tensor:
    """``B,C,H,W``: for each pixel the sum over channels and taps of ``weight * mask * x`` at the moved position.

    ``x B,G,H,W``, ``offset`` as in :func:`sample`, ``mask B,G*9,H,W`` (None: all 1), ``weight C,G,3,3``, ``bias C``.
    ``operator`` is ``torch``, ``torchvision`` or ``auto``: torchvision's on a GPU, if it loads. It knows no bfloat16 and computes
    in float32.
    """
    theirs = (
        torchvision_operator()
        if operator == "torchvision" or (operator == "auto" and x.is_cuda)
        else None
    )
    if operator == "torchvision" and theirs is None:
        raise ValueError("torchvision does not load with this torch")
    if theirs is not None:
        dtype = offset.dtype
        parts = (x, offset, weight, None if bias is None else bias)
        x, offset, weight, bias = (None if t is None else t.float() for t in parts)  # type: ignore[assignment]
        masks = None if mask is None else mask.float()
        return theirs(x, offset, weight, bias, padding=1, mask=masks).to(dtype)
    kernel, taken = weight.reshape(weight.shape[0], -1, 1, 1), sample(x, offset)
    return F.conv2d(taken if mask is None else taken * mask, kernel, bias)
