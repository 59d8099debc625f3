"""The chunks as one stream of packets: times across the joins, true metadata, and the stream to write them to."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from pathlib import Path
from typing import cast

from av import Packet
from av.container import OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from sdr2hdr.errors import OutputError
from sdr2hdr.media.bitstreams import dnxhr_of_bt2020, name_stream, stream_parameters
from sdr2hdr.media.boxes import open_template, template
from sdr2hdr.media.captions import placed, t35
from sdr2hdr.media.dovi import DolbyRecord, with_rpu
from sdr2hdr.media.dynamic import NO_DYNAMIC, Dynamic
from sdr2hdr.media.encoder import SDR, ChunkReader, EncodedPacket, EncodeSettings
from sdr2hdr.media.hdr10 import (
    ContentLight,
    Mastering,
    av1_with_t35,
    edit_av1,
    edit_hevc,
    join_sized,
    split_annexb,
    with_t35,
)

_MATROSKA_STEP = Fraction(1, 1000)


class Timeline:
    """When each frame of all chunks is shown and decoded; the packets stay in the files.

    ``step``: seconds per unit of the times written.
    """

    def __init__(
        self, chunks: Sequence[ChunkReader], container: str, settings: EncodeSettings
    ) -> None:
        self.source_step = settings.time_base
        pts, durations = array("q"), array("q")
        self.iraps = 0
        previous = None
        for chunk in chunks:
            start = len(pts)
            for packet in chunk.packets():
                pts.append(packet.pts)
                durations.append(packet.duration)
                self.iraps += packet.is_key
            if start == len(pts) or (previous is not None and min(pts[start:]) <= previous):
                raise OutputError(
                    f"The chunk {chunk.path} does not follow the one before it; delete the work folder and run again."
                )
            previous = max(pts[start:])
        self.source_pts = array("q", sorted(pts))
        self.step = _MATROSKA_STEP if container == "mkv" else settings.time_base
        self.shift = Fraction(0)
        self._decode_order, self._durations = pts, durations

    def first(self) -> Fraction:
        """Seconds at which the first frame is shown in the source."""
        return self.source_pts[0] * self.source_step

    def end(self) -> Fraction:
        """Seconds at which the last frame ends in the file written."""
        last = self.source_pts[-1]
        length = self._durations[self._decode_order.index(last)]
        if not length and len(self.source_pts) > 1:
            length = last - self.source_pts[-2]
        return (last + length) * self.source_step + self.shift

    def constant_rate(self, rate: Fraction) -> Fraction | None:
        """``rate`` if every frame stands within one step of it, else None: such a file names no rate."""
        first, slack = self.source_pts[0], max(self.source_step, _MATROSKA_STEP)
        far = max(
            abs((pts - first) * self.source_step - number / rate)
            for number, pts in enumerate(self.source_pts)
        )
        return rate if far <= slack else None

    def times(self) -> Iterator[tuple[int, int, int]]:
        """(pts, dts, duration) of each packet in decode order, in ``step`` units.

        Decode times are the display times in order, each as many packets late as frames are reordered: so they grow, and
        none is later than its packet's pts, at any rate and across chunks. Before the first frame they are extrapolated.
        """
        scale, shown = self.source_step / self.step, self._shown()
        ranks = array("q", (bisect_left(self.source_pts, pts) for pts in self._decode_order))
        delay = max(number - rank for number, rank in enumerate(ranks))
        gap = max(1, shown[1] - shown[0]) if len(shown) > 1 else 1
        for number, place in enumerate(ranks):
            dts = shown[number - delay] if number >= delay else shown[0] - (delay - number) * gap
            duration = round(self._durations[number] * scale)
            if not duration:
                after = min(place + 1, len(shown) - 1)
                duration = shown[after] - shown[after - 1] if after else gap
            yield shown[place], dts, duration

    def together(self) -> int:
        """How many frames have the time of the frame before, because steps are too long for their rate."""
        shown = self._shown()
        return len(shown) - len(set(shown))

    def _shown(self) -> "array[int]":
        """When each frame is shown, in order, in ``step`` units."""
        scale, shift = self.source_step / self.step, self.shift / self.step
        return array("q", (round(pts * scale + shift) for pts in self.source_pts))


class JoinedPicture:
    """The chunks as one stream of edited packets."""

    def __init__(
        self,
        chunks: Sequence[Path],
        container: str,
        mastering: Mastering | None,
        light: ContentLight | None,
        captions: Mapping[int, bytes] = {},
        dynamic: Dynamic = NO_DYNAMIC,
    ) -> None:
        """``captions`` are triplets by the source's time of a picture (:mod:`sdr2hdr.media.captions`)."""
        if not chunks:
            raise ValueError("there is nothing to assemble")
        self._chunks = [ChunkReader(path) for path in chunks]
        self.settings = self._chunks[0].settings
        for chunk in self._chunks:
            if chunk.settings != self.settings:
                raise self._mismatch(chunk, "settings")
            if chunk.private != self._chunks[0].private:
                raise self._mismatch(chunk, "parameters")
        self._container, self._mastering, self._light = container, mastering, light
        self._dynamic = dynamic
        self.dolby: DolbyRecord | None = None
        if dynamic.rpus:
            self.dolby = DolbyRecord.of(
                self.settings.width, self.settings.height, self.settings.rate
            )
        self.timeline = Timeline(self._chunks, container, self.settings)
        self.captions = placed(captions, self.timeline.source_pts)
        self._first = next(self._chunks[0].packets()).data
        self._parameters = stream_parameters(self.settings.codec, self._first)

    @staticmethod
    def _mismatch(chunk: ChunkReader, what: str) -> OutputError:
        return OutputError(
            f"The chunk {chunk.path} was encoded with other {what} than the first; delete the work folder and run again."
        )

    def add_to(
        self, out: OutputContainer, tags: dict[str, str], disposition: Disposition
    ) -> VideoStream:
        """Adds the stream, which takes the metadata beside the bitstream from a template."""
        settings = self.settings
        data = template(
            settings.codec,
            self._first,
            self._mastering,
            self._light,
            (settings.width, settings.height),
            self.dolby,
        )
        with open_template(data) as model:
            stream = out.add_stream_from_template(model.streams.video[0], opaque=True)
        context = stream.codec_context
        if self._chunks[0].private:
            context.extradata = self._chunks[0].private
        name_stream(context, settings.codec, settings.pix_fmt, self._container)
        context.color_range = 2 if settings.layout.full_range else 1
        context.color_primaries, context.color_trc, context.colorspace = settings.colour
        context.sample_aspect_ratio = settings.sample_aspect_ratio
        context.framerate = self.timeline.constant_rate(settings.rate) or Fraction(0)
        stream.time_base = self.timeline.step
        stream.metadata.update(tags)
        stream.disposition = disposition
        return stream

    def data(self) -> Iterator[bytes]:
        """The packets as they were encoded, in decode order."""
        for chunk in self._chunks:
            for encoded in chunk.packets():
                yield encoded.data

    def packets(self, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
        """The packets, edited and timed, in decode order. Raises OutputError where parameter sets differ."""
        times = self.timeline.times()
        for chunk in self._chunks:
            for encoded in chunk.packets():
                packet = Packet(self._edited(chunk, encoded))
                packet.pts, packet.dts, packet.duration = next(times)
                packet.time_base = self.timeline.step
                packet.is_keyframe = encoded.is_key
                packet.stream = stream
                yield cast("Packet[VideoStream]", packet)

    def _edited(self, chunk: ChunkReader, encoded: EncodedPacket) -> bytes:
        if (
            encoded.is_key
            and stream_parameters(self.settings.codec, encoded.data) != self._parameters
        ):
            raise self._mismatch(chunk, "parameter sets")
        if self.settings.codec == "av1":
            unit = edit_av1(encoded.data, self._mastering, self._light)
            return reduce(av1_with_t35, self._messages(encoded.pts), unit)
        if self.settings.codec == "dnxhr" and self.settings.transfer != SDR:
            return dnxhr_of_bt2020(encoded.data)
        if self.settings.codec != "hevc":
            return encoded.data
        nals = split_annexb(encoded.data)
        nals = edit_hevc(nals, self._mastering, self._light, keep_sets=self._container == "mkv")
        nals = reduce(with_t35, self._messages(encoded.pts), nals)
        rpu = self._dynamic.rpus.get(encoded.pts)
        return join_sized(with_rpu(nals, rpu) if rpu else nals)

    def _messages(self, pts: int) -> Iterator[bytes]:
        """The T.35 messages of the picture with this time."""
        if triplets := self.captions.get(pts):
            yield t35(triplets)
        if dynamic := self._dynamic.messages.get(pts):
            yield dynamic
