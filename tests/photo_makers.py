"""Still pictures for tests, and colour profiles in them."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Xyz = tuple[float, float, float]
P3: tuple[Xyz, Xyz, Xyz] = (  # the colorants of Apple's Display P3, D50
    (0.5151, 0.2412, -0.0011),
    (0.2919, 0.6922, 0.0419),
    (0.1572, 0.0666, 0.7841),
)
ADOBE: tuple[Xyz, Xyz, Xyz] = (
    (0.6097, 0.3111, 0.0195),
    (0.2053, 0.6257, 0.0609),
    (0.1492, 0.0632, 0.7446),
)


def picture(width: int = 96, height: int = 64) -> Image.Image:
    """Smooth gradients, black, white and a saturated red."""
    y, x = np.mgrid[0:height, 0:width]
    colours = [x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)]
    rgb = np.stack(colours, -1).astype(np.uint8)
    rgb[: height // 4, : width // 4] = 0
    rgb[-height // 4 :, -width // 4 :] = 255
    rgb[: height // 4, -width // 4 :] = (255, 0, 0)
    return Image.fromarray(rgb)


def photo(path: Path, size: tuple[int, int] = (96, 64), **saved: Any) -> Path:
    """A file of :func:`picture`, in the format of its ending."""
    picture(*size).save(path, **({"quality": 95} | saved))
    return path


def profile(name: str, colorants: tuple[Xyz, Xyz, Xyz], gamma: float | None = None) -> bytes:
    """An ICC profile (ICC.1:2022) of a display with these primaries, and the curve of sRGB or a power."""
    if gamma is None:
        curve = struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    else:
        curve = struct.pack(">HH", 0, 0) + _fixed(gamma)
    trc = b"para\0\0\0\0" + curve
    white = 0.9642, 1.0, 0.8249
    tags = {b"desc": _text(name), b"cprt": _text("none"), b"wtpt": _xyz(white)}
    tags |= {key: _xyz(c) for key, c in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), trc)
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I4xI", start + len(body), 0x04200000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*white)
    return head.ljust(128, b"\0") + table + body


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _xyz(values: Xyz) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _text(words: str) -> bytes:
    encoded = words.encode("utf-16-be")
    return (
        b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded
    )
