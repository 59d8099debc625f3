"""Plots as inline SVG: light on a PQ axis, and the chromaticity diagram.

Sources: ISO/CIE 11664-1 (the spectrum's chromaticities), SMPTE ST 2084 (the axis of light).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdr2hdr.color.primaries import D65, PRIMARIES
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.metrics.film import CELL, CELLS
from sdr2hdr.text import html_text
from sdr2hdr.views.pictures import png_uri

_TICKS = (0, 0.1, 1, 5, 10, 26, 50, 100, 203, 400, 1000, 2000, 4000, 10000)
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 1200, 300, 60, 30, 20, 40

_SPECTRUM = (  # CIE 1931 x, y of single wavelengths, 390 to 700 nm
    (0.1738, 0.0049), (0.1714, 0.0051), (0.1689, 0.0069), (0.1644, 0.0109), (0.1566, 0.0177), (0.1440, 0.0297),
    (0.1355, 0.0399), (0.1241, 0.0578), (0.1096, 0.0868), (0.0913, 0.1327), (0.0687, 0.2007), (0.0454, 0.2950),
    (0.0235, 0.4127), (0.0082, 0.5384), (0.0039, 0.6548), (0.0139, 0.7502), (0.0389, 0.8120), (0.0743, 0.8338),
    (0.1142, 0.8262), (0.1547, 0.8059), (0.1929, 0.7816), (0.2296, 0.7543), (0.3016, 0.6923), (0.3731, 0.6245),
    (0.4441, 0.5547), (0.5125, 0.4866), (0.5752, 0.4242), (0.6270, 0.3725), (0.6658, 0.3340), (0.6915, 0.3083),
    (0.7079, 0.2920), (0.7190, 0.2809), (0.7300, 0.2700), (0.7347, 0.2653),
)  # fmt: skip

TRIANGLES = (
    ("BT.709", "bt709", "#d0d0d0"),
    ("P3", "p3-d65", "#e08080"),
    ("BT.2020", "bt2020", "#80c080"),
)


@dataclass(frozen=True)
class Line:
    """A line of a plot: points (x in the plot's unit, y likewise), its class (``a``, ``b``, ``truth``) and its name."""

    points: Sequence[tuple[float, float]]
    kind: str
    name: str
    dashed: bool = False


def light_over_time(
    lines: Sequence[Line], cuts: Sequence[float], seconds: float, name: str, title: str
) -> str:
    """Lines of nits over seconds; ``cuts`` in seconds are drawn as thin lines."""
    top = max([203.0, *(y for line in lines for _, y in line.points)]) * 1.1
    span = pq_code(top)

    def down(nits: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - pq_code(nits) / span)

    def across(second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / max(seconds, 1e-9)

    parts = [_line((across(c), _TOP), (across(c), _HEIGHT - _BOTTOM), "#3d3d3d") for c in cuts]
    for nits in (t for t in _TICKS if t in (0, 1, 10, 26, 100, 203, 400, 1000, 4000) and t <= top):
        parts.append(
            _line(
                (_LEFT, down(nits)),
                (_WIDTH - _RIGHT, down(nits)),
                "#555" if nits == 203 else "#333",
            )
        )
        parts.append(_text(_LEFT - 8, down(nits) + 4, f"{nits:g}", "end"))
    for second in _steps(seconds):
        parts.append(_text(across(second), _HEIGHT - _BOTTOM + 18, f"{second:g} s"))
    parts += [_path([(across(x), down(y)) for x, y in line.points], line) for line in lines]
    return _svg(name, title, parts, lines)


def histogram(counts: Sequence[tuple[Tensor, str, str]], name: str, title: str) -> str:
    """Shares of pixels by luminance, in even steps of PQ code over 0..1; each count has a class and a name.

    Heights are square roots of shares, so that small highlights are seen.
    """
    shares = [(c.double() / max(float(c.sum()), 1.0)).sqrt() for c, _, _ in counts]
    most = max(float(s.max()) for s in shares)
    right = pq_code(10000.0)

    def across(code: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * code / right

    def down(share: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share / max(most, 1e-9))

    parts = []
    for nits in _TICKS:
        x = across(pq_code(nits))
        parts.append(
            _line((x, _TOP), (x, _HEIGHT - _BOTTOM), "#555" if nits in (26, 203) else "#333")
        )
        parts.append(_text(x, _HEIGHT - _BOTTOM + 18, f"{nits:g}"))
    lines = []
    for share, (_, kind, label) in zip(shares, counts, strict=True):
        points = [((i + 0.5) / len(share), float(s)) for i, s in enumerate(share)]
        lines.append(Line(points, kind, label))
        parts.append(_path([(across(x), down(y)) for x, y in points], lines[-1]))
    return _svg(name, title, parts, lines)


def chromaticity(
    count: Tensor, kind: str, colour: tuple[int, int, int], name: str, title: str
) -> str:
    """Pixels by CIE 1931 x, y in one colour, with spectrum, triangles and D65; ``count`` as in ``FilmFigures.chroma``."""
    side, edge = 700.0, 40.0
    rows, columns = CELLS

    def at(xy: tuple[float, float]) -> tuple[float, float]:
        return edge + xy[0] / 0.9 * side, edge + side - xy[1] / 0.9 * side

    strength = torch.log1p(count.double()) / max(float(torch.log1p(count.double()).max()), 1e-9)
    rgba = np.zeros((rows, columns, 4), np.uint8)
    rgba[..., :3] = colour
    rgba[..., 3] = (strength.flip(0) * 255).round().byte().numpy()
    left, top = at((0.0, 0.9))
    scale = side / 0.9 * CELL
    parts = [
        _polygon([at(p) for p in _SPECTRUM], "#777", "none"),
        f'<image x="{left:.1f}" y="{top:.1f}" width="{columns * scale:.1f}" height="{rows * scale:.1f}" '
        f'preserveAspectRatio="none" href="{png_uri(Image.fromarray(rgba))}"/>',
    ]
    for number, (label, key, stroke) in enumerate(TRIANGLES):
        parts.append(_polygon([at(p) for p in PRIMARIES[key]], stroke, key))
        parts.append(
            f'<text x="{edge + side - 70:.1f}" y="{edge + 20 * (number + 1):.1f}" style="fill:{stroke}">{label}</text>'
        )
    x, y = at(D65)
    parts.append(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="none" stroke="#fff"/>'
        + _text(x + 8, y + 4, "D65", "start")
    )
    for tenth in range(0, 9):
        x, y = at((tenth / 10, tenth / 10))
        parts += [
            _text(x, edge + side + 18, f"{tenth / 10:g}"),
            _text(edge - 6, y + 4, f"{tenth / 10:g}", "end"),
        ]
    label = f'<text class="{kind}" x="{edge}" y="22" style="fill:var(--{kind})">{html_text(title)}</text>'
    return f'<svg id="{name}" role="img" viewBox="0 0 {side + 2 * edge:g} {side + 2 * edge:g}">{label}{"".join(parts)}</svg>'


def _steps(seconds: float) -> list[float]:
    step = next(
        (s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800) if seconds / s <= 12),
        3600,
    )
    return [round(i * step, 3) for i in range(int(seconds / step) + 1)]


def _svg(name: str, title: str, parts: Sequence[str], lines: Sequence[Line]) -> str:
    legend, x = [], _LEFT + 420.0
    for line in lines:
        legend.append(_path([(x, 14), (x + 24, 14)], line) + _text(x + 30, 18, line.name, "start"))
        x += 60 + 7 * len(line.name)
    head = f'<text x="{_LEFT}" y="18" style="fill:#ddd">{html_text(title)}</text>'
    return f'<svg id="{name}" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">{head}{"".join([*legend, *parts])}</svg>'


def _path(points: Sequence[tuple[float, float]], line: Line) -> str:
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    return f'<path class="line" d="{d}" fill="none" style="stroke:var(--{line.kind})" stroke-width="1.6"{dash}/>'


def _line(a: tuple[float, float], b: tuple[float, float], stroke: str) -> str:
    return (
        f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" stroke="{stroke}"/>'
    )


def _polygon(points: Sequence[tuple[float, float]], stroke: str, kind: str) -> str:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon class="{kind}" points="{corners}" fill="none" stroke="{stroke}" stroke-width="1.4"/>'


def _text(x: float, y: float, content: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html_text(content)}</text>'
