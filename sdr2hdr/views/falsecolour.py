"""Luminance as colour, with a scale in nits and the levels of BT.2408 for typical objects.

Source of the levels: BT.2408-7 clause 2.2, tables 1 (grey, white) and 2 (skin by the Fitzpatrick scale, grass).
"""

from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sdr2hdr.color.transfer import pq_code, pq_eotf, pq_inverse_eotf
from sdr2hdr.views.pictures import image

LOWEST, HIGHEST = 0.1, 4000.0
"""Ends of the scale in nits; light outside them has the colour of the end."""

_STOPS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0.1, (0, 0, 0)),
    (1.0, (44, 20, 84)),
    (5.0, (38, 60, 160)),
    (15.0, (20, 120, 170)),
    (26.0, (128, 128, 128)),  # 18 % grey is grey
    (45.0, (30, 140, 70)),
    (100.0, (150, 200, 60)),
    (203.0, (255, 255, 255)),  # and reference white white
    (240.0, (255, 225, 60)),
    (400.0, (255, 150, 20)),
    (700.0, (235, 60, 30)),
    (1000.0, (200, 0, 90)),
    (2000.0, (220, 60, 220)),
    (4000.0, (255, 190, 255)),
)
_WORDS, _GROUND = (225, 225, 225), (24, 24, 24)
_TICKS = (0.1, 1, 5, 10, 26, 50, 100, 203, 400, 600, 1000, 2000, 4000)


@dataclass(frozen=True)
class Level:
    """The level of an object in BT.2408, nits; one level where ``low`` equals ``high``; ``row`` is where to draw it."""

    name: str
    low: float
    high: float
    row: int


LEVELS = (
    Level("18 % grey", 26, 26, 0),
    Level("reference white", 203, 203, 0),
    Level("skin V-VI", 10, 40, 1),
    Level("skin III-IV", 40, 85, 1),
    Level("grass", 30, 65, 2),
    Level("skin I-II", 65, 110, 2),
)
CLAUSE = "levels: ITU-R BT.2408-7 clause 2.2, tables 1 and 2 (skin by the Fitzpatrick scale)"


def place(nits: float) -> float:
    """Where on the scale a luminance stands, 0..1, in even steps of PQ code."""
    low, high = pq_code(LOWEST), pq_code(HIGHEST)
    return min(1.0, max(0.0, (pq_code(nits) - low) / (high - low)))


def false_colour(nits: Tensor) -> Tensor:
    """Luminance ``H,W`` in nits to R'G'B' ``3,H,W`` 0..1."""
    codes = torch.tensor([pq_code(n) for n, _ in _STOPS])
    colours = torch.tensor([c for _, c in _STOPS], dtype=torch.float32).T / 255
    code = pq_inverse_eotf(nits).clamp(float(codes[0]), float(codes[-1])).contiguous()
    above = torch.searchsorted(codes, code, right=True).clamp(1, len(codes) - 1)
    share = (code - codes[above - 1]) / (codes[above] - codes[above - 1])
    return colours[:, above - 1] * (1 - share) + colours[:, above] * share


def font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """The typeface for words on pictures; it comes with Pillow."""
    return ImageFont.load_default(size)


def scale(width: int) -> Image.Image:
    """The scale as a picture: nits below the bar, BT.2408's levels above it. Narrower than 640 the words would overlap."""
    left, across, bar = 26, width - 52, 74
    picture = Image.new("RGB", (width, 142), _GROUND)
    draw, small = ImageDraw.Draw(picture), font(12)
    ramp = false_colour(pq_eotf(torch.linspace(pq_code(LOWEST), pq_code(HIGHEST), across))[None])
    picture.paste(image(ramp).resize((across, 22)), (left, bar))
    for nits in _TICKS:
        x = left + place(nits) * across
        draw.line((x, bar + 22, x, bar + 26), fill=_WORDS)
        draw.text((x, bar + 28), f"{nits:g}", fill=_WORDS, font=small, anchor="ma")
    for level in LEVELS:
        x, end, y = (
            left + place(level.low) * across,
            left + place(level.high) * across,
            19 + 24 * level.row,
        )
        if level.low == level.high:
            draw.line((x, y, x, bar), fill=_WORDS)
        else:
            draw.line((x + 1, y, end - 1, y), fill=_WORDS, width=2)
        words = f"{level.name} {level.low:g}" if level.low == level.high else level.name
        draw.text(
            ((x + end) / 2, y - 2),
            words,
            fill=_WORDS,
            font=small,
            anchor="md",
            stroke_width=2,
            stroke_fill=_GROUND,
        )
    draw.text((left, bar + 48), f"nits; {CLAUSE}", fill=(170, 170, 170), font=small)
    return picture
