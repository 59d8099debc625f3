"""Networks in lower precision, except for parts that would lose too much."""

from typing import TypeVar

import torch
from torch import Tensor, nn


class Float32(nn.Module):
    """A part of a network that always computes in float32."""


class Float32Conv2d(Float32, nn.Conv2d):
    """A convolution in float32 of whatever it is given: the last of a network whose output is the picture itself, because
    PQ codes rounded to bfloat16 are wrong by up to four of 1023."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


class Float32BatchNorm2d(Float32, nn.BatchNorm2d):
    """A batch normalisation whose weights and running statistics are float32, whatever it is given and gives back."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


N = TypeVar("N", bound=nn.Module)


def to_precision(net: N, dtype: torch.dtype) -> N:
    """Bring a network to a precision in place, except its :class:`Float32` parts; 2-D kernels become channels-last."""
    _cast(net, dtype)
    for p in net.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    return net


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    if isinstance(module, Float32) or dtype is torch.float32:
        module.to(torch.float32)
        return
    for child in module.children():
        _cast(child, dtype)
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
