"""What the file of a still picture says of it besides its samples: its orientation, its colour profile, its EXIF data.

Sources: CIPA DC-008 4.6.5 (Orientation), TIFF 6.0. PyAV has no names for some of this, so Pillow reads it.
"""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdr2hdr.color.turn import UPRIGHT, Turn
from sdr2hdr.errors import InputError
from sdr2hdr.media.icc import Profile, read_profile

_ORIENTATION = 0x0112
_TURNS = {
    2: Turn(False, False, True),
    3: Turn(False, True, True),
    4: Turn(False, True, False),
    5: Turn(True, False, False),
    6: Turn(True, False, True),
    7: Turn(True, True, True),
    8: Turn(True, True, False),
}
"""How the orientations of DC-008 are put upright."""
_COMPRESSION, _JPEG_INSIDE = 259, (6, 7)
"""A tag of TIFF 6.0, and its values for JPEG: TIFF 6.0's own and that of technical note 2."""
MISTAKEN = {"mjpeg", "tiff"}
"""Codecs of pictures that FFmpeg may mistake: :func:`check_picture` looks into their files."""
UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, SyntaxError, OverflowError),
    *(struct.error, Image.DecompressionBombError),
)
"""What Pillow raises for damaged files."""


@dataclass(frozen=True)
class Photo:
    """What a file says of its picture: how it is ``turn``-ed upright, its colour ``profile``, and the ``exif`` data of the
    upright picture; empty without any.

    ``has_xmp``: it holds XMP data as well. ``moves``: it is an animation. ``has_companions``: a JPEG behind which pictures or a
    video lie that belong to it. ``pages``: how many pictures a TIFF holds. ``profile_first``: the profile counts more than the
    tags in the coded picture (ISO/IEC 23008-12 6.5.5).
    """

    turn: Turn = UPRIGHT
    profile: Profile | None = None
    exif: bytes = b""
    has_xmp: bool = False
    moves: bool = False
    has_companions: bool = False
    pages: int = 1
    profile_first: bool = False


def check_picture(path: Path) -> None:
    """Raise InputError for a JPEG or TIFF that FFmpeg decodes without an error to something else than its picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of size and of damage, which decoding finds
            with Image.open(path) as picture:
                mode, compression = picture.mode, getattr(picture, "tag_v2", {}).get(_COMPRESSION)
    except UNREADABLE:
        return
    if compression in _JPEG_INSIDE:
        raise InputError(
            f"{path} is a TIFF with JPEG compression, which is not read here; save it with LZW or Deflate, or as PNG."
        )
    if mode == "CMYK":
        raise InputError(f"{path} is a CMYK picture, made for print; convert it to sRGB first.")


def read_photo(path: Path) -> Photo:
    """What a still picture says of itself; nothing if that cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of size and of damage, which decoding finds
            with Image.open(path) as picture:
                exif, icc = picture.getexif(), picture.info.get("icc_profile")
                turn = _TURNS.get(exif.get(_ORIENTATION, 1), UPRIGHT)
                exif[_ORIENTATION] = 1
                words = exif.tobytes() if len(exif) > 1 else b""
                # an index (CIPA DC-007), or Google's directory of what follows
                xmp = picture.info.get("xmp") or b""
                companions = "mp" in picture.info or b"Container:" in xmp
                count, kind = getattr(picture, "n_frames", 1), picture.format
    except UNREADABLE:
        return Photo()
    moves = count > 1 and kind in {"GIF", "PNG", "WEBP"}
    profile = read_profile(icc) if icc else None
    return Photo(turn, profile, words, bool(xmp), moves, companions, count if kind == "TIFF" else 1)
