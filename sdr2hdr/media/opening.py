"""Opens a video file, or explains in a sentence why it cannot be used."""

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sdr2hdr.errors import InputError
from sdr2hdr.media.items import read_items

if TYPE_CHECKING:
    from av.packet import Packet

IMAGES = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png"), "bmp": ("image/bmp", "bmp")}
"""Codecs of covers, with their MIME types and suffixes."""

S = TypeVar("S", bound=Stream)

_NO_FILMS = {"concat", "dash", "hls", "sdp", "tty"}
"""Demuxers that open other files or addresses named in a file, or that draw text: none of them reads a video file."""


_STILLS = {
    b"\xff\xd8\xff": "jpeg_pipe",
    b"\x89PNG": "png_pipe",
    b"RIFF": "webp_pipe",
    b"II*\0": "tiff_pipe",
    b"MM\0*": "tiff_pipe",
    b"BM": "bmp_pipe",
}
"""Demuxers of one picture, by the first bytes of its file."""

_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE
)  # of a URL, two slashes of which pathlib makes one
_DEEP = {
    "probesize": "100000000",
    "analyzeduration": "100000000",
}  # bytes, and microseconds of film


def open_deep(path: Path) -> InputContainer:
    """Opens a file to find all its streams, whatever it is. Raises FFmpegError and OSError.

    Program and transport streams have no table of contents to trust: a stream is known once its packets come.
    """
    file = av.open(str(path.absolute()), metadata_errors="replace")
    if file.format.name not in ("mpeg", "mpegts"):
        return file
    file.close()
    return av.open(str(path.absolute()), metadata_errors="replace", container_options=_DEEP)


@contextmanager
def opened(path: Path, device: str | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and the stream in it that is its film; all other streams are left unread.

    It is decoded on a hardware ``device``, if there is one and it can; without the hardware PyAV raises OSError or FFmpegError.

    Raises :class:`InputError` if there is no such film.
    """
    head = _head(path)
    accel = None if device is None else HWAccel(device, allow_software_fallback=True)
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace", hwaccel=accel)
        still = next((name for begin, name in _STILLS.items() if head.startswith(begin)), None)
        if container.format.name == "image2":
            # which would take signs in the name for a pattern of many names
            container.close()
            container = av.open(
                str(path.absolute()),
                format=still or "image2",
                container_options={} if still else {"pattern_type": "none"},
                metadata_errors="replace",
            )
    except (av.FFmpegError, OSError, ValueError) as error:
        if device is not None:
            raise
        if head[4:8] == b"ftyp":  # ISO/IEC 14496-12 4.3
            if (items := read_items(path)) is not None:
                items.check(path)
            raise InputError(
                f"{path} has no readable index, as a recording or download that was cut off; get a new copy or repair it first."
            ) from error
        raise InputError(
            f"{path} is not a video that can be read; check that it is the right file."
        ) from error
    with container:
        if container.format.name.split(",")[0] in _NO_FILMS:
            raise InputError(
                f"{path} is not a video but a list or text ({container.format.name}); name the video itself."
            )
        stream = _film(container)
        if stream is None:
            cover = "only a cover picture" if container.streams.video else "no video"
            raise InputError(f"{path} holds {cover}; give a file with a video stream.")
        if stream.codec_context is None:
            way_out = (
                "is a kind of picture that is not read here; save it as PNG"
                if is_still_format(container.format.name)
                else "uses a video codec that is not known here; convert it to H.264 or FFV1"
            )
            raise InputError(f"{path} {way_out} first.")
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        yield container, stream


def demuxed(file: InputContainer, *streams: S) -> "Iterator[Packet[S]]":
    """The packets of some streams, and an empty one for each at the end.

    PyAV 18 fails at the end of a program or transport stream in which streams appeared after it was opened.
    """
    try:
        yield from cast("Iterator[Packet[S]]", file.demux(*streams))
    except IndexError:
        return


def is_accelerated(stream: VideoStream) -> bool:
    """Whether the stream is decoded by hardware."""
    return bool(stream.codec_context.is_hwaccel)


def first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    """The first picture that decodes; raises :class:`InputError` if none does."""
    locked = False
    packets = demuxed(container, stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            locked = locked or packet.has_sidedata("encryption_info")
            for frame in stream.codec_context.decode(packet):
                return frame
        except av.EOFError:
            break
        except av.FFmpegError:
            continue
    if locked:
        raise InputError(f"{path} is encrypted; give a copy without copy protection.")
    if is_still_format(container.format.name):
        if _is_moving_webp(path):
            raise InputError(
                f"{path} is an animated WebP, which is not read here; save it as a film first."
            )
        raise InputError(
            f"{path} is a picture ({stream.codec_context.codec.canonical_name}) that does not decode; get a new copy."
        )
    raise InputError(
        f"{path} holds video ({stream.codec_context.codec.canonical_name}) of which no picture decodes; get a new copy."
    )


def _is_moving_webp(path: Path) -> bool:
    """Whether a file is a WebP with the flag of an animation (RFC 9649 2.7)."""
    with path.open("rb") as file:
        head = file.read(21)
    return (
        head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & 2)
    )


def is_still_format(name: str) -> bool:
    """Whether a demuxer is one of FFmpeg's for single pictures."""
    return name == "image2" or name.endswith("_pipe")


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is the picture on the box and not a film: marked as one, or a single still next to a film."""
    if stream.disposition & Disposition.attached_pic:
        return True
    films = (s for s in stream.container.streams.video if not _is_still(s))
    return _is_still(stream) and any(not s.disposition & Disposition.attached_pic for s in films)


def _is_still(stream: Stream) -> bool:
    """Whether a stream has one picture of a format for stills, as far as headers tell."""
    codec = stream.codec_context
    single = stream.frames == 1 or stream.metadata.get("NUMBER_OF_FRAMES") == "1"
    return single and codec is not None and codec.codec.canonical_name in IMAGES


def _film(container: InputContainer) -> VideoStream | None:
    """The video that FFmpeg would choose, unless it is a cover and another is not."""
    best = container.streams.best("video")
    films = [s for s in container.streams.video if not is_cover(s)]
    return best if isinstance(best, VideoStream) and best in films else next(iter(films), None)


def _head(path: Path) -> bytes:
    """The first bytes of a file; raises :class:`InputError` where there are none to be had."""
    if _ADDRESS.match(str(path)):
        raise InputError(f"{path} is an address; download the video and name the file.")
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a folder; name a video file in it.")
        if not stat.S_ISREG(
            mode
        ):  # it is read more than once, and opening a pipe would wait for a writer
            raise InputError(
                f"{path} is a pipe or a device; convert - reads standard input, or save the video as a file."
            )
        with path.open("rb") as file:
            head = file.read(12)
    except ValueError as error:
        raise InputError(f"{path} is no name that a file can have; check it.") from error
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the name.") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read by this user; change its permissions.") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check the name and the disk it is on."
        ) from error
    if not head:
        raise InputError(f"{path} is empty; get a new copy.")
    return head
