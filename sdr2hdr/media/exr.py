"""OpenEXR pictures: linear light of BT.2020 in half floats.

Sources: OpenEXR's standard attributes (``chromaticities``, ``whiteLuminance``, ``framesPerSecond``, ``pixelAspectRatio``),
BT.2020-2 table 3 (primaries), ST 2084 eq. 4.1 (PQ).
"""

import io
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sdr2hdr.color.primaries import D65, PRIMARIES
from sdr2hdr.color.transfer import WHITE, pq_nits

if TYPE_CHECKING:
    from sdr2hdr.media.encoder import EncodeSettings

CHROMATICITIES = tuple(v for point in (*PRIMARIES["bt2020"], D65) for v in point)
"""x and y of red, green, blue and white."""


def exr(planes: tuple[Tensor, ...], settings: "EncodeSettings") -> bytes:
    """An OpenEXR file of R', G' and B' ``H,W`` uint16: PQ codes of the full range of 16 bits.

    Its channels R, G and B are half floats of linear light. 1.0 is HDR reference white, 203 nits, as ``whiteLuminance`` says.
    A half float is within 0.05 % of the code's light; two neighbouring codes of 10 bits are about 1 % apart.
    """
    import OpenEXR

    rate, light = settings.rate, _light()
    header: dict[str, Any] = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": CHROMATICITIES,
        "whiteLuminance": WHITE,
        "framesPerSecond": Fraction(rate),
        "pixelAspectRatio": float(settings.sample_aspect_ratio),
    }
    channels = {name: light[plane.numpy()] for name, plane in zip("RGB", planes, strict=True)}
    out = io.BytesIO()
    OpenEXR.File(header, channels, num_threads=0).write(out)
    return out.getvalue()


@cache
def _light() -> "np.ndarray[Any, np.dtype[np.float16]]":
    """The linear light of each PQ code of 16 bits, 1.0 for :data:`WHITE`."""
    return np.array([pq_nits(code / 65535) / WHITE for code in range(1 << 16)]).astype(np.float16)


@dataclass(frozen=True)
class ExrFacts:
    """What the header of an OpenEXR file says; ``white`` in nits."""

    size: tuple[int, int]
    channels: tuple[str, ...]
    chromaticities: tuple[float, ...]
    white: float


def exr_facts(data: bytes) -> ExrFacts:
    """What the header says. Raises RuntimeError for anything that OpenEXR cannot read."""
    import OpenEXR

    header = OpenEXR.File(io.BytesIO(data), header_only=True).header()
    (left, top), (right, bottom) = header["dataWindow"]
    return ExrFacts(
        (int(right - left) + 1, int(bottom - top) + 1),
        tuple(sorted(channel.name for channel in header["channels"])),
        tuple(header.get("chromaticities", ())),
        header.get("whiteLuminance", 0.0),
    )
