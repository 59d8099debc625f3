"""Single pictures as files: PNG of 8 and 16 bits, as data sets have them, TIFF, JPEG, and Radiance HDR.

Sources: PNG third edition (W3C 2025) 5.2, 5.3, 11.2.1 (IHDR), 11.3.2.6 (cICP), 11.3.2.7 (mDCV) and 11.3.2.8 (cLLI), H.273 table 3
(transfers); Ward's Radiance format.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import torch
from torch import Tensor

from sdr2hdr.errors import InputError
from sdr2hdr.media.hdr10 import D65, PRIMARIES, ContentLight, Mastering
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


_ABOUT_COLOUR = (b"cICP", b"mDCV", b"cLLI", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"pHYs")


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG in order, as type and content. Raises ValueError for anything but a whole PNG with right checksums."""
    if not data.startswith(_SIGNATURE):
        raise ValueError("it has no signature of PNG")
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        size = int.from_bytes(data[at : at + 4], "big")
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if data[at + 8 + size : at + 12 + size] != _checksum(kind, content):
            raise ValueError("a checksum in it is wrong")
        yield kind, content
        at += 12 + size
    if at != len(data):
        raise ValueError("it does not end where PNG ends")


def hdr_chunks(mastering: Mastering, light: ContentLight) -> dict[bytes, bytes]:
    """What names R'G'B' of full range in BT.2020 and PQ, with ST 2086 and CTA-861.3 metadata, as contents of chunks by type.

    Chromaticities of red, green, blue and white count steps of 0.00002, luminances steps of 0.0001 nits.
    """
    points = (round(v * 50000) for point in (*PRIMARIES[mastering.volume], D65) for v in point)
    limits = (round(nits * 10000) for nits in (mastering.max_nits, mastering.min_nits))
    return {
        b"cICP": bytes((9, 16, 0, 1)),  # H.273: BT.2020, PQ, R'G'B', full range
        b"mDCV": struct.pack(">8H2I", *points, *limits),
        b"cLLI": struct.pack(">2I", light.max_cll * 10000, light.max_fall * 10000),
    }


def with_chunks(data: bytes, added: dict[bytes, bytes]) -> bytes:
    """The PNG with these chunks behind its header, instead of any that tell of colour."""
    parts = [_SIGNATURE]
    for kind, content in chunks(data):
        if kind not in _ABOUT_COLOUR:
            parts.append(_chunk(kind, content))
        if kind == b"IHDR":
            parts += [_chunk(*each) for each in added.items()]
    return b"".join(parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + _checksum(kind, content)


def _checksum(kind: bytes, content: bytes) -> bytes:
    return zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big")


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
