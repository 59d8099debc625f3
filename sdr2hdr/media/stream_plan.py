"""What becomes of the streams of a source beside the picture that is converted."""

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av import Packet
from av.container import InputContainer
from av.stream import Disposition, Stream

from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.subtitles import TEXT_CODEC, is_text

FORMATS = {"mkv": "matroska", "mp4": "mp4", "mov": "mov"}
IMAGES = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png"), "bmp": ("image/bmp", "bmp")}


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What becomes of the source's streams, by index; ``notes`` are sentences for people on what is left out or changed."""

    copied: tuple[int, ...]
    converted: tuple[int, ...]
    pictures: tuple[int, ...]
    attachments: tuple[int, ...]
    notes: tuple[str, ...]


def open_source(source: Path) -> InputContainer:
    """Opens a source to copy from; tags that are not UTF-8 are no reason to refuse it. Raises InputError."""
    try:
        return av.open(str(source.absolute()), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{source} cannot be read ({error}); check the file.") from error


def _accepts(container: str, stream: Stream) -> bool:
    """Whether the container takes packets of this stream: found out by writing a file in memory that has it alone."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[container]) as out:
            copy = out.add_stream_from_template(stream, opaque=True)
            out.start_encoding()
            if copy.codec_context.codec.canonical_name.startswith("pcm_"):  # which MP4 refuses at the end, if at all
                packet = Packet(bytes(4096))
                packet.pts = packet.dts = 0
                packet.time_base, packet.stream = stream.time_base or Fraction(1, 1000), copy
                out.mux(packet)
    except (ValueError, av.error.FFmpegError):  # not in the container's list; refused by its writer
        return False
    return True


def _name(stream: Stream) -> str:
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else _data_name(stream)
    return f"{stream.type} stream {stream.index}" + (f" ({codec})" if codec else "")


def _data_name(stream: Stream) -> str:
    """FFmpeg's name of a stream without a decoder; empty for kinds that PyAV knows nothing of."""
    return getattr(stream, "name", None) or ""


def plan_streams(source: Path, container: str, codec: str, video_stream_index: int) -> StreamPlan:
    """Decides what becomes of each stream of the source; worth a call before anything is rendered.

    ``container`` is one of FORMATS, ``codec`` what the picture is encoded to; the stream at ``video_stream_index`` is the
    one to be converted. Raises OutputError if the container cannot hold the picture or a sound: none is left out.
    """
    with open_source(source) as file:
        return plan_open(file, source, container, codec, video_stream_index)


def plan_open(file: InputContainer, source: Path, container: str, codec: str, video_stream_index: int) -> StreamPlan:
    """``plan_streams`` for a source that is open."""
    if container not in FORMATS:
        raise OutputError(f"The container {container!r} is not known; choose one of {', '.join(FORMATS)}.")
    if container == "mov" and codec == "av1":
        raise OutputError(
            "MOV cannot hold AV1 (it is defined for MP4 and Matroska alone); write MP4 or MKV, or use HEVC."
        )
    fates: dict[str, list[int]] = {"copied": [], "converted": [], "pictures": [], "attachments": []}
    notes = []
    for stream in file.streams:
        if stream.index == video_stream_index:
            continue
        if stream.type == "audio":
            fate, note = _sound(stream, source, container), ""
        elif stream.type == "subtitle":
            fate, note = _subtitle(stream, container)
        else:
            fate, note = _other(stream, container, has_chapters=bool(file.chapters()))
        if fate:
            fates[fate].append(stream.index)
        if note:
            notes.append(note)
    return StreamPlan(**{fate: tuple(indexes) for fate, indexes in fates.items()}, notes=tuple(notes))


def _sound(stream: Stream, source: Path, container: str) -> str:
    if not _accepts(container, stream):
        ways = [name for name in FORMATS if _accepts(name, stream)]
        way = (
            f"write {' or '.join(name.upper() for name in ways)} instead"
            if ways
            else "convert this sound (to FLAC, say) first"
        )
        raise OutputError(f"{container.upper()} cannot hold {_name(stream)} of {source}; {way}.")
    return "copied"


def _subtitle(stream: Stream, container: str) -> tuple[str, str]:
    kind = container.upper()
    if _accepts(container, stream):
        return "copied", ""
    if stream.codec_context and is_text(stream):
        return "converted", f"{_name(stream)} converted to {TEXT_CODEC[container]}: {kind} cannot hold it as it is"
    return "", f"{_name(stream)} left out: {kind} cannot hold it"


def _other(stream: Stream, container: str, *, has_chapters: bool) -> tuple[str, str]:
    kind = container.upper()
    if stream.type == "attachment":
        if container == "mkv":
            return "attachments", ""
        name = stream.metadata.get("filename", str(stream.index))
        return "", f"attachment {name} left out: {kind} cannot hold attachments"
    if stream.type == "video" and stream.disposition & Disposition.attached_pic:
        image = stream.codec_context.codec.canonical_name if stream.codec_context else ""
        kept = image in IMAGES and container != "mov"
        return ("pictures", "") if kept else ("", f"{_name(stream)} left out: {kind} cannot hold this cover picture")
    if stream.type == "video":
        return "", f"{_name(stream)} left out: one picture is written"
    if _data_name(stream) == "bin_data" and has_chapters:  # where MP4 keeps the names of the chapters, which are copied
        return "", ""
    return "", f"{_name(stream)} left out: data of the old container"
