"""Single pictures as files: PNG of 8 and 16 bits, as data sets have them, TIFF, JPEG, and Radiance HDR.

Sources: PNG third edition (W3C 2025) 5.2, 11.2.1 (IHDR) and 11.3.2.6 (cICP), H.273 table 3 (transfers); Ward's Radiance format.
"""

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import torch
from torch import Tensor

from sdr2hdr.errors import InputError
from sdr2hdr.media.shown import TRANSFER_NAMES

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_COLOURS = {0: "grey", 3: "a palette", 4: "grey"}


@dataclass(frozen=True)
class PngFacts:
    """``size`` is width, height; ``depth`` 8 or 16 bits; ``transfer`` what a cICP chunk names, or "untagged"."""

    size: tuple[int, int]
    depth: int
    transfer: str


def png_facts(path: Path) -> PngFacts:
    """What a PNG's header says, without decoding it. Raises InputError for anything but a whole PNG in RGB of 8 or 16 bits."""
    try:
        with path.open("rb") as f:
            head = f.read(1 << 16)
            f.seek(max(0, path.stat().st_size - len(_END)))
            end = f.read()
    except OSError as e:
        raise InputError(
            f"{path} cannot be read ({e.strerror}); check its name and permissions."
        ) from e
    if not head.startswith(_SIGNATURE) or len(head) < 33:
        raise InputError(f"{path} is not a PNG; take it out of the folder or make it one.")
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    if end != _END:
        raise InputError(f"{path} is cut short; get a new copy.")
    if colour not in (2, 6) or depth not in (8, 16):
        what = _COLOURS.get(colour, f"{depth}-bit colour")
        raise InputError(f"{path} holds {what}, not RGB of 8 or 16 bits; save it as RGB.")
    transfer, at = "untagged", 8
    while at + 12 <= len(head):
        size, kind = struct.unpack(">I4s", head[at : at + 8])
        if kind == b"cICP" and at + 12 <= len(head):
            transfer = TRANSFER_NAMES.get(head[at + 9], "untagged")
        if kind in (b"IDAT", b"IEND"):
            break
        at += 12 + size
    return PngFacts((width, height), depth, transfer)


def read_png(path: Path) -> Tensor:
    """The samples ``3,H,W`` of an RGB PNG, without any alpha: uint8, or int32 where they have 16 bits. Raises InputError."""
    facts = png_facts(path)
    form = "rgb24" if facts.depth == 8 else "rgb48le"
    try:
        with av.open(io.BytesIO(path.read_bytes()), "r", format="png_pipe") as file:
            pixels = next(file.decode(video=0)).reformat(format=form).to_ndarray()
    except (av.error.FFmpegError, StopIteration, ValueError) as e:
        raise InputError(f"{path} is damaged; get a new copy.") from e
    samples = torch.from_numpy(pixels if facts.depth == 8 else pixels.astype("int32"))
    return samples.permute(2, 0, 1).contiguous()


def read_codes(path: Path) -> Tensor:
    """A PNG as codes ``3,H,W`` float32, 0..1 of its full range. Raises InputError."""
    samples = read_png(path)
    return samples.float() / (255.0 if samples.dtype == torch.uint8 else 65535.0)


_PIPES = {".tif": "tiff_pipe", ".tiff": "tiff_pipe", ".jpg": "jpeg_pipe", ".jpeg": "jpeg_pipe"}


def read_picture(path: Path) -> Tensor:
    """An RGB PNG or TIFF of 8 or 16 bits, or a JPEG, as codes ``3,H,W`` float32 0..1. Raises InputError."""
    pipe = _PIPES.get(path.suffix.lower())
    if pipe is None:
        return read_codes(path)
    try:
        with av.open(io.BytesIO(path.read_bytes()), "r", format=pipe) as file:
            frame = next(file.decode(video=0))
            deep = frame.format.components[0].bits > 8
            pixels = frame.reformat(format="rgb48le" if deep else "rgb24").to_ndarray()
    except (OSError, StopIteration, ValueError) as e:
        raise InputError(f"{path} cannot be read as a picture; get a new copy.") from e
    samples = torch.from_numpy(pixels.astype("float32")) / (65535.0 if deep else 255.0)
    return samples.permute(2, 0, 1).contiguous()


def png_of(samples: Tensor) -> bytes:
    """An RGB PNG of samples ``3,H,W``: of 8 bits for uint8, else of 16 bits."""
    form, dtype = ("rgb24", "uint8") if samples.dtype == torch.uint8 else ("rgb48be", "uint16")
    pixels = samples.permute(1, 2, 0).contiguous().numpy().astype(dtype)
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width, codec.pix_fmt = pixels.shape[0], pixels.shape[1], form
    codec.time_base = Fraction(1, 25)
    packets = codec.encode(av.VideoFrame.from_ndarray(pixels, format=form)) + codec.encode(None)
    return b"".join(bytes(p) for p in packets)


def read_radiance(path: Path) -> Tensor:
    """A Radiance picture (``.hdr``) ``3,H,W`` float32 in linear light of BT.709 primaries. Raises InputError."""
    try:
        with av.open(io.BytesIO(path.read_bytes()), "r", format="hdr_pipe") as file:
            frame = next(file.decode(video=0))
            pixels = frame.to_ndarray()
    except OSError as e:
        raise InputError(f"{path} cannot be read as a Radiance picture; check the file.") from e
    except (StopIteration, ValueError) as e:
        raise InputError(f"{path} is not a Radiance picture or is damaged; get a new copy.") from e
    if frame.format.name != "gbrpf32le" or pixels.ndim != 3:
        raise InputError(f"{path} is no Radiance picture; check the file.")
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
