"""The fate of the streams of a source other than the converted picture."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from sdr2hdr.codecs import container_refusal
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.boxes import sample_entries
from sdr2hdr.media.fate import (
    ATTACHED,
    CONVERTED,
    COPIED,
    COVER,
    FORMATS,
    LEFT_OUT,
    UNWRAPPED,
    Fate,
    left_out,
)
from sdr2hdr.media.opening import IMAGES, is_cover, open_deep
from sdr2hdr.media.programmes import of_other_programmes
from sdr2hdr.media.sound_plan import plan_sound
from sdr2hdr.media.sound_start import find_starts
from sdr2hdr.media.subtitles import TEXT_CODEC, is_text
from sdr2hdr.text import printable


@dataclass(frozen=True, slots=True)
class StreamChoice:
    """What a user wants of a source's streams.

    ``audio``: ``copy``, or the codec for sounds that cannot be copied. ``audio_tracks`` and ``subtitle_tracks``: those to keep,
    by number among their kind (from 1) or by language; empty keeps all. ``silent`` keeps no sound. ``strict``: refuse
    rather than leave a stream out.
    """

    audio: str = "copy"
    audio_tracks: tuple[str, ...] = ()
    subtitle_tracks: tuple[str, ...] = ()
    silent: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What becomes of every stream but the one at ``video_stream_index``, in the source's order.

    ``strict``: refuse rather than leave a stream out.
    """

    container: str
    video_stream_index: int
    fates: tuple[Fate, ...]
    strict: bool = False

    @property
    def copied(self) -> tuple[int, ...]:
        return tuple(fate.index for fate in self.fates if fate.how == COPIED)

    @property
    def carries_time(self) -> bool:
        """Whether a sound or a subtitle is kept."""
        return any(fate.how in (COPIED, UNWRAPPED, CONVERTED) for fate in self.fates)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people on what is left out or changed."""
        return tuple(fate.note for fate in self.fates if fate.note)

    def without(self, reasons: Mapping[int, str]) -> "StreamPlan":
        """The plan that leaves further streams out; ``reasons`` by index in the source."""
        fates = (
            left_out(fate.index, fate.name, reasons[fate.index]) if fate.index in reasons else fate
            for fate in self.fates
        )
        return replace(self, fates=tuple(fates))


def open_to_copy(source: Path) -> InputContainer:
    """Opens a source to copy from; tags that are not UTF-8 are no reason to refuse it. Raises InputError."""
    try:
        return open_deep(source)
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{source} cannot be read ({error}); check the file.") from error


def plan_streams(
    source: Path,
    container: str,
    codec: str | None,
    video_stream_index: int,
    choice: StreamChoice = StreamChoice(),
) -> StreamPlan:
    """Decides what becomes of each stream of the source; worth a call before anything is rendered.

    ``container`` is one of FORMATS, ``codec`` what the picture is encoded to, None if it goes elsewhere; the stream at
    ``video_stream_index`` is the one to be converted. Raises OutputError if the container cannot hold the picture, and, if the
    choice is strict, a stream; InputError if the source cannot be read or has no track that was chosen.
    """
    if container not in FORMATS:
        raise OutputError(
            f"The container {container!r} is not known; choose one of {', '.join(FORMATS)}."
        )
    if codec is not None and (why := container_refusal(codec, container)) is not None:
        raise OutputError(why)
    with open_to_copy(source) as file:
        others = of_other_programmes(file, source, file.streams[video_stream_index])
        starts = find_starts(file, without=others)
    with open_to_copy(source) as file:
        entries = sample_entries(source) if file.format.name.startswith("mov") else {}
        sounds = [stream for stream in file.streams.audio if stream.index not in others]
        texts = [stream for stream in file.streams.subtitles if stream.index not in others]
        wanted = {
            *(
                []
                if choice.silent
                else _chosen(sounds, choice.audio_tracks, "--audio-track", source)
            ),
            *_chosen(texts, choice.subtitle_tracks, "--subtitle-track", source),
        }
        fates = []
        for stream in file.streams:
            name = _name(stream, entries.get(stream.id, ""))
            if stream.index == video_stream_index:
                continue
            if stream.index in others:
                why = f"it belongs to programme {others[stream.index]} of the recording, not to the picture's"
                fates.append(left_out(stream.index, name, why))
            elif stream.type in ("audio", "subtitle") and stream.index not in wanted:
                fates.append(left_out(stream.index, name, "it was not asked for", asked=True))
            elif stream.type == "audio":
                sound = cast(AudioStream, stream)
                fates.append(
                    plan_sound(sound, name, container, choice.audio, starts.get(stream.index))
                )
            elif stream.type == "subtitle":
                fates.append(_subtitle(stream, name, container))
            else:
                fates.append(_other(stream, name, container, has_chapters=bool(file.chapters())))
    lost = [fate for fate in fates if fate.how == LEFT_OUT and fate.note and not fate.asked]
    if choice.strict and lost:
        raise OutputError(
            f"{source}: {lost[0].note}; convert it without --strict-streams, or write another container."
        )
    return StreamPlan(container, video_stream_index, tuple(fates), choice.strict)


def _chosen(
    streams: Sequence[Stream], tracks: tuple[str, ...], option: str, source: Path
) -> set[int]:
    """The indexes of the streams that are asked for."""
    if not tracks:
        return {stream.index for stream in streams}
    found: set[int] = set()
    for track in tracks:
        number = int(track) if track.isascii() and track.isdigit() else 0
        matching = {
            stream.index
            for place, stream in enumerate(streams, 1)
            if place == number or stream.metadata.get("language", "und") == track
        }
        if not matching:
            there = ", ".join(
                f"{n} ({s.metadata.get('language', 'und')})" for n, s in enumerate(streams, 1)
            )
            raise InputError(
                f"{source} has no track {track!r} for {option}; {f'it has {there}' if there else 'leave it out'}."
            )
        found |= matching
    return found


def _holds(container: str, stream: Stream) -> bool:
    """Whether the container takes this stream: found out by writing a header in memory that has it alone."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[container]) as out:
            out.add_stream_from_template(stream, opaque=True)
            out.start_encoding()
    except (
        ValueError,
        av.error.FFmpegError,
    ):  # not in PyAV's list of what the container holds; refused by the muxer
        return False
    return True


def _name(stream: Stream, entry: str) -> str:
    codec = (
        stream.codec_context.codec.canonical_name
        if stream.codec_context
        else _data_name(stream) or entry
    )
    return f"{stream.type} stream {stream.index}" + (f" ({codec})" if codec else "")


def _data_name(stream: Stream) -> str:
    """FFmpeg's name of a stream without a decoder; empty for kinds that PyAV knows nothing of."""
    return getattr(stream, "name", None) or ""


def _subtitle(stream: Stream, name: str, container: str) -> Fate:
    kind = container.upper()
    if stream.codec_context is None:
        return left_out(stream.index, name, "no decoder for it is known here")
    if _holds(container, stream):
        return Fate(stream.index, name, COPIED)
    if is_text(stream):
        codec = TEXT_CODEC[container]
        return Fate(
            stream.index,
            name,
            CONVERTED,
            codec,
            f"{name} converted to {codec}: {kind} cannot hold it as it is",
        )
    return left_out(stream.index, name, f"{kind} cannot hold it")


def _picture(stream: Stream, name: str, container: str) -> Fate:
    if not is_cover(stream):
        return left_out(stream.index, name, "one picture is written")
    context = cast(VideoStream, stream).codec_context
    image = context.codec.canonical_name if context else ""
    if image in IMAGES and container != "mkv" and not context.width:
        return left_out(
            stream.index,
            name,
            f"this cover picture is not the {image.upper()} that it is said to be",
        )
    if image in IMAGES and container != "mov":
        return Fate(stream.index, name, COVER)
    return left_out(stream.index, name, f"{container.upper()} cannot hold this cover picture")


def _other(stream: Stream, name: str, container: str, *, has_chapters: bool) -> Fate:
    kind = container.upper()
    if stream.type == "attachment":
        if container == "mkv":
            return Fate(stream.index, name, ATTACHED)
        return left_out(
            stream.index,
            f"attachment {stream.metadata.get('filename', stream.index)}",
            f"{kind} cannot hold attachments",
        )
    if stream.type == "video":
        return _picture(stream, name, container)
    if (
        _data_name(stream) == "bin_data" and has_chapters
    ):  # where MP4 keeps the names of the chapters, which are copied
        return Fate(stream.index, name, LEFT_OUT)
    if timecode := stream.metadata.get("timecode"):
        note = f"{name}: its timecode, {printable(timecode)} at the first picture, is kept"
        return Fate(stream.index, name, LEFT_OUT, note=note, asked=True)
    return left_out(stream.index, name, "data of the old container")
