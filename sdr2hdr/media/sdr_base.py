"""The SDR picture of an Ultra HDR file, and the gains from it to the HDR picture.

Sources: IEC 61966-2-1 (sRGB), ISO 21496-1:2025 (gains apply to the light of the base, in its primaries).
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdr2hdr.color.gainmap import GainMap, gain_map
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import (
    WHITE,
    bt1886_eotf,
    pq_eotf,
    srgb_eotf,
    srgb_inverse_eotf,
)
from sdr2hdr.color.turn import UPRIGHT, Turn
from sdr2hdr.errors import InputError
from sdr2hdr.media.icc import read_profile
from sdr2hdr.media.jpeg import Jpeg
from sdr2hdr.media.photo import UNREADABLE
from sdr2hdr.media.picture import Picture
from sdr2hdr.media.ultrahdr import profile_of

_QUALITY = 95


def sdr_base(picture: Picture, exif: bytes, path: Path) -> Jpeg:
    """A JPEG in sRGB of an upright picture of ``path``, with these EXIF data."""
    codes = srgb_inverse_eotf(bt1886_eotf(replace(picture, deband="off").rgb()))
    samples = codes.mul_(255).round_().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(samples).save(
        buffer, "JPEG", quality=_QUALITY, subsampling=0, optimize=True, exif=exif
    )
    return Jpeg.of(buffer.getvalue(), path)


def gains_over(
    base: Jpeg, planes: Sequence[Tensor], size: tuple[int, int], turn: Turn = UPRIGHT
) -> GainMap:
    """The gains from a base to an upright HDR picture, in the base's primaries and as the base is stored.

    ``planes`` are R', G', B' of BT.2020 in PQ, 16 bits, of which ``size`` (height, width) counts; ``turn`` leads to the base.
    Raises InputError if the base does not decode.
    """
    height, width = size
    primaries = read_profile(profile_of(base)).primaries or "bt709"
    sdr = srgb_eotf(base_codes(base))
    codes = torch.stack([p[:height, :width].to(torch.float32) for p in planes]).div_(65535)
    hdr = convert(pq_eotf(codes).div_(WHITE), "bt2020", primaries).clamp_min_(0.0)
    return gain_map(sdr, turn(hdr))


def base_codes(base: Jpeg) -> Tensor:
    """The R'G'B' codes ``3,H,W`` 0..1 of a base, as libjpeg decodes it for most viewers. Raises InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its index of other pictures may no longer be true
            picture = Image.open(io.BytesIO(base.with_segments(base.segments)))
            samples = np.asarray(picture.convert("RGB"))
    except UNREADABLE as e:
        raise InputError(f"The JPEG of the source does not decode ({e}); get a new copy.") from e
    return torch.from_numpy(samples.copy()).permute(2, 0, 1).float().div_(255)
