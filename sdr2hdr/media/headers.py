"""Header facts beyond streams and colours, including those that FFmpeg does not pass on.

Sources: RFC 9559 (Matroska), the Spherical Video V2 RFC (stereo and projection), CTA-708 and ATSC A/53 part 4 6.2.3
(captions in the picture), ISO/IEC 14496-12 8.4.6 (``elng``).
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sdr2hdr.media.boxes import extended_languages
from sdr2hdr.media.ebml import Elements, children, each, elements, number, real, text
from sdr2hdr.media.matroska import MAGIC
from sdr2hdr.media.opening import demuxed
from sdr2hdr.media.picture import side_data

STEREO_MODE, PROJECTION = 0x53B8, 0x7670
CROPS = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}
LANGUAGE_IETF = 0x22B59D
_SEGMENT, _TRACKS, _TRACK_ENTRY, _TRACK_TYPE, _VIDEO, _CLUSTER = (
    0x18538067,
    0x1654AE6B,
    0xAE,
    0x83,
    0xE0,
    0x1F43B675,
)
_CHAPTERS, _EDITION, _ATOM, _DISPLAY = 0x1043A770, 0x45B9, 0xB6, 0x80
_EDITION_DEFAULT = 0x45DB
_EDITION_FLAGS = {0x45BD: "hidden", _EDITION_DEFAULT: "default", 0x45DD: "ordered"}
_CHAPTER_START, _CHAPTER_END, _CHAPTER_STRING = 0x91, 0x92, 0x85
_CHAPTER_LANGUAGE, _CHAPTER_LANGUAGE_IETF = 0x437C, 0x437D
_CHAPTER_HIDDEN, _CHAPTER_ENABLED = 0x98, 0x4598
_TAGS, _TARGETS, _TAG_CHAPTER, _TAG_EDITION = 0x1254C367, 0x63C0, 0x63C4, 0x63C9
_SIMPLE_TAG, _TAG_BINARY = 0x67C8, 0x4485
_PROJECTION_TYPE, _ROLL = 0x7671, 0x7675
_STREAM_TYPES = {1, 2, 0x11}  # of tracks that FFmpeg makes a stream of: picture, sound, subtitles

STEREO_MODES = {
    1: "side by side, left eye first",
    2: "top and bottom, right eye first",
    3: "top and bottom, left eye first",
    4: "checkerboard, right eye first",
    5: "checkerboard, left eye first",
    6: "rows in turn, right eye first",
    7: "rows in turn, left eye first",
    8: "columns in turn, right eye first",
    9: "columns in turn, left eye first",
    10: "anaglyph, cyan and red",
    11: "side by side, right eye first",
    12: "anaglyph, green and magenta",
    13: "pictures in turn, left eye first",
    14: "pictures in turn, right eye first",
}
_SIDE_BY_SIDE, _STACKED = (
    {1, 8, 9, 11},
    {2, 3, 6, 7},
)  # FFmpeg counts columns and rows in turn among them
PROJECTIONS = {1: "equirectangular", 2: "cube map", 3: "mesh"}

_CAPTIONS = b"GA94\x03"  # ATSC_identifier and user_data_type_code of cc_data
_LOOKED_AT = 300  # packets in which captions are looked for
_GRAINY = {"av1", "h264", "hevc", "vvc"}


@dataclass(frozen=True, slots=True)
class Chapters:
    """What chapters are beyond a list of times and names. ``raw`` is Matroska's element, to be
    copied.

    ``listed``: start and end in nanoseconds and title of each chapter at the top level of the edition that players take.
    ``are_read``: whether FFmpeg reads all chapters; it skips one that begins no later than one before it.
    """

    nested: bool = False
    languages: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    editions: int = 0
    raw: bytes = b""
    listed: tuple[tuple[int, int | None, str], ...] = ()
    are_read: bool = True

    @property
    def are_plain(self) -> bool:
        """Whether the list of times and names that FFmpeg reads says all."""
        return self.are_read and not self.words

    @property
    def words(self) -> str:
        """What is more than plain, for people."""
        parts = [
            "levels" if self.nested else "",
            f"languages ({', '.join(self.languages)})" if len(self.languages) > 1 else "",
            f"{self.editions} editions" if self.editions > 1 else "",
            f"flags ({', '.join(self.flags)})" if self.flags else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Tags:
    """Which tags of a Matroska file FFmpeg does not read as they are meant (RFC 9559 5.1.8): those of ``chapters``, which the
    copied chapters do not bring along, those of ``editions``, ``binary`` ones, and ``nested`` ones."""

    chapters: bool = False
    editions: bool = False
    binary: bool = False
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    """What a film's headers say.

    ``video`` are the elements of Matroska's Video that say so: stereo, projection and crop of the
    stored picture, which FFmpeg reads from other containers, too. ``languages`` are BCP 47 tags by
    stream index. ``alpha``: the picture has transparency. ``captions``: CEA-608 or 708 in the
    picture. ``grain``: film grain is described, not coded. ``timecode``: of the first picture.
    ``tags``: which there are that FFmpeg does not read as they are meant.
    ``turned``: the picture is turned upright, so that ``video`` does not hold for what is written.
    """

    video: Elements = field(default_factory=dict)
    languages: dict[int, str] = field(default_factory=dict)
    chapters: Chapters = Chapters()
    tags: Tags = Tags()
    alpha: bool = False
    captions: bool = False
    grain: bool = False
    timecode: str = ""
    turned: bool = False

    @property
    def kept_video(self) -> Elements:
        """What of ``video`` holds for the picture that is written."""
        return {} if self.turned else self.video

    @property
    def stereo(self) -> str:
        """How two views are packed, in words; empty for one view."""
        return STEREO_MODES.get(number(self.video.get(STEREO_MODE, b"")), "")

    @property
    def projection(self) -> str:
        """How a sphere is laid out, in words; empty for a flat picture."""
        return PROJECTIONS.get(
            number(children(self.video.get(PROJECTION, b"")).get(_PROJECTION_TYPE, b"")), ""
        )

    @property
    def tilt(self) -> float:
        """Degrees, -45 to 45, by which a flat picture is to be shown turned beyond whole quarters, counter-clockwise."""
        roll = real(children(self.video.get(PROJECTION, b"")).get(_ROLL, b""))
        return 0.0 if self.projection else roll - 90 * round(roll / 90)

    @property
    def crop(self) -> dict[str, int]:
        """Pixels that a player cuts off, by side; empty if none."""
        return {side: n for key, side in CROPS.items() if (n := number(self.video.get(key, b"")))}


NO_HEADERS = Headers()


def read_headers(
    path: Path, container: InputContainer, stream: VideoStream, frame: VideoFrame
) -> Headers:
    """The headers of an open film with its first picture. The container must stand where it is not
    needed any more."""
    with path.open("rb") as file:
        is_matroska = file.read(4) == MAGIC
    read = len(container.chapters())
    tracks, chapters, marks = _matroska(path, read) if is_matroska else ({}, Chapters(), Tags())
    if container.format.name.startswith("mov"):
        tracks = extended_languages(path)
    if len(tracks) > len(container.streams):
        tracks = {}
    wanted = {STEREO_MODE, PROJECTION, *CROPS}
    tags = {**container.metadata, **stream.metadata}
    return Headers(
        video={
            key: body for key, body in video_elements(stream).items() if key in wanted and any(body)
        },
        languages=tracks,
        chapters=chapters,
        tags=marks,
        alpha=_has_alpha(frame, stream.codec_context.name)
        or stream.metadata.get("alpha_mode") == "1",
        captions="A53_CC" in side_data(frame) or _has_captions(container, stream),
        grain=_has_grain(path, stream),
        timecode=tags.get("timecode", "") or _track_timecode(container),
    )


def _has_alpha(frame: VideoFrame, codec: str) -> bool:
    """Whether a picture has transparency; that of a palette is in its colours, and a GIF, which has one, is read as BGRA."""
    if codec == "gif":
        return bool((frame.to_ndarray(format="bgra")[..., 3] < 255).any())
    if frame.format.name != "pal8":
        return any(c.is_alpha for c in frame.format.components)
    codes, palette = frame.to_ndarray()  # A, R, G and B of each colour
    return bool((palette[np.unique(codes), 0] < 255).any())


def view_shape(video: Elements) -> Fraction:
    """By how much wider than the stored picture one view of it is, for its height: 1/2 of two views
    side by side."""
    mode = number(video.get(STEREO_MODE, b""))
    return Fraction(1, 2) if mode in _SIDE_BY_SIDE else Fraction(2 if mode in _STACKED else 1)


def video_elements(stream: VideoStream) -> Elements:
    """What Matroska's Video element would say of a stream of any container; empty for a codec that
    Matroska has no name for.

    PyAV shows no side data of streams. A Matroska header written into memory from the stream does.
    """
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="matroska") as header:
            header.add_stream_from_template(stream, opaque=True)
            header.start_encoding()
    except (av.FFmpegError, ValueError):
        return {}
    buffer.seek(0)
    tracks = b"".join(_top_level(buffer, _TRACKS))
    return children(children(children(tracks).get(_TRACK_ENTRY, b"")).get(_VIDEO, b""))


def _top_level(file: "io.BytesIO | io.BufferedReader", wanted: int) -> Iterator[bytes]:
    """The bodies of a segment's elements of a kind, in a Matroska file."""
    end = file.seek(0, 2)
    file.seek(0)
    for name, size in elements(file, end):
        if name == _SEGMENT:
            for inner, length in elements(file, file.tell() + size):
                if inner == wanted:
                    yield file.read(length)
            return


def _matroska(path: Path, read: int) -> tuple[dict[int, str], Chapters, Tags]:
    """BCP 47 languages by stream index, the chapters, of which FFmpeg has ``read`` so many, and what is more than plain in the
    tags."""
    with path.open("rb") as file:
        tracks = b"".join(_top_level(file, _TRACKS))
        raw = b"".join(_top_level(file, _CHAPTERS))
        tags = b"".join(_top_level(file, _TAGS))
    entries = [children(body) for name, body in each(tracks) if name == _TRACK_ENTRY]
    streams = [entry for entry in entries if number(entry.get(_TRACK_TYPE, b"")) in _STREAM_TYPES]
    languages = {n: text(e[LANGUAGE_IETF]) for n, e in enumerate(streams) if e.get(LANGUAGE_IETF)}
    return languages, _chapters(raw, read), _tags(tags)


def _tags(raw: bytes) -> Tags:
    chapters = editions = binary = nested = False
    for _, tag in each(raw):
        targets = children(children(tag).get(_TARGETS, b""))
        chapters = chapters or _TAG_CHAPTER in targets
        editions = editions or (_TAG_EDITION in targets and _TAG_CHAPTER not in targets)
        for name, simple in each(tag):
            if name == _SIMPLE_TAG:
                parts = children(simple)
                binary = binary or _TAG_BINARY in parts
                nested = nested or _SIMPLE_TAG in parts
    return Tags(chapters, editions, binary, nested)


def _chapters(raw: bytes, read: int) -> Chapters:
    editions = [body for name, body in each(raw) if name == _EDITION]
    languages: dict[str, None] = {}
    flags: dict[str, None] = {}
    nested = False

    def walk(body: bytes, depth: int) -> None:
        nonlocal nested
        for name, inner in each(body):
            if name == _ATOM:
                nested = nested or depth > 0
                walk(inner, depth + 1)
            elif name == _DISPLAY:
                parts = children(inner)
                tag = parts.get(_CHAPTER_LANGUAGE_IETF) or parts.get(_CHAPTER_LANGUAGE, b"eng")
                languages[text(tag)] = None
            elif name == _CHAPTER_HIDDEN and number(inner):
                flags["hidden chapters"] = None
            elif name == _CHAPTER_ENABLED and not number(inner):
                flags["disabled chapters"] = None
            elif depth == 0 and name in _EDITION_FLAGS and number(inner):
                flags[f"{_EDITION_FLAGS[name]} edition"] = None

    for edition in editions:
        walk(edition, 0)
    defaults = (body for body in editions if number(children(body).get(_EDITION_DEFAULT, b"")))
    taken = next(defaults, editions[0] if editions else b"")
    count = sum(name == _ATOM for edition in editions for name, _ in each(edition))
    return Chapters(
        nested,
        tuple(languages),
        tuple(flags),
        len(editions),
        raw,
        listed=tuple(_listed(body) for name, body in each(taken) if name == _ATOM),
        are_read=read >= count,
    )


def _listed(atom: bytes) -> tuple[int, int | None, str]:
    parts = children(atom)
    end = parts.get(_CHAPTER_END)
    title = text(children(parts.get(_DISPLAY, b"")).get(_CHAPTER_STRING, b""))
    return number(parts.get(_CHAPTER_START, b"")), None if end is None else number(end), title


def _has_captions(container: InputContainer, stream: VideoStream) -> bool:
    """Whether captions lie in one of the first packets; reads on from where the container
    stands."""
    try:
        for count, packet in enumerate(demuxed(container, stream)):
            if _CAPTIONS in bytes(packet):
                return True
            if count == _LOOKED_AT:
                break
    except av.FFmpegError:
        pass
    return False


def _has_grain(path: Path, stream: VideoStream) -> bool:
    """Whether the first picture comes with a description of film grain, which the decoder then
    draws."""
    if stream.codec_context.codec.canonical_name not in _GRAINY:
        return False
    try:
        with av.open(str(path.absolute()), metadata_errors="replace") as file:
            picture = cast(VideoStream, file.streams[stream.index])
            context = picture.codec_context
            context.options = {"export_side_data": "film_grain"}
            for packet in demuxed(file, picture):
                for frame in context.decode(packet):
                    return any("FILM_GRAIN" in name for name in side_data(frame))
    except (av.FFmpegError, OSError):
        pass
    return False


def _track_timecode(container: InputContainer) -> str:
    codes = [s.metadata["timecode"] for s in container.streams if "timecode" in s.metadata]
    return codes[0] if codes else ""
