"""The picture of ``preview``: the SDR frame, the output of each model, and their luminance."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from sdr2hdr.views.falsecolour import font, scale

_GAP, _HEAD, _GROUND, _LEAST = 8, 40, (24, 24, 24), 900


@dataclass(frozen=True)
class Column:
    """One way to see a frame: a title, a line of figures, the picture, and its luminance in false colour."""

    title: str
    figures: str
    picture: Image.Image
    luminance: Image.Image


def sheet(columns: Sequence[Column], foot: str) -> Image.Image:
    """Columns of one picture size side by side, the scale and a line of words below them."""
    width, height = columns[0].picture.size
    cell = max(width, _LEAST // len(columns) - _GAP)  # room for the words over small pictures
    across = _GAP + len(columns) * (cell + _GAP)
    strip = scale(across)
    down = _HEAD + 2 * (height + _GAP)
    out = Image.new("RGB", (across, down + strip.height + 24), _GROUND)
    draw = ImageDraw.Draw(out)
    for number, column in enumerate(columns):
        x = _GAP + number * (cell + _GAP)
        draw.text((x, 4), column.title, fill=(255, 255, 255), font=font(15))
        draw.text((x, 22), column.figures, fill=(190, 190, 190), font=font(12))
        for row, picture in enumerate((column.picture, column.luminance)):
            out.paste(picture, (x + (cell - width) // 2, _HEAD + row * (height + _GAP)))
    out.paste(strip, (0, down))
    draw.text((26, down + strip.height), foot, fill=(170, 170, 170), font=font(12))
    return out
