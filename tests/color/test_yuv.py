"""Planes to R'G'B' and back, against H.273 written out in float64, sample by sample."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sdr2hdr.color.transfer import pq_code
from sdr2hdr.color.yuv import HDR10, PIXEL_FORMATS, YuvLayout, brightest, from_yuv, to_yuv

Array = NDArray[np.float64]
COEFFICIENTS = {
    "bt709": (0.2126, 0.0722),
    "bt601": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
SITES = {"left": (0.0, 0.5), "center": (0.5, 0.5), "topleft": (0.0, 0.0), "top": (0.5, 0.0)}
"""How many luma samples the first chroma sample of 4:2:0 lies right of and below the first luma sample (H.273 figure 1)."""


def interpolated(c: Array, step: int, lead: float, count: int, axis: int) -> Array:
    """Linear interpolation at luma positions of samples that lie at lead, lead + step, ...; edges repeat."""
    place = ((np.arange(count) - lead) / step).clip(0, c.shape[axis] - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, c.shape[axis] - 1)
    share = (place - low).reshape((-1, 1) if axis == 0 else (1, -1))
    return c.take(low, axis) * (1 - share) + c.take(high, axis) * share


def decoded(planes: list[Array], layout: YuvLayout) -> Array:
    """R'G'B' of planes by H.273 8.3, unclamped."""
    unit, top = 2.0 ** (layout.depth - 8), 2.0**layout.depth - 1
    kr, kb = COEFFICIENTS[layout.matrix]
    if layout.full_range:
        y, *c = planes[0] / top, *((p - 128 * unit) / top for p in planes[1:])
    else:
        y, *c = (
            (planes[0] - 16 * unit) / (219 * unit),
            *((p - 128 * unit) / (224 * unit) for p in planes[1:]),
        )
    for axis, log2 in ((0, layout.sub[1]), (1, layout.sub[0])):
        step = 2**log2
        lead = SITES[layout.siting][1 - axis] * 2 * (step - 1) / 2
        c = [interpolated(p, step, lead, y.shape[axis], axis) for p in c]
    cb, cr = c
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.stack([r, (y - kr * r - kb * b) / (1 - kr - kb), b])


def filtered(c: Array, axis: int) -> Array:
    """[1 2 1]/4 at every other sample of an axis; edges repeat."""
    count = c.shape[axis]
    wide = np.pad(c, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
    before, own, after = (wide.take(range(k, k + count), axis) for k in range(3))
    return ((before + 2 * own + after) / 4).take(range(0, count, 2), axis)


def encoded(rgb: Array, layout: YuvLayout = HDR10) -> list[Array]:
    """Limited BT.2020nc of R'G'B' by BT.2020 table 5, subsampled chroma filtered around its site; unrounded."""
    kr, kb = COEFFICIENTS["bt2020nc"]
    unit = 2.0 ** (layout.depth - 8)
    y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2]
    out = [unit * (16 + 219 * y)]
    for c in ((rgb[2] - y) / (2 * (1 - kb)), (rgb[0] - y) / (2 * (1 - kr))):
        tall = filtered(c, 0) if layout.sub[1] else c
        out.append(unit * (128 + 224 * (filtered(tall, 1) if layout.sub[0] else tall)))
    return out


def random_planes(layout: YuvLayout, height: int, width: int) -> list[torch.Tensor]:
    dtype = torch.uint8 if layout.depth == 8 else torch.uint16
    small = (-(-height >> layout.sub[1]), -(-width >> layout.sub[0]))
    shapes = [(height, width)] if layout.grey else [(height, width), small, small]
    rng = np.random.default_rng(3)
    return [
        torch.from_numpy(rng.integers(0, 2**layout.depth, s).astype(np.int32)).to(dtype)
        for s in shapes
    ]


def neutral(nits: float) -> torch.Tensor:
    return torch.full((3, 8, 8), pq_code(nits))


def smooth(height: int, width: int, top: float = 1.0) -> torch.Tensor:
    small = torch.rand(
        1, 3, max(2, height // 8), max(2, width // 8), generator=torch.Generator().manual_seed(5)
    )
    return (
        torch.nn.functional.interpolate(
            small, (height, width), mode="bilinear", align_corners=True
        )[0]
        * top
    )


@pytest.mark.parametrize("matrix", COEFFICIENTS)
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("depth", [8, 10])
def test_decoding_is_the_formula(matrix: str, full_range: bool, depth: int) -> None:
    layout = YuvLayout(matrix, full_range, depth)
    planes = random_planes(layout, 13, 21)
    truth = decoded([p.numpy().astype(np.float64) for p in planes], layout).clip(0, 1)
    np.testing.assert_allclose(from_yuv(tuple(planes), layout).numpy(), truth, atol=1e-6)


@pytest.mark.parametrize("siting", SITES)
@pytest.mark.parametrize("sub", [(1, 1), (1, 0), (0, 0), (2, 0), (2, 2), (0, 1)])
@pytest.mark.parametrize("size", [(8, 8), (13, 21), (1, 1), (300, 250)])
def test_chroma_is_interpolated_from_where_it_sits(
    siting: str, sub: tuple[int, int], size: tuple[int, int]
) -> None:
    layout = YuvLayout("bt709", False, 8, sub, siting)
    planes = random_planes(layout, *size)
    truth = decoded([p.numpy().astype(np.float64) for p in planes], layout).clip(0, 1)
    np.testing.assert_allclose(from_yuv(tuple(planes), layout).numpy(), truth, atol=1e-6)


def test_left_and_center_siting_are_half_a_luma_sample_apart() -> None:
    """On a ramp of Cr, centred chroma lies half a sample further right: a pixel sees half a sample less of the ramp."""
    y = torch.full((8, 32), 126, dtype=torch.uint8)
    cb = torch.full((4, 16), 128, dtype=torch.uint8)
    cr = (104 + 3 * torch.arange(16, dtype=torch.uint8)).expand(4, -1)
    left, center = (
        from_yuv((y, cb, cr), YuvLayout("bt709", siting=s))[0] for s in ("left", "center")
    )
    per_sample = 1.5748 * 3 / 224 / 2  # of R', since chroma samples are two luma samples apart
    inner = slice(4, 28)
    torch.testing.assert_close(
        (left - center)[:, inner], torch.full((8, 24), 0.5 * per_sample), atol=1e-5, rtol=0
    )


def test_rgb_and_grey_planes() -> None:
    rgb = random_planes(YuvLayout("rgb", True, 8, (0, 0)), 6, 7)
    torch.testing.assert_close(
        from_yuv(tuple(rgb), YuvLayout("rgb", True, 8, (0, 0))), torch.stack(rgb).float() / 255
    )
    grey = torch.tensor([[16, 235, 126]], dtype=torch.uint8)
    expected = torch.tensor([[0.0, 1.0, 110 / 219]]).expand(3, 1, 3)
    torch.testing.assert_close(from_yuv((grey,), YuvLayout("bt709", grey=True)), expected)


@pytest.mark.parametrize(
    ("nits", "code"), [(0, 64), (100, 509), (203, 573), (600, 674), (1000, 723), (4000, 855)]
)
def test_anchors_of_bt2408(nits: float, code: int) -> None:
    y, cb, cr = to_yuv(neutral(nits), seed=None, peak_code=1.0)
    assert set(y.flatten().tolist()) == {code}
    assert set(cb.flatten().tolist()) == set(cr.flatten().tolist()) == {512}


LIMITED = [name for name in PIXEL_FORMATS if name != "gbrp16"]


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("size", [(64, 96), (2, 2), (34, 4000)])
def test_encoding_without_noise_is_the_formula_rounded(name: str, size: tuple[int, int]) -> None:
    layout = PIXEL_FORMATS[name]
    for rgb in (smooth(*size), torch.rand(3, *size, generator=torch.Generator().manual_seed(1))):
        truth = encoded(rgb.numpy().astype(np.float64), layout)
        planes = to_yuv(rgb, seed=None, peak_code=1.0, layout=layout)
        for plane, exact in zip(planes, truth, strict=True):
            assert plane.dtype == torch.uint16
            assert np.abs(plane.numpy() - exact).max() <= 0.5 + 1e-3 * layout.unit / 4


def test_white_at_203_nits_has_its_code_in_every_format() -> None:
    """BT.2408 table 1: 58 % of PQ. BT.2100 table 9: 10 and 12 bits limited, 16 bits full range."""
    whites = {"10": 573, "12": 2291, "16": 38055}
    for name, layout in PIXEL_FORMATS.items():
        planes = to_yuv(neutral(203), seed=None, peak_code=1.0, layout=layout)
        neutrals = [whites["16"]] * 2 if name == "gbrp16" else [128 << layout.depth - 8] * 2
        assert [set(p.flatten().tolist()) for p in planes] == [
            {code} for code in (whites[name[-2:]], *neutrals)
        ]


def test_odd_sizes_repeat_their_edge() -> None:
    rgb = smooth(31, 45)
    padded = torch.cat([rgb, rgb[:, -1:]], 1)
    padded = torch.cat([padded, padded[:, :, -1:]], 2)
    for odd, even in zip(*(to_yuv(x, seed=4, peak_code=0.75) for x in (rgb, padded)), strict=True):
        assert torch.equal(odd, even)


@pytest.mark.parametrize("name", LIMITED)
def test_brightest_is_the_formula(name: str) -> None:
    rgb, layout = smooth(40, 60, 0.7), PIXEL_FORMATS[name]
    planes = to_yuv(rgb, seed=2, peak_code=0.75, layout=layout)
    truth = decoded([p.numpy().astype(np.float64) for p in planes], layout).max(0)
    np.testing.assert_allclose(brightest(planes, layout).numpy(), truth, atol=1e-6)


@pytest.mark.parametrize("name", PIXEL_FORMATS)
@pytest.mark.parametrize("peak", [400, 1000, 4000])
@pytest.mark.parametrize("seed", [None, 0, 12345])
def test_peak_is_never_passed(name: str, peak: int, seed: int | None) -> None:
    code, layout = pq_code(peak), PIXEL_FORMATS[name]
    noisy = torch.rand(3, 96, 160, generator=torch.Generator().manual_seed(peak)) * 1.3
    corners = (noisy > 0.6).float()  # saturated colours side by side, white among them
    for rgb in (noisy, corners, smooth(96, 160, 1.2), neutral(peak)):
        planes = to_yuv(rgb, seed=seed, peak_code=code, layout=layout)
        found = [p.numpy().astype(np.float64) for p in planes]
        if name == "gbrp16":
            assert max(p.max() for p in found) / 65535 <= code
        else:
            assert decoded(found, layout).max() <= code


def test_holding_the_peak_lowers_no_more_than_it_must() -> None:
    """A grey at the peak loses less than a code, and a picture well below the peak nothing."""
    code = pq_code(1000)
    (y, _, _), exact = to_yuv(neutral(1000), seed=None, peak_code=code), 64 + 876 * code
    assert set(y.flatten().tolist()) == {math.floor(exact)}
    rgb = smooth(64, 96, 0.5)
    for held, free in zip(*(to_yuv(rgb, seed=None, peak_code=p) for p in (0.75, 1.0)), strict=True):
        assert torch.equal(held, free)


def test_noise_is_zero_in_the_mean_and_two_codes_wide() -> None:
    """TPDF noise makes the mean of the rounded codes the unrounded code, whatever the fraction (hence no bands)."""
    for fraction in (0.0, 0.25, 0.5, 0.9):
        level = (400 + fraction) / 876
        y, cb, _ = to_yuv(torch.full((3, 256, 256), level), seed=9, peak_code=1.0)
        error = y.float() - (464 + fraction)
        assert (
            abs(float(error.mean())) < 0.012
        )  # five standard errors of a mean over 65,536 samples of this variance
        assert float(error.abs().max()) <= 1.5
        assert (
            abs(float(error.var()) - 0.25) < 0.02
        )  # of TPDF noise and rounding together: 1/6 + 1/12
        assert abs(float((cb.float() - 512).mean())) < 0.025
        assert set(cb.flatten().tolist()) == {511, 512, 513}


def test_noise_is_its_seed_and_nothing_else(threads: Callable[[int], None]) -> None:
    rgb = smooth(120, 322, 0.7)
    first = to_yuv(rgb, seed=77, peak_code=0.75)
    threads(1)
    second = to_yuv(rgb, seed=77, peak_code=0.75)
    other = to_yuv(rgb, seed=78, peak_code=0.75)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(not torch.equal(a, b) for a, b in zip(first, other, strict=True))
    for seed in (-5, 2**40 + 77, 2**62):
        assert not torch.equal(to_yuv(rgb, seed=seed, peak_code=0.75)[0], first[0])


def test_noise_has_no_pattern() -> None:
    """Neighbours in space, planes and successive frames are uncorrelated, and no frequency stands out."""
    flat = torch.full((3, 256, 256), 0.5)
    y, cb, cr = ((p.double() - p.double().mean()) for p in to_yuv(flat, seed=100, peak_code=1.0))
    following = to_yuv(flat, seed=101, peak_code=1.0)[0].double()
    variance = y.var()
    pairs = [
        (y[1:], y[:-1]),
        (y[:, 1:], y[:, :-1]),
        (y[:, 2:], y[:, :-2]),
        (y[1:, 1:], y[:-1, :-1]),
        (y, following),
    ]
    for a, b in [*pairs, (y[::2, ::2], cb), (cb, cr)]:
        assert abs(float((a * (b - b.mean())).mean() / variance)) < 5 / a.numel() ** 0.5
    spectrum = torch.fft.rfft2(y).abs().square() / (y.numel() * variance)
    assert (
        float(spectrum.max()) < math.log(spectrum.numel()) + 7
    )  # the maximum of that many exponential variables


def test_black_stays_black_under_noise() -> None:
    rgb = torch.zeros(3, 64, 64)
    rgb[:, :, 32:] = 0.4
    y, cb, cr = to_yuv(rgb, seed=3, peak_code=0.75)
    assert set(y[:, :32].flatten().tolist()) == {64}
    assert set(cb[:, :16].flatten().tolist()) == set(cr[:, :16].flatten().tolist()) == {512}
    faint = torch.full((3, 256, 256), 0.4 / 876)  # brighter than black by less than half a code
    assert float(to_yuv(faint, seed=3, peak_code=0.75)[0].float().mean()) - 64 <= 0.4
