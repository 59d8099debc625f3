"""Tests whether a hardware encoder or decoder works here and meets the needs of HDR10."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import cast

import av
import av.error
import torch
from av.codec.hwaccel import hwdevices_available
from av.video.codeccontext import VideoCodecContext
from av.video.plane import VideoPlane

from sdr2hdr.media.bitstreams import stream_parameters
from sdr2hdr.media.encoder import (
    ChunkEncoder,
    ChunkReader,
    EncodedPacket,
    EncoderGone,
    EncodeSettings,
)
from sdr2hdr.media.opening import is_accelerated, opened
from sdr2hdr.media.picture import planar

_KEYINT, _PICTURES = 4, 10
_DEVICES = ("cuda", "qsv", "amf")
_COMPARED = 8
"""Pictures that a hardware decoder must give as the software decoder does, to the bit."""


def try_hardware(settings: EncodeSettings) -> None:
    """Encode a few pictures of the film's size with a hardware encoder and look at what came of them.

    Raises EncoderGone, with the reason, for an encoder that does not open or whose stream lacks what a file needs.
    """
    short = replace(settings, keyint=_KEYINT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.packets"
        with ChunkEncoder(path, short) as encoder:
            for number in range(_PICTURES):
                encoder.encode(_picture(short, number), number)
            encoder.close()
        packets = list(ChunkReader(path).packets())
    why = _lacks(packets, short)
    if why:
        raise EncoderGone(f"{settings.writer.name} {why}")


def _picture(settings: EncodeSettings, number: int) -> tuple[torch.Tensor, ...]:
    """A slope of light that moves, without colour."""
    columns = (torch.arange(settings.width) + 4 * number) % settings.width
    luma = (64 + columns * 600 // settings.width).to(torch.uint16)
    grey = torch.full((settings.height // 2, settings.width // 2), 512, dtype=torch.uint16)
    return luma.expand(settings.height, -1), grey, grey


def _lacks(packets: list[EncodedPacket], settings: EncodeSettings) -> str:
    """What is wrong with a trial's packets, in words; empty if nothing is."""
    if sorted(p.pts for p in packets) != list(range(_PICTURES)):
        return "gives its pictures other times"
    keys = [n for n, packet in enumerate(packets) if packet.is_key]
    times = [packets[n].pts for n in keys]
    if keys[:1] != [0] or any(b - a > _KEYINT for a, b in pairwise([*times, _PICTURES])):
        return "does not set key frames where they are asked for"
    sets = {stream_parameters(settings.codec, packets[n].data) for n in keys}
    if len(sets) != 1 or not next(iter(sets)):
        return "does not repeat its parameter sets"
    for n in keys:
        if any(p.pts < packets[n].pts for p in packets[n:]):
            return "leaves groups of pictures open"
    return _decodes_otherwise(packets, settings)


def _decodes_otherwise(packets: list[EncodedPacket], settings: EncodeSettings) -> str:
    decoder = cast(VideoCodecContext, av.CodecContext.create(settings.codec, "r"))
    try:
        frames = [f for p in packets for f in decoder.decode(av.Packet(p.data))]
        frames += decoder.decode(None)
    except av.error.FFmpegError as error:
        return f"writes what does not decode ({error})"
    if len(frames) != _PICTURES:
        return "writes pictures that do not decode"
    for number, frame in enumerate(frames):
        found = (frame.format.name, frame.width, frame.height)
        if found != ("yuv420p10le", settings.width, settings.height):
            return f"writes {found[0]} pictures of {found[1]}x{found[2]}"
        tags = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
        if tags != (*settings.colour, 1):
            return f"tags its pictures with the colours {tags}"
        plane = torch.from_dlpack(frame.planes[0]).float()
        if (plane - _picture(settings, number)[0].float()).abs().mean() > 64:
            return "writes other pictures than it was given"
    return ""


def decoding_device(path: Path) -> str | None:
    """The hardware that decodes the beginning of a film as software does, to the bit; None if there is none."""
    there = hwdevices_available()
    truth: list[tuple[object, ...]] | None = None
    for device in (d for d in _DEVICES if d in there):
        try:
            with opened(path, device) as (container, stream):
                if not is_accelerated(stream):
                    continue
                found = list(_decoded(container.decode(stream)))
        except (av.error.FFmpegError, OSError, RuntimeError):
            continue
        if truth is None:
            with opened(path) as (container, stream):
                truth = list(_decoded(container.decode(stream)))
        if found and found == truth:
            return device
    return None


def _decoded(frames: Iterator[av.VideoFrame]) -> Iterator[tuple[object, ...]]:
    for frame in islice(frames, _COMPARED):
        flat = planar(frame)
        tags = (flat.color_primaries, flat.color_trc, flat.colorspace, flat.color_range)
        form = (flat.format.name, flat.width, flat.height, flat.interlaced_frame)
        yield (flat.pts, *tags, *form, *(_bytes(plane) for plane in flat.planes))


def _bytes(plane: VideoPlane) -> bytes:
    return torch.from_dlpack(plane).contiguous().numpy().tobytes()
