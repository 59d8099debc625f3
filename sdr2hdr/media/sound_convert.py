"""Converts sound if the output container cannot hold the source's codec."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import cast

import av
import av.error
from av import Packet
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.stream import Stream

from sdr2hdr.media.heard import AudioTally
from sdr2hdr.media.sound_track import LAYOUTS

ENCODERS = {"flac": "flac", "aac": "aac", "opus": "libopus"}
_BITS = {
    "aac": 96_000,
    "libopus": 64_000,
}  # a second and channel: transparent, by each encoder's own advice
_RATES = {
    "aac": (
        96000,
        88200,
        64000,
        48000,
        44100,
        32000,
        24000,
        22050,
        16000,
        12000,
        11025,
        8000,
        7350,
    ),
    "libopus": (48000,),
}
_GAP = 0.02  # seconds without sound that are filled with silence, and of doubled sound that are cut


def lossless_pcm(stream: AudioStream) -> str:
    """The plain PCM that holds all that a stream of some other PCM decodes to."""
    name, decoded = (
        stream.codec_context.codec.canonical_name,
        stream.codec_context.format.packed.name,
    )
    if name in ("pcm_dvd", "pcm_bluray", "s302m"):  # of at most 24 bits, which decode to 32
        return "pcm_s16le" if decoded == "s16" else "pcm_s24le"
    return {
        "u8": "pcm_u8",
        "s16": "pcm_s16le",
        "s32": "pcm_s32le",
        "flt": "pcm_f32le",
        "dbl": "pcm_f64le",
    }[decoded]


class SoundConverter:
    """Decodes a sound stream and encodes it to ``codec``: a key of ENCODERS, or a plain PCM.

    Gaps in the source's times are filled with silence, so that the sound stays with the picture.
    """

    def __init__(self, source: AudioStream, out: OutputContainer, codec: str) -> None:
        name = ENCODERS.get(codec, codec)
        self._context = source.codec_context
        rate = self._context.sample_rate
        rate = min(_RATES.get(name, (rate,)), key=lambda each: (each < rate, abs(each - rate)))
        self.stream = cast(AudioStream, out.add_stream(name, rate=rate))
        encoder = self.stream.codec_context
        encoder.layout = _layout(self._context.layout)
        encoder.format = _format(name, self._context.format.packed.name)
        encoder.time_base = Fraction(1, rate)
        if name in _BITS:
            encoder.bit_rate = _BITS[name] * encoder.channels
        # An encoder fills its last frame up, and what it hides of that not every container hides.
        self.tally = AudioTally(
            encoder.codec.canonical_name, hashed=False, slack=4096 if name in _BITS else 0
        )
        self._graph: Graph | None = None
        self._form: tuple[str, str, int] | None = None

    def convert(self, frames: Iterable[AudioFrame], shift: Fraction) -> "Iterator[Packet[Stream]]":
        """The packets that are ready once ``frames``, decoded from the source, are known; ``shift`` seconds are added."""
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                frame.pts += round(shift / frame.time_base)
            form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if form != self._form:
                yield from self._encoded(self._drained())
                self._graph, self._form = self._new_graph(frame), form
            assert self._graph is not None  # noqa: S101 - made for the first frame
            self._graph.push(frame)
            yield from self._encoded(self._ready(self._graph))

    def flush(self) -> "Iterator[Packet[Stream]]":
        """The packets still to come after the last frame of the source."""
        yield from self._encoded(self._drained())
        yield from self.stream.encode(None)

    def _encoded(self, frames: Iterable[AudioFrame]) -> "Iterator[Packet[Stream]]":
        for frame in frames:
            self.tally.hear([frame])
            yield from self.stream.encode(frame)

    def _new_graph(self, frame: AudioFrame) -> Graph:
        encoder = self.stream.codec_context
        graph = Graph()
        nodes = [
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format,
                layout=frame.layout,
                time_base=frame.time_base or Fraction(1, frame.sample_rate),
            ),
            graph.add("aresample", f"{encoder.sample_rate}:async=1:min_hard_comp={_GAP}"),
            graph.add(
                "aformat",
                f"sample_fmts={encoder.format.name}:channel_layouts={encoder.layout.name}",
            ),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        if encoder.frame_size:
            graph.set_audio_frame_size(encoder.frame_size)
        return graph

    def _drained(self) -> Iterator[AudioFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready(self._graph)

    @staticmethod
    def _ready(graph: Graph) -> Iterator[AudioFrame]:
        while True:
            try:
                frame = cast(AudioFrame, graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield frame


def _layout(layout: AudioLayout) -> AudioLayout:
    """The source's channels, or as many of no known place as usual ones; of more than eight, stereo."""
    channels = layout.nb_channels
    if not channels:
        raise ValueError("the source does not say how many channels it has")
    if channels > max(LAYOUTS):
        return AudioLayout("stereo")
    return AudioLayout(LAYOUTS[channels]) if "channels" in layout.name else layout


def _format(encoder: str, decoded: str) -> str:
    """The sample format that an encoder is given; ``decoded`` is the source's, packed."""
    if encoder == "flac":
        return "s16" if decoded in ("u8", "s16") else "s32"
    if encoder.startswith("pcm_"):
        return decoded
    return {"aac": "fltp", "libopus": "flt"}[encoder]
