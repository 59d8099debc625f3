"""A finished picture in HLG, as :mod:`sdr2hdr.color.hlg` has it.

Curves are tables of the square roots of light, in which all of them are smooth; between entries they are linear.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.light import BAR, FINE_BINS, FrameLight
from sdr2hdr.color.transfer import hlg_eotf, hlg_gamma, hlg_inverse_eotf, pq_eotf, pq_inverse_eotf
from sdr2hdr.color.yuv import KB, KG, KR, YuvLayout
from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.metering import count, counted
from sdr2hdr.kernels.reading import read, reading
from sdr2hdr.kernels.rows import Row, f4, i4

_ENTRIES = 8192
_LAST, _STEPS = i4(_ENTRIES - 1), f4(_ENTRIES)
_R, _G, _B = f4(KR), f4(KG), f4(KB)


@dataclass(frozen=True)
class _Tables:
    """Curves over 0..1, ``8193`` each: root of light (the peak is 1) by PQ code and back, root of scene light by HLG code and
    back, and by the root of luminance what the OOTF multiplies roots of light with, and its inverse."""

    light: Row
    pq: Row
    scene: Row
    hlg: Row
    ootf: Row
    inverse: Row

    @classmethod
    def of(cls, peak: float) -> "_Tables":
        x = torch.linspace(0.0, 1.0, _ENTRIES + 1, dtype=torch.float64)
        gamma = hlg_gamma(peak)
        # of greys the display's light is the scene's to the power of gamma, with the peak 1
        grey = x.float().expand(3, 1, -1)
        scene = (hlg_eotf(grey, peak)[0, 0].double() / peak).pow(0.5 / gamma)
        hlg = hlg_inverse_eotf(peak * x.pow(2.0 * gamma).expand(3, 1, -1), peak)[0, 0]
        lit = x.clone()
        lit[0] = 0.5 / _ENTRIES  # the inverse has no value at 0
        curves = (
            (pq_eotf(x.float()).double() / peak).sqrt(),
            pq_inverse_eotf((peak * x * x).float()),
            scene,
            hlg,
            x.pow(gamma - 1.0),
            lit.pow((1.0 - gamma) / gamma),
        )
        return cls(*(curve.float().numpy() for curve in curves))


_tables = cache(_Tables.of)


@row
def _at(table: Row, place: np.float32) -> np.float32:
    x = min(max(place, f4(0.0)), f4(1.0)) * _STEPS
    i = min(i4(x), _LAST)
    return f4(table[i] + (table[i + 1] - table[i]) * (x - f4(i)))


@row
def _coded(r: Row, g: Row, b: Row, light: Row, inverse: Row, hlg: Row, out: Row) -> None:
    """A row of PQ codes to one of HLG codes ``3,W``."""
    for i in range(len(r)):
        red, green, blue = _at(light, r[i]), _at(light, g[i]), _at(light, b[i])
        red, green, blue = min(red, f4(1.0)), min(green, f4(1.0)), min(blue, f4(1.0))
        luma = np.sqrt(red * red * _R + green * green * _G + blue * blue * _B)
        gain = _at(inverse, luma)
        out[0, i] = _at(hlg, red * gain)
        out[1, i] = _at(hlg, green * gain)
        out[2, i] = _at(hlg, blue * gain)


@row
def _shown(r: Row, g: Row, b: Row, scene: Row, ootf: Row, pq: Row, out: Row) -> None:
    """A row of HLG codes to the PQ codes of the brightest channel on the display."""
    for i in range(len(r)):
        red, green, blue = _at(scene, r[i]), _at(scene, g[i]), _at(scene, b[i])
        luma = np.sqrt(red * red * _R + green * green * _G + blue * blue * _B)
        out[i] = _at(pq, max(red, green, blue) * _at(ootf, luma))


@kernel
def _code(
    codes: NDArray[np.float32],
    light: Row,
    inverse: Row,
    hlg: Row,
    out: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    for at in range(first, last):
        _coded(codes[0, at], codes[1, at], codes[2, at], light, inverse, hlg, out[:, at])


@kernel
def _meter(
    rgb: NDArray[np.float32],
    scene: Row,
    ootf: Row,
    pq: Row,
    counts: NDArray[np.int32],
    lit_rows: NDArray[np.uint8],
    tops: Row,
    first: int,
    last: int,
) -> None:
    width = rgb.shape[2]
    code, fine = np.empty(width, np.float32), np.empty(width, np.int32)
    for at in range(first, last):
        _shown(rgb[0, at], rgb[1, at], rgb[2, at], scene, ootf, pq, code)
        count(code, fine, counts, lit_rows, tops, at)


def hlg_of_pq(codes: Tensor, peak: float) -> Tensor:
    """HLG codes of PQ codes ``3,H,W`` on the CPU, as :func:`sdr2hdr.color.hlg.hlg_of_pq` gives them."""
    t, out = _tables(peak), torch.empty(codes.shape)
    source = codes.contiguous().numpy()
    in_bands(codes.shape[1], partial(_code, source, t.light, t.inverse, t.hlg, out.numpy()))
    return out


def metered(planes: tuple[Tensor, Tensor, Tensor], layout: YuvLayout, peak: float) -> FrameLight:
    """The light of planes in HLG on the CPU, on the display that they were graded for."""
    t, rgb = _tables(peak), read(planes, reading(layout)).numpy()
    _, height, width = rgb.shape
    lit_rows = np.zeros(height, np.uint8)

    def band(a: int, b: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        counts, tops = np.zeros((2, FINE_BINS), np.int32), np.zeros(width, np.float32)
        _meter(rgb, t.scene, t.ootf, t.pq, counts, lit_rows, tops, a, b)
        return counts, tops

    bands = in_bands(height, band)
    tops = np.maximum.reduce([tops for _, tops in bands])
    return FrameLight(
        torch.from_numpy(tops).max(),
        torch.from_numpy(counted([counts for counts, _ in bands])),
        torch.from_numpy(lit_rows.astype(bool)),
        torch.from_numpy(tops > BAR),
    )
