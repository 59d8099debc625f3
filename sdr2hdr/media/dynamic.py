"""Metadata that each picture has of its own: putting them into its packet, and reading them out of a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.error
from av.video.stream import VideoStream

from sdr2hdr.errors import InputError
from sdr2hdr.media.dovi import rpu_in
from sdr2hdr.media.hdr10 import av1_t35, hevc_t35, nal_splitter
from sdr2hdr.media.hdr10plus import Hdr10Plus, is_hdr10plus


@dataclass(frozen=True, slots=True)
class Dynamic:
    """What is written of each picture, by the source's time of it: the ``messages`` of HDR10+, and the ``rpus`` of Dolby
    Vision, NAL units."""

    messages: Mapping[int, bytes] = field(default_factory=dict)
    rpus: Mapping[int, bytes] = field(default_factory=dict)


NO_DYNAMIC = Dynamic()


def message_reader(stream: VideoStream) -> Callable[[bytes], bytes | None] | None:
    """How to read the message of HDR10+ off this stream's packets; None for a codec that has none."""
    codec = stream.codec_context.codec.canonical_name
    if codec == "hevc":
        split = nal_splitter(stream.codec_context.extradata or b"")
        return lambda data: next(filter(is_hdr10plus, hevc_t35(split(data))), None)
    if codec == "av1":
        return lambda data: next(filter(is_hdr10plus, av1_t35(data)), None)
    return None


def rpu_reader(stream: VideoStream) -> Callable[[bytes], bytes | None]:
    """How to read the metadata of Dolby Vision off the packets of an HEVC stream."""
    split = nal_splitter(stream.codec_context.extradata or b"")
    return lambda data: rpu_in(split(data))


def hdr10plus_of(path: Path) -> list[Hdr10Plus]:
    """What HDR10+ says of each picture of a file, in display order.

    Raises InputError for a file that cannot be read, and for one in which any picture has no HDR10+.
    """
    found: dict[int, bytes | None] = {}
    try:
        with av.open(str(path.absolute()), metadata_errors="replace") as file:
            if not file.streams.video:
                raise InputError(f"{path} has no picture; give a video file.")
            stream = file.streams.video[0]
            read = message_reader(stream)
            for packet in file.demux(stream) if read else ():
                if packet.size and read:
                    if packet.pts is None:
                        raise InputError(
                            f"{path} does not say when its pictures are shown; copy it into a Matroska file first."
                        )
                    found[packet.pts] = read(bytes(packet))
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path} cannot be read as video ({error}); check the file.") from error
    messages = [message for _, message in sorted(found.items()) if message is not None]
    if not messages:
        raise InputError(f"{path} carries no HDR10+; give a file that does.")
    if len(messages) < len(found):
        raise InputError(
            f"{path} carries HDR10+ on {len(messages)} of {len(found)} pictures; it must be on all of them to be exported."
        )
    try:
        return [Hdr10Plus.read(message) for message in messages]
    except ValueError as error:
        raise InputError(
            f"{path} carries HDR10+ that cannot be read ({error}); check the file."
        ) from error
