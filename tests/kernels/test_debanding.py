"""The compiled form of debanding against the formula."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sdr2hdr.color import deband
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.kernels.compiled import why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def picture(height: int, width: int, depth: int) -> tuple[Tensor, ...]:
    """Gradients, an edge, grain and black, in one plane; chroma of half its size."""
    generator = torch.Generator().manual_seed(height * width)
    x = torch.linspace(10, 60, width).expand(height, width) + torch.linspace(0, 5, height)[:, None]
    x = torch.where(torch.arange(width) > 0.8 * width, x + 60, x)
    x[: height // 3, : width // 4] += 3 * torch.randn(height // 3, width // 4, generator=generator)
    dtype = torch.uint8 if depth == 8 else torch.uint16
    luma = (x * (1 << (depth - 8)) if depth > 8 else x).round().clamp(0, (1 << depth) - 1)
    small = (
        128 * (1 << (depth - 8))
        + torch.linspace(0, 4, (width + 1) // 2).expand((height + 1) // 2, -1)
    ).round()
    return (
        luma.to(torch.int32).to(dtype),
        small.to(torch.int32).to(dtype),
        small.to(torch.int32).to(dtype),
    )


@pytest.mark.parametrize("strength", list(deband.STRENGTHS))
@pytest.mark.parametrize(
    ("height", "width", "depth"), [(64, 400, 8), (37, 61, 8), (66, 90, 10), (3, 5, 8)]
)
def test_the_kernel_is_the_formula(height: int, width: int, depth: int, strength: str) -> None:
    from sdr2hdr.kernels.debanding import debanded

    layout, planes = YuvLayout("bt709", depth=depth), picture(height, width, depth)
    finer = 1 << (16 - depth)
    expected = deband.debanded(planes, layout, strength)
    for a, b in zip(debanded(planes, layout, strength, finer), expected, strict=True):
        assert (a.to(torch.int32).float() / finer - b).abs().max() < 1.01 / finer + 1e-3


def test_the_number_of_threads_changes_nothing(threads: Callable[[int], None]) -> None:
    from sdr2hdr.kernels.debanding import debanded

    layout, planes = YuvLayout("bt709"), picture(101, 203, 8)
    results = []
    for count in (1, 2):
        threads(count)
        results.append(debanded(planes, layout, "auto"))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
