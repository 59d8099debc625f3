"""A convolution and the operation after it in one pass over memory.

On a CPU with matrix units (AMX) a 3x3 convolution of 64 channels takes about as long as three passes over its result, so a
ReLU or a sum that reads and writes the result again is expensive. oneDNN does both while the result is in registers.
PyTorch reaches that through operators made for its own compiler, so they are tried once, and not used if they fail.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(
    layer: nn.Conv2d,
    x: Tensor,
    *,
    relu: bool = False,
    leak: float | None = None,
    add: Tensor | None = None,
) -> Tensor:
    """``layer(x)``, then ReLU if ``relu``, leaky ReLU of the slope ``leak`` (0: ReLU), or plus ``add`` (of the result's shape);
    where a gradient is needed, step by step.

    The result is rounded once to the tensors' precision, not twice, so it differs from the plain one by rounding.
    """
    return _conv(Kernel.of(layer), x, 0.0 if relu else leak, add)


def conv_shuffle(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """``relu(pixel_shuffle(layer(x), 2))``: ``B,C,h,w`` to ``B,C',2h,2w``.

    The even and the odd rows of the larger picture are a convolution each, with the channels in the order (column, channel),
    so that whole rows are moved, where ``pixel_shuffle`` moves single numbers.
    """
    kernel = Kernel.of(layer)
    c = layer.out_channels // 4
    rows = []
    for order in torch.arange(4 * c, device=x.device).view(c, 2, 2).permute(1, 2, 0).flatten(1):
        bias = None if kernel.bias is None else kernel.bias[order]
        y = _conv(replace(kernel, weight=kernel.weight[order], bias=bias), x, slope=0.0, add=None)
        rows.append(y.permute(0, 2, 3, 1).flatten(2))
    b, h, _ = rows[0].shape
    return torch.stack(rows, dim=2).view(b, 2 * h, -1, c).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Kernel:
    """The parameters of a convolution."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, layer: nn.Conv2d) -> Self:
        if isinstance(layer.padding, str):
            raise ValueError("give the padding in pixels")
        return cls(
            layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )


def _conv(kernel: Kernel, x: Tensor, slope: float | None, add: Tensor | None) -> Tensor:
    dtype = kernel.weight.dtype
    tensors = [t for t in (x, kernel.weight, kernel.bias, add) if t is not None]
    plain = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if (
        plain
        or any(t.device.type != "cpu" or t.dtype != dtype for t in tensors)
        or not _fuses(dtype)
    ):
        return _plain(kernel, x, slope, add)
    return _fused(kernel, x, slope, add)


def _plain(k: Kernel, x: Tensor, slope: float | None, add: Tensor | None) -> Tensor:
    y = F.conv2d(x, k.weight, k.bias, k.stride, k.padding, k.dilation, k.groups)
    if slope is not None:
        return F.leaky_relu_(y, slope) if slope else F.relu_(y)
    if add is None:
        return y
    return y + add if y.requires_grad else y.add_(add)


def _fused(k: Kernel, x: Tensor, slope: float | None, add: Tensor | None) -> Tensor:
    where = (k.padding, k.stride, k.dilation, k.groups)
    ops = torch.ops.mkldnn
    if add is not None:
        out: Tensor = ops._convolution_pointwise.binary(
            x, add, k.weight, k.bias, *where, "add", None, None, [], None
        )
    else:
        if slope is None:
            then: tuple[str, list[float]] = "none", []
        else:
            then = ("leaky_relu", [slope]) if slope else ("relu", [])
        out = ops._convolution_pointwise(x, k.weight, k.bias, *where, *then, "")
    return out


@cache
def _fuses(dtype: torch.dtype) -> bool:
    """Whether the fused operators are there and right for a precision on this CPU, found with a small convolution."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        weight, x, add = (
            (torch.rand(shape, generator=generator) - 0.5)
            .to(dtype)
            .contiguous(memory_format=torch.channels_last)
            for shape in ((16, 16, 3, 3), (1, 16, 8, 8), (1, 16, 8, 8))
        )
        kernel = Kernel(weight, weight[:, 0, 0, 0].contiguous(), (1, 1), (1, 1), (1, 1), 1)
        try:
            return all(
                torch.allclose(
                    _fused(kernel, x, *kind).float(),
                    _plain(kernel, x, *kind).float(),
                    rtol=0.02,
                    atol=0.02,
                )
                for kind in ((None, None), (0.0, None), (0.1, None), (None, add))
            )
        except (AttributeError, RuntimeError, TypeError):
            return False
