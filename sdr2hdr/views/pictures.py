"""Pictures for an SDR screen."""

import base64
import io
from fractions import Fraction

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sdr2hdr.color.primaries import convert
from sdr2hdr.color.tonemap import bt2390_eetf, bt2408, gamut_compress
from sdr2hdr.color.transfer import bt1886_inverse_eotf, pq_eotf, pq_inverse_eotf

SCREEN = 300.0
"""Nits of the screen that pictures are shown for: bright enough that 203 nits stay below its white, and so do highlights."""


def as_hdr(rgb: Tensor) -> Tensor:
    """SDR R'G'B' 0..1 as PQ codes ``3,H,W``: direct mapping with white at 203 nits (BT.2408-7 5.1.3), nothing added."""
    return pq_inverse_eotf(bt2408(rgb))


def on_screen(codes: Tensor, peak: float, screen: float = SCREEN) -> Tensor:
    """PQ codes ``3,H,W`` of BT.2020 to BT.709 R'G'B' 0..1 as a screen of that many nits shows them (BT.2390-11 5.4.1).

    ``peak`` is the brightest light the codes may hold. Colours outside BT.709 are desaturated until they fit.
    """
    light = bt2390_eetf(pq_eotf(codes), max(peak, screen), screen) / screen
    return bt1886_inverse_eotf(gamut_compress(convert(light, "bt2020", "bt709")))


def shown_size(size: tuple[int, int], aspect: Fraction, most: int) -> tuple[int, int]:
    """Height and width to show a picture ``height, width`` at: pixels made square, no edge beyond ``most``, not enlarged."""
    height, width = size
    wide = float(width * aspect)
    scale = min(1.0, most / max(height, wide))
    return max(1, round(height * scale)), max(1, round(wide * scale))


def fit(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """``C,H,W`` at another height and width, by the mean of what falls on a pixel."""
    if tuple(picture.shape[-2:]) == size:
        return picture
    return F.interpolate(picture[None], size, mode="area")[0]


def image(rgb: Tensor) -> Image.Image:
    """R'G'B' ``3,H,W`` 0..1 as an 8-bit image."""
    return Image.fromarray((rgb.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().cpu().numpy())


def jpeg_bytes(picture: Image.Image, quality: int = 88) -> bytes:
    """A picture as a JPEG file; colour in full resolution."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def jpeg_uri(picture: Image.Image, quality: int = 88) -> str:
    """A picture as a ``data:`` address, to stand in a page."""
    return as_uri(jpeg_bytes(picture, quality))


def as_uri(jpeg: bytes) -> str:
    """A JPEG file as a ``data:`` address."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def png_uri(picture: Image.Image) -> str:
    """A picture as a lossless ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(picture)).decode()
