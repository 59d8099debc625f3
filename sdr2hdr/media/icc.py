"""Colour profiles in pictures: which display they describe.

Sources: ICC.1:2022 (profiles; annex E, the adaptation to D50), read by LittleCMS; IEC 61966-2-1 (sRGB), SMPTE EG 432-1 (P3).
"""

import io
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageCms

from sdr2hdr.color.primaries import rgb_to_xyz

_CODES = 3
"""Codes of 8 bits by which a profile's greys may differ from those of sRGB."""
_CLOSE = 0.004
"""By how much XYZ of the primaries may differ: those in profiles are rounded."""
_TO_D50 = torch.tensor(
    [
        [1.0478112, 0.0228866, -0.0501270],
        [0.0295424, 0.9904844, -0.0170491],
        [-0.0092345, 0.0150436, 0.7521316],
    ],
    dtype=torch.float64,
)
"""From D65 to D50, to which profiles are adapted (Bradford)."""
_KNOWN = ("bt709", "p3-d65", "bt2020")


@dataclass(frozen=True)
class Profile:
    """A colour profile: its ``name`` for people, and its ``transfer`` and ``primaries`` (:mod:`sdr2hdr.color.names`), each empty
    if it is not known here."""

    name: str
    transfer: str = ""
    primaries: str = ""

    @property
    def is_known(self) -> bool:
        return bool(self.transfer and self.primaries)


def read_profile(data: bytes) -> Profile:
    """What a profile says. It never fails: a damaged profile is not known."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(data))
        about: Any = opened.profile
        name = str(about.profile_description or "").strip()[:60] or "without a name"
        if about.xcolor_space.strip() != "RGB":
            return Profile(name)
        return Profile(name, _transfer(opened), _primaries(about))
    except (OSError, ImageCms.PyCMSError, TypeError, ValueError, AttributeError):
        return Profile("damaged")


def _transfer(profile: ImageCms.ImageCmsProfile) -> str:
    """``srgb`` if greys have the curve of sRGB; whatever the primaries, they are greys in sRGB as well."""
    ramp = Image.frombytes("RGB", (256, 1), bytes(v for code in range(256) for v in (code,) * 3))
    srgb = ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    shown = ImageCms.profileToProfile(ramp, profile, srgb, renderingIntent=intent)
    if shown is None:
        return ""
    pairs = zip(ramp.tobytes(), shown.tobytes(), strict=True)
    return "srgb" if all(abs(a - b) <= _CODES for a, b in pairs) else ""


def _primaries(about: Any) -> str:
    """The set of primaries that the profile's red, green and blue are close to."""
    found = [about.red_colorant, about.green_colorant, about.blue_colorant]
    if not all(found):
        return ""
    xyz = torch.tensor([each[0] for each in found], dtype=torch.float64).T
    close = (name for name in _KNOWN if (_TO_D50 @ rgb_to_xyz(name) - xyz).abs().max() < _CLOSE)
    return next(close, "")
