"""Sound tracks that PyAV cannot describe, described by a Matroska header in memory.

PyAV can neither set how many samples a player must hide (CodecDelay), nor make a stream of raw AAC from a configuration alone,
nor add the codecs that Matroska holds as a WAVEFORMATEX (A_MS/ACM; FFmpeg's muxer writes them, though its list of codecs does
not name them). It can copy a stream that was read. So a header is written here, and read, and its stream is the template.
"""

import io
from dataclasses import dataclass
from typing import cast

import av
import av.error
from av import Packet
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from sdr2hdr.media import matroska

ACM, PLACEHOLDER = b"A_MS/ACM", b"A_TRUEHD"
"""What A_MS/ACM is written as until the file is complete: the name of a codec whose private data FFmpeg takes as they are."""
_ALIGN = slice(12, 14)
"""Where a WAVEFORMATEX says how many bytes a block has. NUT does not keep that for ADPCM; there a packet is a block."""
EAC3 = b"A_EAC3"
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""What FFmpeg assumes, by the number of channels, where nobody says which they are (av_channel_layout_default)."""


@dataclass(frozen=True, slots=True)
class TrackForm:
    """How a sound stream is written: ``wave`` is the WAVEFORMATEX of A_MS/ACM, ``config`` the AudioSpecificConfig of raw
    AAC, ``codec`` Matroska's name of a codec that the source misnames; empty where the stream is copied as it is. ``hidden``
    samples at its start are not heard."""

    hidden: int = 0
    wave: bytes = b""
    config: bytes = b""
    codec: bytes = b""


def add_track(out: OutputContainer, stream: AudioStream, form: TrackForm) -> Stream:
    """Adds a stream for the packets of ``stream``. Raises ValueError and FFmpegError where the container cannot hold it."""
    in_matroska = out.format.name == "matroska"
    if not (form.wave or form.config or form.codec or (form.hidden and in_matroska)):
        return _named_layout(out, out.add_stream_from_template(stream, opaque=True))
    with _template(stream, form, in_matroska=in_matroska) as read:
        return _named_layout(out, out.add_stream_from_template(read.streams[0], opaque=True))


def _named_layout(out: OutputContainer, copy: Stream) -> Stream:
    """Gives channels of no known place the usual ones: MP4 does not take them without."""
    context = cast(AudioStream, copy).codec_context
    if (
        out.format.name != "matroska"
        and "channels" in context.layout.name
        and context.channels in LAYOUTS
    ):
        context.layout = LAYOUTS[context.channels]
    return copy


def wave_format(stream: AudioStream, packets: tuple[bytes, ...]) -> bytes:
    """The WAVEFORMATEX that FFmpeg's WAV muxer writes for a stream. Raises ValueError and FFmpegError where it has none."""
    file = io.BytesIO()
    with av.open(file, "w", format="wav", container_options={"fflags": "+bitexact"}) as out:
        copy = out.add_stream_from_template(stream, opaque=True)
        for number, data in enumerate(packets):
            out.mux(plain_packet(data, copy, stream, number))
    data = file.getvalue()
    at = data.index(b"fmt ") + 8
    form = data[at : at + int.from_bytes(data[at - 4 : at], "little")]
    lengths = {len(packet) for packet in packets}
    blocks = stream.codec_context.codec.canonical_name.startswith("adpcm_")
    if blocks and form[_ALIGN] == b"\1\0" and len(lengths) == 1 and max(lengths) < 2**16:
        form = form[: _ALIGN.start] + min(lengths).to_bytes(2, "little") + form[_ALIGN.stop :]
    return form


def plain_packet(data: bytes, copy: Stream, stream: Stream, number: int) -> "Packet[Stream]":
    """A packet for trying a muxer: ``data`` at some time that rises with ``number``."""
    packet = Packet(data)
    packet.time_base = stream.time_base or matroska.STEP
    packet.pts = packet.dts = round(number * matroska.STEP * 100 / packet.time_base)
    packet.duration = round(matroska.STEP * 100 / packet.time_base)
    packet.is_keyframe, packet.stream = True, copy
    return packet


def _template(stream: AudioStream, form: TrackForm, *, in_matroska: bool) -> InputContainer:
    context = stream.codec_context
    if form.wave:
        entry = matroska.sound_entry(PLACEHOLDER, form.wave, context.sample_rate, context.channels)
    elif form.config:
        entry = matroska.sound_entry(b"A_AAC", form.config, context.sample_rate, context.channels)
    elif form.codec:
        entry = matroska.sound_entry(form.codec, b"", context.sample_rate, context.channels)
    else:
        header = io.BytesIO()
        with av.open(header, "w", format="matroska") as out:
            out.add_stream_from_template(stream, opaque=True)
            out.start_encoding()
        entry = matroska.first_entry(header.getvalue())
    delay = round(form.hidden * 10**9 / context.sample_rate) if in_matroska else 0
    return av.open(io.BytesIO(matroska.header_of(entry, delay)), "r", format="matroska")
