"""Convolutions with what follows them, against the same arithmetic in float64."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.parts.blending import softmax_blend
from sdr2hdr.models.parts.fused import conv, conv_shuffle

LAYERS = [
    nn.Conv2d(16, 16, 3, padding=1),
    nn.Conv2d(16, 32, 3, stride=2, padding=1),
    nn.Conv2d(16, 8, 1, bias=False),
    nn.Conv2d(16, 16, 3, padding=1, groups=8),
    nn.Conv2d(16, 3, 3, padding=1),
]
# Half the distance between two numbers of about 1 in each precision, with room for sums in another order.
TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 8e-3}


def exact(layer: nn.Conv2d, x: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.double()
    return F.conv2d(
        x.double(),
        layer.weight.double(),
        bias,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
    )


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
def test_relu_and_sum_are_those_of_the_steps(
    layer: nn.Conv2d, dtype: torch.dtype, order: torch.memory_format
) -> None:
    torch.manual_seed(3)
    layer = copy.deepcopy(layer).to(dtype)
    # a part of a larger picture, as a caller may have it
    x = (torch.rand(2, 16, 13, 18) - 0.5).to(dtype, memory_format=order)[:, :, 2:, 3:]
    with torch.no_grad():
        reference = exact(layer, x)
        add = (torch.rand(reference.shape) - 0.5).to(dtype, memory_format=order)
        x_before, add_before = x.clone(), add.clone()
        limits = {"rtol": TOLERANCES[dtype], "atol": TOLERANCES[dtype]}
        torch.testing.assert_close(conv(layer, x).double(), reference, **limits)
        torch.testing.assert_close(
            conv(layer, x, relu=True).double(), reference.clamp(min=0), **limits
        )
        torch.testing.assert_close(
            conv(layer, x, leak=0.1).double(), torch.maximum(reference, 0.1 * reference), **limits
        )
        torch.testing.assert_close(
            conv(layer, x, add=add).double(), reference + add.double(), **limits
        )
    assert torch.equal(x, x_before)
    assert torch.equal(add, add_before)


@pytest.mark.parametrize("gradient", [False, True])
def test_shuffled_channels_land_where_pixel_shuffle_puts_them(gradient: bool) -> None:
    torch.manual_seed(6)
    layer, x = nn.Conv2d(4, 12, 3, padding=1), torch.rand(2, 4, 5, 7)
    with torch.set_grad_enabled(gradient):
        found = conv_shuffle(layer, x)
    expected = F.pixel_shuffle(exact(layer, x), 2).clamp(min=0)
    torch.testing.assert_close(found.double(), expected, rtol=2e-6, atol=2e-6)


def test_gradients_are_those_of_the_steps() -> None:
    torch.manual_seed(4)
    first, second = nn.Conv2d(4, 4, 3, padding=1).double(), nn.Conv2d(4, 4, 3, padding=1).double()
    x = torch.rand(1, 4, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: conv(second, conv(first, t, relu=True), add=t), (x,))
    conv(second, conv(first, x.detach(), relu=True), add=x.detach()).sum().backward()
    assert first.weight.grad is not None
    assert first.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_blend_is_that_of_softmax(spread: float) -> None:
    """Also where scores are so far apart that their exponentials overflow."""
    torch.manual_seed(5)
    scores, values = (
        [torch.randn(2, 3, 8, 8) * spread for _ in range(3)],
        [torch.randn(2, 3, 8, 8) for _ in range(3)],
    )
    weights = torch.stack(scores).double().softmax(dim=0)
    expected = sum(w * v for w, v in zip(weights, values, strict=True))
    # a score of 300 is known to 2e-5 in float32
    torch.testing.assert_close(
        softmax_blend(scores, values).double(), expected, rtol=0, atol=2e-6 + 1e-7 * spread
    )


@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_a_kernel_blends_as_softmax_does(spread: float, threads: Callable[[int], None]) -> None:
    """In bfloat16, whose numbers of about 4 are 0.03 apart, whatever the number of threads and the rows' length."""
    pytest.importorskip("numba")
    from sdr2hdr.kernels.blending import blended

    torch.manual_seed(6)
    for channels, height, width in ((3, 1, 1), (8, 5, 7), (48, 9, 30)):
        scores, values = (
            [
                (torch.randn(2, channels, height, width) * size).to(
                    torch.bfloat16, memory_format=torch.channels_last
                )
                for _ in range(3)
            ]
            for size in (spread, 1.0)
        )
        weights = torch.stack(scores).double().softmax(dim=0)
        expected = sum(w * v.double() for w, v in zip(weights, values, strict=True))
        found = []
        for count in (1, 3):
            threads(count)
            found.append(blended(scores, values))
        assert torch.equal(*found)
        torch.testing.assert_close(found[0].double(), expected, rtol=2**-8, atol=1e-3)


def test_a_stream_of_kernels_blends_with_them() -> None:
    pytest.importorskip("numba")
    from sdr2hdr.kernels.blending import blended
    from sdr2hdr.render.compiled import _blended

    scores, values = ([torch.randn(1, 8, 4, 4) for _ in range(3)] for _ in range(2))
    assert torch.equal(_blended(scores, values), softmax_blend(scores, values))
    halves = [[x.bfloat16() for x in group] for group in (scores, values)]
    assert torch.equal(_blended(*halves), blended(*halves))
    halves[0][0].requires_grad_()
    assert _blended(*halves).requires_grad
