"""The small frame is the picture's mean over areas, whatever planes the picture came in."""

import pytest
import torch
from torch import Tensor

from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.scenes.small import small_frame


def picture(h: int, w: int) -> Tensor:
    """A smooth Y'CbCr picture ``3,H,W``: luma 0..1, chroma around 0.5."""
    y, x = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing="ij")
    return torch.stack([0.1 + 0.4 * x + 0.4 * y * x, 0.3 + 0.4 * y, 0.7 - 0.4 * x])


def planes(yuv: Tensor, *, depth: int, full: bool, sub: tuple[int, int]) -> tuple[Tensor, ...]:
    """Codes of BT.709-6 item 4.6 (limited) or H.273 8.3 (full), chroma thinned out by ``sub`` (down, across)."""
    unit = 1 << (depth - 8)
    if full:
        top = (1 << depth) - 1
        codes = [yuv[0] * top, *((c - 0.5) * top + (1 << (depth - 1)) for c in yuv[1:])]
    else:
        codes = [(16 + 219 * yuv[0]) * unit, *((128 + 224 * (c - 0.5)) * unit for c in yuv[1:])]
    kind = torch.uint8 if depth == 8 else torch.int16
    return tuple(
        c[:: sub[0] if k else 1, :: sub[1] if k else 1].round().clamp(0, (1 << depth) - 1).to(kind)
        for k, c in enumerate(codes)
    )


@pytest.mark.parametrize("size", [(1080, 1920), (481, 853), (144, 256), (20, 30), (500, 150)])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("sub", [(2, 2), (1, 2), (1, 1)], ids=["420", "422", "444"])
def test_any_planes_give_the_picture(
    size: tuple[int, int], depth: int, full: bool, sub: tuple[int, int]
) -> None:
    small = small_frame(
        planes(picture(*size), depth=depth, full=full, sub=sub), YuvLayout("bt709", full, depth)
    )
    assert small.shape == (3, 36, 64)
    assert small.dtype == torch.float32
    want = torch.nn.functional.adaptive_avg_pool2d(picture(360, 640), (36, 64))
    assert (small - want).abs().max() < (0.02 if min(size) >= 144 else 0.06)


def test_grey_has_neutral_chroma() -> None:
    luma = planes(picture(180, 320), depth=8, full=False, sub=(1, 1))[0]
    small = small_frame((luma,), YuvLayout("bt709", grey=True))
    assert (small[1:] == 0.5).all()
    assert small[0].std() > 0.1


def test_black_and_white_are_0_and_1() -> None:
    neutral = torch.full((90, 160), 128, dtype=torch.uint8)
    for code, full, want in (
        (16, False, 0.0),
        (235, False, 1.0),
        (0, True, 0.0),
        (255, True, 1.0),
        (250, False, 1.0),
    ):
        luma = torch.full((180, 320), code, dtype=torch.uint8)
        small = small_frame((luma, neutral, neutral), YuvLayout("bt709", full))
        assert torch.allclose(small[0], torch.tensor(want))
        assert torch.allclose(small[1:], torch.tensor(0.5))


def test_rgb_primaries_have_the_chroma_of_bt709() -> None:
    """BT.709-6 items 3.2 and 3.3: E'Y of a primary is its weight, and full blue and full red have E'Cb, E'Cr = 0.5."""
    on, off = torch.full((90, 160), 255, dtype=torch.uint8), torch.zeros(90, 160, dtype=torch.uint8)
    red, green, blue = (
        small_frame(p, YuvLayout("rgb", True)).mean((1, 2))
        for p in ((on, off, off), (off, on, off), (off, off, on))
    )
    assert torch.allclose(
        torch.stack([red[0], green[0], blue[0]]), torch.tensor([0.2126, 0.7152, 0.0722]), atol=1e-4
    )
    assert red[2] == pytest.approx(1.0, abs=1e-3)
    assert blue[1] == pytest.approx(1.0, abs=1e-3)


def test_grain_averages_out() -> None:
    generator = torch.Generator().manual_seed(0)
    luma = (128 + 30 * torch.randn(540, 960, generator=generator)).clamp(0, 255).to(torch.uint8)
    assert small_frame((luma,), YuvLayout("bt709", True, grey=True))[0].std() < 0.5 * 30 / 255
