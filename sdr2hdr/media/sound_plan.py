"""The fate of one sound: copied, unwrapped, encoded, or left out, found by trying the muxer."""

import io
from collections.abc import Iterator
from typing import cast

import av
import av.error
from av.audio.stream import AudioStream

from sdr2hdr.errors import OutputError
from sdr2hdr.media.fate import CONVERTED, COPIED, FORMATS, UNWRAPPED, Fate, left_out
from sdr2hdr.media.latm import LatmError, LatmReader
from sdr2hdr.media.sound_convert import ENCODERS, SoundConverter, lossless_pcm
from sdr2hdr.media.sound_start import SoundStart
from sdr2hdr.media.sound_track import EAC3, TrackForm, add_track, plain_packet, wave_format

_REFUSALS = (
    ValueError,
    av.error.FFmpegError,
)  # not in PyAV's list of what the container holds; refused by the muxer
_NULL_PID = 0x1FFF  # ISO/IEC 13818-1 2.4.3.3: what fills a transport stream up


def plan_sound(
    stream: AudioStream, name: str, container: str, audio: str, start: SoundStart | None
) -> Fate:
    """Decides about one sound; ``audio`` is ``copy`` or what to encode to where it cannot be copied.

    ``start`` is None for a stream without packets. Raises OutputError where the container cannot hold ``audio`` either.
    """
    if why := _nothing(stream, start):
        return left_out(stream.index, name, why)
    start = cast(SoundStart, start)
    for how, form, packets in _ways(stream, container, start):
        if _holds(container, stream, form, packets):
            return Fate(stream.index, name, how, form=form, start=start)
    kind = container.upper()
    pcm = stream.codec_context.codec.canonical_name.startswith(("pcm_", "s302m"))
    codec = lossless_pcm(stream) if pcm else audio
    if codec != "copy" and _converts(container, stream, codec):
        note = f"{name} {'repacked as' if pcm else 'converted to'} {codec}: {kind} cannot hold it as it is"
        return Fate(stream.index, name, CONVERTED, codec, note, start=start)
    if codec == audio != "copy" and stream.codec_context.sample_rate:
        able = [name for name in ENCODERS if _converts(container, stream, name)]
        raise OutputError(
            f"{kind} cannot hold {name} as {audio}; choose --audio {' or '.join(able) or 'copy'}, or write another container."
        )
    return left_out(
        stream.index, name, f"{kind} cannot hold it{_way_out(stream, container, start)}"
    )


def _nothing(stream: AudioStream, start: SoundStart | None) -> str:
    """Why there is nothing in a stream to carry; empty if there is."""
    if stream.codec_context is None:
        return "no decoder for it is known here"
    if stream.container.format.name == "mpegts" and stream.id == _NULL_PID:
        return "its packets are those that fill up a transport stream"
    return "it has no packets" if start is None else ""


def _ways(
    stream: AudioStream, container: str, start: SoundStart
) -> Iterator[tuple[str, TrackForm, tuple[bytes, ...]]]:
    """How packets could be written without encoding anew, best first: the fate, the form, and some of them in it."""
    if stream.codec_context.codec.canonical_name == "aac_latm":
        config, frames = _unwrapped(start)
        if config:
            yield UNWRAPPED, TrackForm(config=config), frames
    misnamed = _is_eac3(start.packets[0]) and stream.codec_context.codec.canonical_name == "ac3"
    yield COPIED, TrackForm(start.hidden, codec=EAC3 if misnamed else b""), start.packets
    wave = _wave(stream, start) if container == "mkv" else b""
    if wave:
        yield COPIED, TrackForm(wave=wave), start.packets


def _is_eac3(packet: bytes) -> bool:
    """Whether an AC-3 packet is of E-AC-3, which NUT and others give the same name (ETSI TS 102 366 E.1.3.1.6: bsid)."""
    return packet[:2] == b"\x0b\x77" and len(packet) > 5 and 10 < packet[5] >> 3 <= 16


def _way_out(stream: AudioStream, container: str, start: SoundStart) -> str:
    """How it could be kept, for a note."""
    holders = [
        n.upper()
        for n in FORMATS
        if n != container and _holds(n, stream, TrackForm(start.hidden), start.packets)
    ]
    ways = [f"{' and '.join(holders)} can"] if holders else []
    able = [codec for codec in ENCODERS if _converts(container, stream, codec)]
    ways += [f"--audio {able[0]} converts it"] if able else []
    return f" ({', '.join(ways)})" if ways else ""


def _holds(
    container: str, stream: AudioStream, form: TrackForm, packets: tuple[bytes, ...]
) -> bool:
    """Whether the container takes these packets: found out by writing a file in memory that has them alone."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[container]) as out:
            copy = add_track(out, stream, form)
            for number, data in enumerate(packets):
                out.mux(plain_packet(data, copy, stream, number))
    except _REFUSALS:
        return False
    return True


def _converts(container: str, stream: AudioStream, codec: str) -> bool:
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[container]) as out:
            SoundConverter(stream, out, codec)
            out.start_encoding()
    except _REFUSALS:
        return False
    return True


def _wave(stream: AudioStream, start: SoundStart) -> bytes:
    try:
        return wave_format(stream, start.packets)
    except _REFUSALS:
        return b""


def _unwrapped(start: SoundStart) -> tuple[bytes, tuple[bytes, ...]]:
    """The AudioSpecificConfig of a LATM stream and its first frames; both empty where it cannot be unwrapped."""
    reader = LatmReader()
    try:
        frames = tuple(frame for data in start.packets for frame in reader.frames(data))
    except LatmError:
        return b"", ()
    return reader.config, frames
