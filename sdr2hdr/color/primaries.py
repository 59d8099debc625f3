"""Primaries, and the matrices that go between them in linear light.

Sources: BT.709-6, BT.601-7 (525 and 625 lines), BT.2020-2, SMPTE EG 432-1 (P3 with D65); the derivation is that of SMPTE RP 177.
"""

from functools import cache

import torch
from torch import Tensor

D65 = (0.3127, 0.3290)

PRIMARIES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt601-525": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    "bt601-625": ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3-d65": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "p3-dci": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Chromaticities x, y of red, green and blue; all have white D65. DCI's own white (0.314, 0.351, SMPTE RP 431-2) is shown as
D65, each primary keeping its chromaticity: white stays white, and that is how a P3 monitor is set up for such films."""


def _xyz(xy: tuple[float, float]) -> Tensor:
    x, y = xy
    return torch.tensor([x / y, 1.0, (1.0 - x - y) / y], dtype=torch.float64)


def rgb_to_xyz(name: str) -> Tensor:
    """The 3x3 float64 matrix from linear RGB of the named primaries to XYZ with Y of white = 1."""
    m = torch.stack([_xyz(p) for p in PRIMARIES[name]], dim=1)
    scaled: Tensor = m * torch.linalg.solve(m, _xyz(D65))
    return scaled


@cache
def rgb_matrix(source: str, to: str) -> Tensor:
    """The 3x3 float32 matrix from linear RGB of ``source`` primaries to ``to`` primaries (both white D65)."""
    matrix: Tensor = torch.linalg.solve(rgb_to_xyz(to), rgb_to_xyz(source)).float()
    return matrix


@cache
def _rows(source: str, to: str) -> tuple[tuple[float, ...], ...]:
    """The rows of :func:`rgb_matrix` as numbers: a product with numbers waits for no device."""
    return tuple(tuple(row) for row in rgb_matrix(source, to).tolist())


@cache
def _luminances(primaries: str) -> tuple[float, ...]:
    return tuple(rgb_to_xyz(primaries)[1].tolist())


def convert(rgb: Tensor, source: str, to: str) -> Tensor:
    """Linear-light RGB ``...,3,H,W`` from one set of primaries to another; unclamped, float32 (BT.2087 for 709 to 2020)."""
    r, g, b = rgb.float().unbind(-3)
    # three multiply-adds a channel are faster than einsum on planes, and exact in order on every machine
    return torch.stack([row[0] * r + row[1] * g + row[2] * b for row in _rows(source, to)], dim=-3)


def luminance(rgb: Tensor, primaries: str = "bt2020") -> Tensor:
    """Luminance Y ``...,H,W`` of linear RGB ``...,3,H,W`` in the same unit."""
    kr, kg, kb = _luminances(primaries)
    r, g, b = rgb.float().unbind(-3)
    y: Tensor = kr * r + kg * g + kb * b
    return y
