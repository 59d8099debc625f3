"""Headers of the source that FFmpeg's muxer cannot write, put into the Matroska output.

FFmpeg writes a track's language as it gets it. So a language with a filler behind it leaves room in the track's entry, into
which these elements then go; nothing after the tracks moves. Chapters that are more than a list go to the end of the file.
"""

import zlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from sdr2hdr.media.ebml import (
    CRC32,
    VOID,
    Elements,
    children,
    each,
    element,
    elements,
    filler,
    number,
    text,
    whole,
)
from sdr2hdr.media.headers import CROPS, LANGUAGE_IETF, Headers, view_shape
from sdr2hdr.media.matroska import LANGUAGE, tracks_of

_SEGMENT, _SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = (
    0x18538067,
    0x114D9B74,
    0x4DBB,
    0x53AB,
    0x53AC,
)
_CHAPTERS, _CHAPTER_TIMES = 0x1043A770, {0x91, 0x92}
_MASTERS = {0x45B9, 0xB6}  # editions and chapters, in which times lie
_TRACK_ENTRY, _VIDEO = 0xAE, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0x54B0, 0x54BA
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xB0, 0xBA
_SPARE = 64  # bytes: the display size, and the least that a Void element takes


_FRAMES = "frames hold their samples alone"


def not_kept(headers: Headers, container: str, *, with_picture: bool = True) -> tuple[str, ...]:
    """Sentences for people on what the file written, or pictures beside it, do not say as the source does."""
    kind = container.upper()
    why = ""
    if not with_picture:
        why = _FRAMES
    elif headers.turned:
        why = "the picture is turned upright, and it was said of the picture as it lay"
    elif container != "mkv":
        why = "it is written to MKV alone"
    notes = list(_not_shown(headers, why))
    notes += _tags(headers, container)
    if container == "mkv":
        return tuple(notes)
    if headers.chapters.words:
        notes.append(
            f"of chapters, {headers.chapters.words} left out: {kind} has a list of times and names"
        )
    if spoken := [tag for tag in headers.languages.values() if "-" in tag]:
        notes.append(f"languages {', '.join(spoken)} shortened: {kind} has three letters for one")
    return tuple(notes)


def not_in_frames(headers: Headers) -> tuple[str, ...]:
    """Sentences for people on what frames in a pipe or a folder do not say of the picture."""
    return tuple(_not_shown(headers, _FRAMES))


def _not_shown(headers: Headers, why: str) -> Iterator[str]:
    """What is not shown as in the source; ``why`` headers of the picture are left out, empty where they are not."""
    if headers.alpha:
        yield "transparency left out: HDR10 pictures are opaque"
    if headers.grain:
        yield "film grain that the source describes is drawn into the picture"
    if not why:
        return
    if headers.stereo:
        yield f"the mark of two views ({headers.stereo}) left out: {why}"
    if headers.projection:
        yield f"the {headers.projection} projection left out: {why}"
    if abs(headers.tilt) >= 0.5:
        yield f"the rotation by {headers.tilt:.3g} degrees left out: {why}"
    if headers.crop:
        sides = ", ".join(f"{pixels} {side}" for side, pixels in headers.crop.items())
        yield f"the crop ({sides}) left out, so the whole picture is shown: {why}"


def _tags(headers: Headers, container: str) -> Iterator[str]:
    tags = headers.tags
    if tags.chapters and not (container == "mkv" and headers.chapters.are_plain):
        yield "tags of chapters left out"
    if tags.binary:
        yield "binary tags left out"
    if tags.editions:
        yield "tags of an edition written as the film's"
    if tags.nested:
        yield "tags within tags written beside them, under both names"


class HeaderError(Exception):
    """The file written is not laid out as FFmpeg lays it out."""


def with_room(
    language: str, headers: Headers, place: int, *, is_picture: bool, room: int = 0
) -> str:
    """What to give FFmpeg for a language, so that the elements of a track of the source at
    ``place`` find room, and ``room`` bytes more."""
    if tag := headers.languages.get(place):
        room += len(element(LANGUAGE_IETF, tag.encode()))
    if is_picture and (kept := headers.kept_video):
        room += sum(len(element(name, body)) for name, body in kept.items()) + _SPARE
    return language + "-" * room


def keep_tracks(
    path: Path, video: Elements, aspect: Fraction, languages: Mapping[int, str]
) -> None:
    """Puts ``video`` into the entry of the picture, and BCP 47 ``languages`` into those of the
    tracks at these places.

    ``aspect`` is the sample aspect ratio of the picture. Every language must have been given by
    :func:`with_room`.
    """
    with path.open("r+b") as file:
        start, tracks = tracks_of(file)
        entries: list[bytes] = []
        for name, body in each(tracks):
            if name == _TRACK_ENTRY:
                tag = languages.get(len(entries), "")
                entries.append(element(name, _entry(body, video, aspect, tag)))
        others = [
            element(name, body)
            for name, body in each(tracks)
            if name not in {_TRACK_ENTRY, CRC32, VOID}
        ]
        new = b"".join((*entries, *others))
        crc = 6  # bytes of the element
        left = len(tracks) - len(new) - crc
        if left < 0 or left == 1:
            raise HeaderError("the tracks have no room")
        new += filler(left) if left else b""
        file.seek(start)
        file.write(element(CRC32, zlib.crc32(new).to_bytes(4, "little")) + new)  # RFC 8794 11.3.1


def _entry(body: bytes, video: Elements, aspect: Fraction, tag: str) -> bytes:
    parts = []
    for name, inner in each(body):
        if name == LANGUAGE:
            parts.append(element(name, text(inner).rstrip("-").encode()))
            if tag:
                parts.append(element(LANGUAGE_IETF, tag.encode()))
        elif name == _VIDEO:
            parts.append(
                element(name, _picture(children(inner), video, aspect) if video else inner)
            )
        elif name != VOID:
            parts.append(element(name, inner))
    return b"".join(parts)


def _picture(written: Elements, kept: Elements, aspect: Fraction) -> bytes:
    """The picture's element, its display size that of what is shown of it: one view of two, without
    what is cropped."""
    width, height = number(written[_PIXEL_WIDTH]), number(written[_PIXEL_HEIGHT])
    for key, side in CROPS.items():
        if side in {"left", "right"}:
            width -= number(kept.get(key, b""))
        else:
            height -= number(kept.get(key, b""))
    shown, lines = width * aspect * view_shape(kept), height
    size = {_DISPLAY_WIDTH: whole(round(shown)), _DISPLAY_HEIGHT: whole(lines)}
    return b"".join(element(name, body) for name, body in {**written, **kept, **size}.items())


def moved_chapters(raw: bytes, moved: Fraction) -> bytes:
    """The body of a Chapters element with ``moved`` seconds added to all times, none before 0."""
    parts = []
    for name, body in each(raw):
        if name in _CHAPTER_TIMES:
            parts.append(element(name, whole(max(0, number(body) + round(moved * 10**9)))))
        elif name in _MASTERS:
            parts.append(element(name, moved_chapters(body, moved)))
        elif name not in {CRC32, VOID}:
            parts.append(element(name, body))
    return b"".join(parts)


def append_chapters(path: Path, raw: bytes) -> None:
    """Writes the body of a Chapters element to the end of a file that has none, and an entry into
    its seek head."""
    new = element(_CHAPTERS, raw)
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.seek(0)
        body = next((file.tell() for name, _ in elements(file, end) if name == _SEGMENT), 0)
        head = _seek_head(file, body, end)
        if not body or head is None:
            raise HeaderError("there is no segment with a seek head")
        at, length = head
        file.seek(at)
        old = next(inner for name, inner in each(file.read(length)) if name == _SEEK_HEAD)
        entry = element(_SEEK_ID, _CHAPTERS.to_bytes(4, "big")) + element(
            _SEEK_POSITION, whole(end - body)
        )
        seeks = [element(name, inner) for name, inner in each(old) if name == _SEEK] + [
            element(_SEEK, entry)
        ]
        heads = element(_SEEK_HEAD, b"".join(seeks))
        left = length - len(heads)
        if left < 0 or left == 1:
            raise HeaderError("the seek head has no room")
        file.seek(at)
        file.write(heads + (filler(left) if left else b""))
        file.seek(end)
        file.write(new)
        file.seek(body - 8)  # FFmpeg writes the segment's size in eight bytes
        if file.read(1) != b"\x01":
            raise HeaderError("the size of the segment is not eight bytes long")
        file.seek(body - 7)
        file.write((end + len(new) - body).to_bytes(7, "big"))


def _seek_head(file: BinaryIO, body: int, end: int) -> tuple[int, int] | None:
    """Where the seek head with the padding behind it begins, and how long both are."""
    file.seek(body)
    at = body
    found: tuple[int, int] | None = None
    for name, size in elements(file, end):
        stop = file.tell() + size
        if found is None:
            if name != _SEEK_HEAD:
                return None
            found = at, stop - at
        else:
            return (found[0], stop - found[0]) if name == VOID else found
        at = stop
    return found
