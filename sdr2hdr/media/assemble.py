"""Putting the finished file together: the chunks' packets with the true metadata, and all else from the source.

Nothing is encoded here but text subtitles that the container wants in its own codec. Sound packets go over bit for bit.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import av.error
from av import Packet
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from sdr2hdr.errors import OutputError
from sdr2hdr.media.check import AudioTally, Expected
from sdr2hdr.media.clock import STEADY, Clock
from sdr2hdr.media.encoder import cannot_write
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.joined import Picture
from sdr2hdr.media.matroska import complete_video_track
from sdr2hdr.media.stream_plan import FORMATS, IMAGES, StreamPlan, open_source, plan_open
from sdr2hdr.media.subtitles import TextConverter

if TYPE_CHECKING:
    from av.container.core import Chapter  # a name of the stubs alone

_REACH = Fraction(30)  # a Matroska block can lie 32.7 s before its cluster, and no cluster lies before 0
# Tags that tell of the old container or the old picture, not of the work.
_STALE = ("major_brand", "minor_version", "compatible_brands", "encoder", "vendor_id", "duration", "rotate")
_STALE_PREFIXES = ("bps", "number_of_", "_statistics_")
# QuickTime numbers its languages, and FFmpeg knows each by one of its two codes of ISO 639-2 alone (Swedish by neither).
_MOV_LANGUAGES = {
    "bod": "tib", "cym": "wel", "cze": "ces", "deu": "ger", "ell": "gre", "eus": "baq", "fas": "per", "fre": "fra",
    "hye": "arm", "isl": "ice", "kat": "geo", "mkd": "mac", "msa": "may", "mya": "bur", "nld": "dut", "rum": "ron",
    "slo": "slk", "sqi": "alb", "swe": "sve", "zho": "chi",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AssembleReport:
    """What was written: ``expected`` is what ``check`` must find, ``damaged`` counts source packets left out."""

    frames: int
    iraps: int
    damaged: int
    notes: tuple[str, ...]
    expected: Expected


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if k.lower() not in _STALE and not k.lower().startswith(_STALE_PREFIXES)}


def assemble(
    chunks: Sequence[Path],
    source: Path,
    dst: Path,
    *,
    mastering: Mastering | None,
    light: ContentLight | None,
    container: str,
    video_stream_index: int,
    clock: Clock = STEADY,
) -> AssembleReport:
    """Joins chunk files and all else that the source holds into ``dst``, a temporary name of the caller's.

    ``mastering`` and ``light`` are None for chunks of SDR. ``clock`` is the source's, by which the chunks' times were moved.

    Times stay those of the source, moved by the clock. Matroska cannot show a frame before 0: there, if the picture starts
    before, all is moved later by the same whole number of milliseconds, and a note says so. Raises InputError and OutputError.
    """
    picture = Picture(chunks, container, mastering, light)
    with open_source(source) as file:
        plan = plan_open(file, source, container, picture.settings.codec, video_stream_index)
        writer = _Writer(file, dst, container, plan, picture, clock)
        try:
            with _told(dst, source, container):
                notes = writer.write(source, video_stream_index)
                with dst.open("rb") as written:
                    os.fsync(written.fileno())
        except BaseException:
            dst.unlink(missing_ok=True)
            raise
    settings, timeline = picture.settings, picture.timeline
    expected = Expected(
        container=container,
        codec=settings.codec,
        width=settings.width,
        height=settings.height,
        sample_aspect_ratio=settings.sample_aspect_ratio,
        time_base=settings.time_base,
        pts=timeline.source_pts,
        iraps=timeline.iraps,
        mastering=mastering,
        light=light,
        audio=tuple(tally.facts() for tally in writer.tallies.values()),
        shift=timeline.shift,
        step=timeline.step if container == "mkv" else None,
    )
    return AssembleReport(len(timeline.source_pts), timeline.iraps, writer.damaged, (*plan.notes, *notes), expected)


@contextmanager
def _told(dst: Path, source: Path, container: str) -> Iterator[None]:
    """Turns what goes wrong in writing into a message for people."""
    try:
        yield
    except OSError as error:
        raise cannot_write(dst, error) from error
    except av.error.FFmpegError as error:
        raise OutputError(
            f"{dst} cannot be written: the {container.upper()} writer refuses a stream of {source} ({error.strerror});"
            " write another container, and please report this."
        ) from error


class _Writer:
    """One output file being written."""

    def __init__(
        self,
        file: InputContainer,
        dst: Path,
        container: str,
        plan: StreamPlan,
        picture: Picture,
        clock: Clock,
    ) -> None:
        self._file, self._dst, self._container, self._plan, self._picture = file, dst, container, plan, picture
        self._clock = clock
        self._copies: dict[int, Stream] = {}
        self._converters: dict[int, TextConverter] = {}
        self._ends: dict[int, tuple[int, int]] = {}  # dts and end of each stream's last packet
        self._languages: dict[int, str] = {}  # of the streams written
        self.tallies: dict[int, AudioTally] = {}  # by index in the file written
        self.damaged = 0
        self._broken = False
        if container == "mkv":
            self._move_to_zero()

    def _move_to_zero(self) -> None:
        low = self._picture.timeline.first()
        for index in self._plan.copied:
            stream = self._file.streams[index]
            if stream.start_time is not None and stream.time_base:
                low = min(low, stream.start_time * stream.time_base + self._clock.moved + _REACH)
        self._picture.timeline.shift = Fraction(max(0, math.ceil(-low * 1000)), 1000)

    def _options(self) -> dict[str, str]:
        # The muxers must not move anything by themselves: MP4 says it with edit lists, Matroska has signed block times.
        # Bit exact means no random identifiers: the same chunks give the same file.
        options = {"avoid_negative_ts": "disabled", "fflags": "+bitexact"}
        if self._container == "mkv":
            return {**options, "default_mode": "passthrough"}
        scale = self._picture.settings.time_base.denominator
        # Edit lists count in the movie's time scale, by default milliseconds: too coarse for a late start.
        rates = [s.codec_context.sample_rate for s in self._file.streams.audio if s.index in self._plan.copied]
        movie = math.lcm(scale, *rates)
        return {
            **options,
            "movflags": "+faststart",
            "video_track_timescale": str(scale),
            "movie_timescale": str(movie if movie < 2**31 else scale),
        }

    def write(self, source: Path, video_stream_index: int) -> tuple[str, ...]:
        """Writes the whole file; returns notes on what could not be kept."""
        file, plan = self._file, self._plan
        shift = self._picture.timeline.shift
        with av.open(
            str(self._dst.absolute()), "w", format=FORMATS[self._container], container_options=self._options()
        ) as out:
            out.metadata.update(_tags(file.metadata))
            for stream in file.streams:
                if stream.index == video_stream_index:
                    target = self._picture.add_to(out, _tags(stream.metadata), stream.disposition)
                elif stream.index in plan.copied:
                    copy = out.add_stream_from_template(stream, opaque=True)
                    self._copies[stream.index] = copy
                    self._describe(copy, stream)
                    if stream.type == "audio":
                        self.tallies[copy.index] = AudioTally(stream)
                elif stream.index in plan.converted:
                    converter = TextConverter(cast(SubtitleStream, stream), out, self._container)
                    self._converters[stream.index] = converter
                    self._describe(converter.stream, stream)
                elif stream.index in plan.attachments:
                    kept = cast(AttachmentStream, stream)
                    name = kept.metadata.get("filename", f"attachment{kept.index}")
                    added = out.add_attachment(name, kept.mimetype or "application/octet-stream", kept.data)
                    added.metadata.update(_tags(kept.metadata))
            covers = [p for index in plan.pictures if (p := self._cover(source, index, out)) is not None]
            out.set_chapters([_moved(chapter, self._clock.moved + shift) for chapter in file.chapters()])
            out.mux(covers)
            self._interleave(out, target, file.streams[video_stream_index])
        if self._container == "mkv":
            complete_video_track(self._dst, self._picture.settings.sample_aspect_ratio)
        return self._afterwords()

    def _describe(self, target: Stream, source: Stream) -> None:
        target.metadata.update(_tags(source.metadata))
        target.disposition = source.disposition
        language = source.metadata.get("language", "und")
        if self._container == "mov":
            target.metadata["language"] = _MOV_LANGUAGES.get(language, language)
        self._languages[target.index] = target.metadata.get("language", "und")

    def _interleave(self, out: OutputContainer, target: VideoStream, source: Stream) -> None:
        """Feeds all packets in order of time, so that the muxer need not hold many back."""
        others = self._others(source)
        pending = next(others, None)
        for packet in self._picture.packets(target):
            now = cast(int, packet.dts) * self._picture.timeline.step
            while pending is not None and _when(pending) <= now:
                self._put(out, pending)
                pending = next(others, None)
            out.mux(packet)
        while pending is not None:
            self._put(out, pending)
            pending = next(others, None)

    def _put(self, out: OutputContainer, packet: "Packet[Stream]") -> None:
        """Muxes a packet of the source; one so damaged that the muxer cannot read it is left out."""
        try:
            out.mux(packet)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            self.damaged += 1
        else:
            if packet.stream_index in self.tallies:
                self.tallies[packet.stream_index].add(bytes(packet))

    def _others(self, picture: Stream) -> "Iterator[Packet[Stream]]":
        """The packets of all streams but the picture, ready to be muxed."""
        wanted = [self._file.streams[index] for index in (*self._copies, *self._converters)]
        shift = self._picture.timeline.shift
        for packet in self._read(picture, wanted):
            index = packet.stream_index
            if index in self._converters:
                try:
                    yield from self._converters[index].convert(cast("Packet[SubtitleStream]", packet), shift)
                except av.error.FFmpegError:
                    self.damaged += 1
                continue
            self._retime(packet, shift)
            packet.stream = self._copies[index]
            yield packet
        for converter in self._converters.values():
            yield from converter.flush()

    def _read(self, picture: Stream, wanted: list[Stream]) -> "Iterator[Packet[Stream]]":
        if not wanted:
            return
        packets = self._clock.demuxed(self._file, picture, wanted)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                self._broken = True  # a source cut short: what was read is kept
                return
            if packet is None:
                return
            if packet.is_corrupt:
                self.damaged += 1
            elif packet.size:
                yield packet

    def _retime(self, packet: "Packet[Stream]", shift: Fraction) -> None:
        """Gives a packet of the source times that every muxer takes: known, shifted, never going back."""
        index = packet.stream_index
        moved = round(shift / packet.time_base)
        last, end = self._ends.get(index, (None, 0))
        dts = packet.dts if packet.dts is not None else packet.pts
        dts = end if dts is None else dts + moved
        if last is not None:
            dts = max(
                dts, last + 1 if packet.stream.type == "audio" else last
            )  # cues may start together, sound may not
        packet.pts = dts if packet.pts is None else max(dts, packet.pts + moved)
        packet.dts = dts
        self._ends[index] = dts, dts + (packet.duration or 0)

    def _cover(self, source: Path, index: int, out: OutputContainer) -> "Packet[Stream] | None":
        """Adds a cover picture: to Matroska as an attachment, to MP4 as a stream, whose only packet is returned."""
        with open_source(source) as file:
            stream = file.streams[index]
            packet = next((p for p in file.demux(stream) if p.size), None)
            if packet is None:
                return None
            if self._container == "mkv":
                mimetype, suffix = IMAGES[stream.codec_context.codec.canonical_name]
                name = stream.metadata.get("filename", f"cover.{suffix}")
                out.add_attachment(name, mimetype, bytes(packet))
                return None
            copy = out.add_stream_from_template(stream, opaque=True)
            self._describe(copy, stream)
            packet.stream = copy
            packet.pts = packet.dts = 0
            return packet

    def _afterwords(self) -> tuple[str, ...]:
        """Notes on what only shows once the file is written."""
        notes = []
        shift = self._picture.timeline.shift
        if shift:
            notes.append(f"all times moved {float(shift):g} s later: Matroska cannot show a picture before 0")
        if self.damaged:
            notes.append(f"{self.damaged} damaged packets of sound or subtitles left out")
        if self._broken:
            notes.append("the source cannot be read to its end: sound and subtitles were copied as far as it goes")
        with av.open(str(self._dst.absolute())) as written:
            held = {key.lower() for key in written.metadata}
            spoken = {stream.index: stream.metadata.get("language", "und") for stream in written.streams}
        lost = [key for key in _tags(self._file.metadata) if key.lower() not in held]
        if lost:
            notes.append(f"tags left out: {self._container.upper()} cannot hold {', '.join(sorted(lost))}")
        for index, language in self._languages.items():
            if spoken.get(index) != language:
                notes.append(
                    f"language {language} of stream {index} left out: {self._container.upper()} has no number for it"
                )
        return tuple(notes)


def _when(packet: "Packet[Stream]") -> Fraction:
    return cast(int, packet.dts) * packet.time_base


def _moved(chapter: "Chapter", shift: Fraction) -> "Chapter":
    moved = round(shift / (chapter["time_base"] or Fraction(1)))
    return {**chapter, "start": max(0, chapter["start"] + moved), "end": max(0, chapter["end"] + moved)}
