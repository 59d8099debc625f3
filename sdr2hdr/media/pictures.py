"""A film as a folder of pictures: written from its chunks, and read back.

The pictures are ``000001.exr`` and so on. Beside them lie ``sequence.json``, which says what pictures cannot, and ``sound.mka``
with the sound, the subtitles and the chapters.
"""

import hashlib
import io
import json
import os
import re
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import av.error

from sdr2hdr.codecs import CODECS
from sdr2hdr.color.transfer import WHITE
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.encoder import cannot_write
from sdr2hdr.media.exr import CHROMATICITIES, exr_facts
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.joined import JoinedPicture
from sdr2hdr.media.png import chunks, hdr_chunks, with_chunks
from sdr2hdr.reading import read_text
from sdr2hdr.typed import typed

ABOUT, SOUND = "sequence.json", "sound.mka"
_DIGITS = 6


@dataclass(frozen=True)
class About:
    """What ``sequence.json`` holds: the number of ``pictures`` and their form, and what they cannot say.

    ``rate`` in pictures per second and ``pixel_shape``, the width of a pixel over its height, are fractions as text. Light in
    nits; ``white_nits`` is the light of 1.0 in linear pictures, and None in others.
    """

    pictures: int
    first: str
    codec: str
    width: int
    height: int
    rate: str
    pixel_shape: str
    transfer: str
    primaries: str
    white_nits: float | None
    mastering_peak: float
    max_cll: int
    max_fall: int

    def has(self, name: str) -> bool:
        """Whether such a folder may hold an entry of that name."""
        ending = re.escape(Path(self.first).suffix)
        number = re.fullmatch(rf"([0-9]{{{_DIGITS},18}}){ending}", name)
        return name in (ABOUT, SOUND) or bool(number and 0 < int(number[1]) <= self.pictures)


def name_of(number: int, count: int, ending: str) -> str:
    """The name of picture ``number`` (from 0) of ``count``; names sort in the order of the film."""
    return f"{number + 1:0{max(_DIGITS, len(str(count)))}d}{ending}"


def foreign(folder: Path) -> str | None:
    """The name of an entry of a folder that no film written into it left there; None if there is none, or if it is empty."""
    try:
        about = typed(json.loads(read_text(folder / ABOUT, "a list of pictures")), About)
    except (InputError, ValueError, RecursionError):
        about = None
    with os.scandir(folder) as entries:
        strange = sorted(
            entry.name
            for entry in entries
            if not about or not about.has(entry.name) or not entry.is_file(follow_symlinks=False)
        )
    return strange[0] if strange else None


@dataclass(frozen=True)
class Written:
    """The pictures of a folder: ``about`` them, and the SHA-256 of each file."""

    about: About
    digests: tuple[bytes, ...]
    told: dict[bytes, bytes]


def write_pictures(
    joined: JoinedPicture, folder: Path, mastering: Mastering, light: ContentLight
) -> Written:
    """Writes a film's pictures into an empty folder, and ``sequence.json``. Raises OutputError."""
    s = joined.settings
    codec = CODECS[s.codec]
    count, ending = len(joined.timeline.source_pts), f".{codec.ending}"
    told = hdr_chunks(mastering, light) if s.codec == "png16" else {}
    about = About(
        pictures=count,
        first=name_of(0, count, ending),
        codec=s.codec,
        width=s.width,
        height=s.height,
        rate=str(s.rate),
        pixel_shape=str(s.sample_aspect_ratio),
        transfer="linear" if codec.linear else "PQ",
        primaries="BT.2020",
        white_nits=WHITE if codec.linear else None,
        mastering_peak=mastering.max_nits,
        max_cll=light.max_cll,
        max_fall=light.max_fall,
    )
    digests = []
    try:
        folder.mkdir()
        for number, data in enumerate(joined.data()):
            picture = with_chunks(data, told) if told else data
            _write(folder / name_of(number, count, ending), picture)
            digests.append(hashlib.sha256(picture).digest())
        _write(folder / ABOUT, (json.dumps(asdict(about), indent=2) + "\n").encode())
    except OSError as error:
        raise cannot_write(folder, error) from error
    return Written(about, tuple(digests), told)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def check_pictures(folder: Path, written: Written) -> None:
    """Reads a folder back: every file is there and as it was written, every header says what it must, and the first picture and
    the last decode. Raises OutputError."""
    about = written.about
    ending = Path(about.first).suffix
    names = [name_of(n, about.pictures, ending) for n in range(about.pictures)]
    found = {entry.name for entry in folder.iterdir()} - {ABOUT, SOUND}
    if found != set(names) or len(written.digests) != about.pictures:
        raise _failed(folder, f"it holds {len(found)} pictures, not {about.pictures}")
    look = _LOOKS[about.codec]
    for name, digest in zip(names, written.digests, strict=True):
        try:
            data = (folder / name).read_bytes()
            if hashlib.sha256(data).digest() != digest:
                raise ValueError("it is not as it was written")
            look(data, written)
            if name in (names[0], names[-1]):
                _decode(data, about)
        except (OSError, ValueError, RuntimeError, struct.error) as error:
            raise _failed(folder / name, str(error)) from error


def _failed(path: Path, what: str) -> OutputError:
    return OutputError(f"{path} fails its check: {what}; please report this.")


def _equal(found: object, wanted: object) -> None:
    if found != wanted:
        raise ValueError(f"its header says {found}, not {wanted}")


def _png(data: bytes, written: Written) -> None:
    about = written.about
    there = {kind: content for kind, content in chunks(data) if kind != b"IDAT"}
    # 16 bits, R'G'B', and the only ways of compression, filtering and interlacing none
    header = struct.pack(">2I5B", about.width, about.height, 16, 2, 0, 0, 0)
    _equal(there, {b"IHDR": header, **written.told, b"IEND": b""})


def _exr(data: bytes, written: Written) -> None:
    found, about = exr_facts(data), written.about
    _equal(found.size, (about.width, about.height))
    _equal(found.channels, ("B", "G", "R"))
    _equal(found.white, WHITE)
    _equal([round(v, 6) for v in found.chromaticities], list(CHROMATICITIES))


def _tiff(data: bytes, written: Written) -> None:
    with av.open(io.BytesIO(data), "r", format="tiff_pipe") as file:
        context = file.streams.video[0].codec_context
        _equal((context.width, context.height), (written.about.width, written.about.height))
        _equal(context.pix_fmt, "rgb48le")


_LOOKS: dict[str, Callable[[bytes, Written], None]] = {"png16": _png, "exr": _exr, "tiff16": _tiff}
_DECODED = {
    "png16": ("png_pipe", "rgb48be"),
    "exr": ("exr_pipe", "gbrpf16le"),
    "tiff16": ("tiff_pipe", "rgb48le"),
}
"""FFmpeg's reader of each, and the form in which it decodes."""


def _decode(data: bytes, about: About) -> None:
    form, pix_fmt = _DECODED[about.codec]
    with av.open(io.BytesIO(data), "r", format=form) as file:
        frame = next(file.decode(video=0), None)
    if frame is None:
        raise ValueError("it does not decode")
    _equal((frame.width, frame.height, frame.format.name), (about.width, about.height, pix_fmt))
