"""The items of a HEIC or AVIF still picture: which is shown, and what the file holds besides it.

Sources: ISO/IEC 14496-12 8.11 (``meta`` and the boxes in it), 12.1.4 (``clap``) and 12.1.5 (``colr``); ISO/IEC 23008-12 6.4 to
6.6 (kinds of items and their properties), annex A (EXIF, XMP). FFmpeg decodes coded items and shows nothing of this.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from sdr2hdr.errors import InputError
from sdr2hdr.media.boxes import boxes, top_level

EXIF_LOST = "The EXIF data of the source were left out."
XMP_LOST = "The XMP data of the source were left out."
_CROP_LOST = "The crop that the source asks for (clap) was left out, so the whole picture is shown."
_ALPHA = ("urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", "urn:mpeg:hevc:2015:auxid:1")
_MADE = {
    b"grid": "several tiles, which are not joined here",
    b"iovl": "pictures laid over each other, which is not done here",
    b"iden": "another one turned or cropped, which is not done here",
}
"""Kinds of items that are made of others."""


@dataclass(frozen=True)
class Items:
    """What a file says of its ``primary`` item, the picture to show, by its number and its ``kind`` (four letters).

    ``icc`` is its colour profile, empty without one. ``has_alpha``: it is transparent. ``is_cropped``: only a part of it is to be
    shown. ``pictures`` counts the pictures that stand for themselves, ``helpers`` those that belong to one and are not its
    transparency, such as depth and gain maps.
    """

    primary: int
    kind: bytes
    icc: bytes = b""
    is_cropped: bool = False
    has_exif: bool = False
    has_xmp: bool = False
    has_alpha: bool = False
    pictures: int = 1
    helpers: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people on what is not converted, whatever is written."""
        lost = {
            _CROP_LOST: self.is_cropped,
            EXIF_LOST: self.has_exif,
            XMP_LOST: self.has_xmp,
        }
        return tuple(note for note, is_so in lost.items() if is_so)

    def check(self, path: Path, decoded: int | None = None) -> None:
        """Raise InputError for a picture that is made of others, and where FFmpeg ``decoded`` another item instead of it."""
        if (made := _MADE.get(self.kind)) is not None:
            what = f"is a picture of {made}"
        elif decoded not in (None, self.primary):
            what = "has a main picture of a kind that is not read here"
        else:
            return
        raise InputError(f"{path} {what}; convert it to PNG or TIFF first.")


def read_items(path: Path) -> Items | None:
    """What a HEIC or AVIF still picture says of itself; None for films and for what cannot be read."""
    try:
        with path.open("rb") as file:
            if top_level(file, b"moov")[1]:
                return None
            _, meta = top_level(file, b"meta")
        return _items(meta)
    except (OSError, ValueError, struct.error):
        return None  # damaged boxes say nothing


def _items(meta: bytes) -> Items | None:
    inside = {name: meta[at:end] for name, _, at, end in boxes(meta, 4, len(meta))}
    if inside.get(b"hdlr", b"")[8:12] != b"pict" or b"pitm" not in inside:
        return None
    pitm = _Fields(inside[b"pitm"])
    primary = pitm.number(4 if pitm.version else 2)
    entries = _entries(inside.get(b"iinf", b""))
    links = _references(inside.get(b"iref", b""))
    properties = _properties(inside.get(b"iprp", b""))

    def of(item: int, name: bytes) -> bytes:
        return next((body for kind, body in properties.get(item, []) if kind == name), b"")

    auxiliary = {a for kind, a, _ in links if kind == b"auxl"}
    alphas = {
        a
        for kind, a, to in links
        if (kind, to) == (b"auxl", primary) and _words(of(a, b"auxC")[4:]) in _ALPHA
    }
    parts = {to for kind, _, to in links if kind == b"dimg"}
    thumbnails = {a for kind, a, _ in links if kind == b"thmb"}
    shown = {item for item, (_, _, hidden) in entries.items() if not hidden and of(item, b"ispe")}
    colours = [body for kind, body in properties.get(primary, []) if kind == b"colr"]
    metadata = [(kind, words) for kind, words, _ in entries.values()]
    return Items(
        primary,
        entries.get(primary, (b"", "", False))[0],
        icc=next((body[4:] for body in colours if body[:4] in (b"prof", b"rICC")), b""),
        is_cropped=_is_cropped(of(primary, b"clap"), of(primary, b"ispe")),
        has_exif=any(kind == b"Exif" for kind, _ in metadata),
        has_xmp=(b"mime", "application/rdf+xml") in metadata,
        has_alpha=bool(alphas),
        pictures=len({primary} | shown - auxiliary - parts - thumbnails),
        helpers=len(auxiliary - alphas - thumbnails),
    )


class _Fields:
    """The numbers in the body of a box that begins with a version and flags. Raises ValueError where it ends too early."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0
        self.version, self.flags = self.number(1), self.number(3)

    def number(self, size: int) -> int:
        end = self._at + size
        if end > len(self._body):
            raise ValueError("a box ends inside a number")
        found = int.from_bytes(self._body[self._at : end], "big")
        self._at = end
        return found

    def rest(self) -> bytes:
        return self._body[self._at :]


def _entries(iinf: bytes) -> dict[int, tuple[bytes, str, bool]]:
    """Each item's kind, the MIME type of one of kind ``mime``, and whether it is hidden."""
    found = {}
    at = 8 if iinf[:1] not in (b"", b"\0") else 6
    for name, _, begin, end in boxes(iinf, at, len(iinf)):
        if name != b"infe" or iinf[begin : begin + 1] < b"\2":
            continue
        fields = _Fields(iinf[begin:end])
        item = fields.number(4 if fields.version > 2 else 2)
        fields.number(2)  # protection
        kind = fields.number(4).to_bytes(4, "big")
        words = fields.rest().split(b"\0")  # its name, and more by its kind
        mime = _words(words[1]) if kind == b"mime" and len(words) > 1 else ""
        found[item] = kind, mime, bool(fields.flags & 1)
    return found


def _references(iref: bytes) -> list[tuple[bytes, int, int]]:
    """The kind, the item that refers, and the one that it refers to."""
    found = []
    size = 4 if iref[:1] not in (b"", b"\0") else 2
    for kind, _, begin, end in boxes(iref, 4, len(iref)):
        fields = _Fields(bytes(4) + iref[begin:end])
        item = fields.number(size)
        found += [(kind, item, fields.number(size)) for _ in range(fields.number(2))]
    return found


def _properties(iprp: bytes) -> dict[int, list[tuple[bytes, bytes]]]:
    """The properties of each item: names and bodies of boxes."""
    known: list[tuple[bytes, bytes]] = []
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for name, _, begin, end in boxes(iprp, 0, len(iprp)):
        if name == b"ipco":
            known = [(kind, iprp[at:stop]) for kind, _, at, stop in boxes(iprp, begin, end)]
        if name != b"ipma":
            continue
        fields = _Fields(iprp[begin:end])
        for _ in range(fields.number(4)):
            item = fields.number(4 if fields.version else 2)
            size = 2 if fields.flags & 1 else 1
            for _ in range(fields.number(1)):
                # the highest bit says that it is essential
                index = fields.number(size) & (0x7FFF if size == 2 else 0x7F)
                if 0 < index <= len(known):
                    found.setdefault(item, []).append(known[index - 1])
    return found


def _is_cropped(clap: bytes, ispe: bytes) -> bool:
    """Whether a clean aperture is smaller than the picture; its sides are fractions."""
    if len(clap) < 16 or len(ispe) < 12:
        return False
    width, over_width, height, over_height = struct.unpack_from(">4I", clap)
    whole = struct.unpack_from(">2I", ispe, 4)
    return bool((width, height) != (whole[0] * over_width, whole[1] * over_height))


def _words(data: bytes) -> str:
    return data.split(b"\0")[0].decode("latin-1")
