"""Reads a finished file back and checks that it is complete and states the measured facts."""

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn, cast

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.stream import VideoStream

from sdr2hdr.codecs import CODECS
from sdr2hdr.color.yuv import PIXEL_FORMATS, YuvLayout
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.bitstreams import decoded_format, sample_entry
from sdr2hdr.media.boxes import mp4_hdr
from sdr2hdr.media.cues import CueFacts, CueTally
from sdr2hdr.media.dovi import describe_record
from sdr2hdr.media.dynamic import NO_DYNAMIC, Dynamic, message_reader, rpu_reader
from sdr2hdr.media.hdr10 import (
    OBU_LIGHT,
    OBU_MASTERING,
    SEI_LIGHT,
    SEI_MASTERING,
    ContainerHdr,
    ContentLight,
    Mastering,
    av1_metadata,
    describe_av1_mastering,
    describe_light,
    describe_mastering,
    hevc_metadata,
    is_irap,
    nal_splitter,
    sequence_headers,
)
from sdr2hdr.media.hdr10plus import describe_message
from sdr2hdr.media.heard import AudioFacts, AudioTally, decoded
from sdr2hdr.media.matroska import MAGIC, matroska_hdr

_PROBE_IRAPS = 4  # enough of them to tell what a file carries


@dataclass(frozen=True, slots=True)
class Expected:
    """What a finished file must turn out to be.

    ``pts`` in display order, in ``time_base``, to which the file adds ``shift`` seconds; ``step`` is the file's own time
    step where it is coarser than ``time_base`` (Matroska), else None; ``iraps`` counts random access points. ``colour``:
    primaries, transfer and matrix (H.273), and whether the range is full. ``mastering`` and ``light`` are None if the file is
    to have none. ``dynamic`` is by the times of ``pts``; ``dolby`` is the
    record of Dolby Vision.
    """

    container: str
    codec: str
    width: int
    height: int
    sample_aspect_ratio: Fraction
    colour: tuple[int, int, int, bool]
    pix_fmt: str
    time_base: Fraction
    pts: Sequence[int]
    iraps: int
    mastering: Mastering | None
    light: ContentLight | None
    audio: tuple[AudioFacts, ...]
    subtitles: tuple[CueFacts, ...] = ()
    shift: Fraction = Fraction(0)
    step: Fraction | None = None
    dynamic: Dynamic = NO_DYNAMIC
    dolby: bytes | None = None

    @property
    def layout(self) -> YuvLayout:
        return PIXEL_FORMATS[self.pix_fmt]


def metadata_reader(
    stream: VideoStream,
) -> Callable[[bytes], tuple[bool, bytes | None, bytes | None]] | None:
    """How to read (IRAP?, mastering payload, light payload) off this stream's packets; None for other codecs."""
    codec = stream.codec_context.codec.canonical_name
    if codec == "hevc":
        split = nal_splitter(stream.codec_context.extradata or b"")

        def read_hevc(data: bytes) -> tuple[bool, bytes | None, bytes | None]:
            nals = split(data)
            found = hevc_metadata(nals)
            return is_irap(nals), found.get(SEI_MASTERING), found.get(SEI_LIGHT)

        return read_hevc
    if codec == "av1":

        def read_av1(data: bytes) -> tuple[bool, bytes | None, bytes | None]:
            found = av1_metadata(data)
            return bool(sequence_headers(data)), found.get(OBU_MASTERING), found.get(OBU_LIGHT)

        return read_av1
    return None


def read_hdr10(path: Path) -> dict[str, Any]:
    """What HDR metadata a file carries and where, for people and for JSON.

    Keys: ``codec``, ``colour`` (primaries, transfer, matrix: numbers of H.273), ``container`` and ``bitstream``, the last
    two with ``mastering`` and ``light`` or None. The container also has ``dolby_vision``, its record, and the bitstream
    ``hdr10plus``, that of the first picture, or None. Looks at the first few random access points. Raises InputError.
    """
    try:
        with av.open(str(path.absolute()), metadata_errors="replace") as file:
            if not file.streams.video:
                raise InputError(f"{path} has no picture; give a video file.")
            stream = file.streams.video[0]
            context = stream.codec_context
            result: dict[str, Any] = {
                "codec": context.codec.canonical_name,
                "colour": [context.color_primaries, context.color_trc, context.colorspace],
                "bitstream": _bitstream_facts(file, stream),
            }
        try:
            with path.open("rb") as raw:
                is_matroska = raw.read(4) == MAGIC
            found = matroska_hdr(path) if is_matroska else mp4_hdr(path)
        except (struct.error, EOFError):
            found = ContainerHdr()  # damaged headers say nothing
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path} cannot be read as video ({error}); check the file.") from error
    result["container"] = {
        "mastering": describe_mastering(found.mastering)
        if found.mastering and len(found.mastering) == 24
        else None,
        "light": describe_light(found.light) if found.light and len(found.light) == 4 else None,
        "dolby_vision": describe_record(found.dolby),
    }
    return result


def _bitstream_facts(file: InputContainer, stream: VideoStream) -> dict[str, Any]:
    facts: dict[str, Any] = {"mastering": None, "light": None, "hdr10plus": None}
    reader = metadata_reader(stream)
    if reader is None:
        return facts
    describe = (
        describe_mastering
        if stream.codec_context.codec.canonical_name == "hevc"
        else describe_av1_mastering
    )
    message_of = message_reader(stream)
    iraps = 0
    for number, packet in enumerate(file.demux(stream)):
        if number == 0 and message_of is not None:
            facts["hdr10plus"] = describe_message(message_of(bytes(packet)))
        irap, mastering, light = reader(bytes(packet))
        if mastering and len(mastering) == 24:
            facts["mastering"] = describe(mastering)
        if light and len(light) == 4:
            facts["light"] = describe_light(light)
        iraps += irap
        if iraps == _PROBE_IRAPS or (facts["mastering"] and facts["light"]):
            break
    return facts


class StreamsDiffer(OutputError):
    """The picture is as expected, but other streams are not: what differs, by number among the streams of their kind."""

    def __init__(self, path: Path, sounds: dict[int, str], subtitles: dict[int, str]) -> None:
        self.sounds, self.subtitles = sounds, subtitles
        named = [f"sound stream {number} {why}" for number, why in sounds.items()]
        named += [f"subtitle stream {number} {why}" for number, why in subtitles.items()]
        super().__init__(_failed(path, named[0]))


def _failed(path: Path, what: str) -> str:
    return f"The finished file {path} fails its check: {what}; it was not put in place, please report this."


class _Check:
    """One file against what is expected of it; every method raises OutputError at the first difference."""

    def __init__(self, path: Path, expected: Expected) -> None:
        self.path, self.expected = path, expected

    def fail(self, what: str) -> NoReturn:
        raise OutputError(_failed(self.path, what))

    def equal(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.fail(f"{what} is {found}, not {wanted}")

    def run(self) -> None:
        name = str(self.path.absolute())
        with av.open(name) as file:
            stream = file.streams.video[0]
            self.stream(stream)
            last_key = self.packets(file, stream)
            self.decodes(file, stream, last_key)
        self.container()
        with av.open(name) as file:
            self.others(file)

    def beside(self) -> None:
        """A file without the picture."""
        with av.open(str(self.path.absolute())) as file:
            covers = [s for s in file.streams.video if s.disposition & Disposition.attached_pic]
            self.equal("the number of pictures", len(file.streams.video) - len(covers), 0)
            self.others(file)

    def stream(self, stream: VideoStream) -> None:
        wanted, context = self.expected, stream.codec_context
        self.equal("the codec", context.codec.canonical_name, CODECS[wanted.codec].ffmpeg)
        self.equal("the size", (context.width, context.height), (wanted.width, wanted.height))
        ratio = (stream.sample_aspect_ratio or Fraction(1)) / wanted.sample_aspect_ratio
        if abs(ratio - 1) > (
            Fraction(1, 100) if wanted.container == "mkv" else 0
        ):  # Matroska has whole pixels
            self.equal(
                "the sample aspect ratio", stream.sample_aspect_ratio, wanted.sample_aspect_ratio
            )
        tags = (
            context.color_primaries,
            context.color_trc,
            context.colorspace,
            context.color_range == 2,
        )
        self.equal("the colour signalling", tags, wanted.colour)
        if wanted.container != "mkv":
            self.equal(
                "the sample entry", context.codec_tag, sample_entry(wanted.codec, wanted.pix_fmt)
            )

    def packets(self, file: InputContainer, stream: VideoStream) -> int:
        """Checks every packet of the picture; returns the pts of the last random access point."""
        wanted = self.expected
        mastering = light = None
        if wanted.mastering and wanted.light and CODECS[wanted.codec].holds_messages:
            mastering = (
                wanted.mastering.payload()
                if wanted.codec == "hevc"
                else wanted.mastering.av1_payload()
            )
            light = wanted.light.payload()
        reader = metadata_reader(stream) or (lambda _: (True, None, None))  # every picture alone
        message_of = message_reader(stream) if wanted.dynamic.messages else None
        rpu_of = rpu_reader(stream) if wanted.dynamic.rpus else None
        messages: dict[int, bytes | None] = {}
        rpus: dict[int, bytes | None] = {}
        pts: array[int] = array("q")
        iraps = last_key = 0
        for packet in file.demux(stream):
            if not packet.size or packet.pts is None:
                continue
            irap, found_mastering, found_light = reader(bytes(packet))
            number = len(pts)
            if irap or number == 0:
                self.equal(f"the mastering display of packet {number}", found_mastering, mastering)
                self.equal(f"the content light of packet {number}", found_light, light)
                iraps += 1
                last_key = packet.pts
            pts.append(packet.pts)
            if message_of is not None:
                messages[packet.pts] = message_of(bytes(packet))
            if rpu_of is not None:
                rpus[packet.pts] = rpu_of(bytes(packet))
        self.equal("the number of frames", len(pts), len(wanted.pts))
        self.equal("the number of random access points", iraps, wanted.iraps)
        unit = cast(Fraction, stream.time_base)
        for number, (found, asked) in enumerate(zip(sorted(pts), wanted.pts, strict=True)):
            difference = found * unit - (asked * wanted.time_base + wanted.shift)
            if abs(difference) > (wanted.step or 0) / 2:
                self.equal(
                    f"the time of frame {number}",
                    f"off by {float(difference):.6f} s",
                    "as in the source",
                )
            if message_of is not None and messages[found] != wanted.dynamic.messages[asked]:
                self.fail(f"the HDR10+ of frame {number} is not the one of its scene")
            if rpu_of is not None and rpus[found] != wanted.dynamic.rpus[asked]:
                self.fail(f"the Dolby Vision metadata of frame {number} are not its own")
        return last_key

    def decodes(self, file: InputContainer, stream: VideoStream, last_key: int) -> None:
        """The first frame and the last one decode, and the first shows the metadata to whoever decodes it."""
        wanted = self.expected
        file.seek(0)
        first = next(self.frames(file, stream), None)
        if first is None:
            raise OutputError(
                f"The finished file {self.path} fails its check: it does not decode; please report this."
            )
        self.equal(
            "the pixel format", first.format.name, decoded_format(wanted.codec, wanted.pix_fmt)
        )
        kinds = {side.type.name for side in cast("Iterable[SideData]", first.side_data)}
        for kind in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"):
            self.equal(
                f"{kind} of the first decoded frame",
                kind in kinds,
                self.expected.mastering is not None,
            )
        file.seek(last_key, stream=stream)
        last = max(
            (frame.pts for frame in self.frames(file, stream) if frame.pts is not None),
            default=None,
        )
        unit = cast(Fraction, stream.time_base)
        asked = self.expected.pts[-1] * self.expected.time_base + self.expected.shift
        if last is None or abs(last * unit - asked) > (self.expected.step or 0) / 2:
            self.equal("the last frame that decodes", last, "the source's last")

    @staticmethod
    def frames(file: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        yield from file.decode(stream)

    def others(self, file: InputContainer) -> None:
        """Sounds and subtitles: their bytes, and when they are heard and seen."""
        wanted = self.expected
        self.equal("the number of sound streams", len(file.streams.audio), len(wanted.audio))
        self.equal(
            "the number of subtitle streams", len(file.streams.subtitles), len(wanted.subtitles)
        )
        sounds = {stream.index: AudioTally.of(stream) for stream in file.streams.audio}
        texts = {stream.index: CueTally.of(stream) for stream in file.streams.subtitles}
        for packet in (
            file.demux(*file.streams.audio, *file.streams.subtitles) if sounds or texts else ()
        ):
            if not packet.size:
                continue
            if packet.stream_index in sounds:
                sound = sounds[packet.stream_index]
                sound.add(bytes(packet))
                sound.hear(decoded(cast(AudioStream, packet.stream).codec_context, packet))
            elif packet.pts is not None:
                time = packet.pts * packet.time_base
                texts[packet.stream_index].add(
                    bytes(packet), time, time + (packet.duration or 0) * packet.time_base
                )
        for stream in file.streams.audio:
            sounds[stream.index].hear(decoded(stream.codec_context, None))
        hides = wanted.container == "mkv"
        heard = [
            a.difference(s.facts(), hides_padding=hides)
            for a, s in zip(wanted.audio, sounds.values(), strict=True)
        ]
        seen = [
            a.difference(s.facts()) for a, s in zip(wanted.subtitles, texts.values(), strict=True)
        ]
        if any(heard) or any(seen):
            raise StreamsDiffer(
                self.path,
                *({n: why for n, why in enumerate(all_) if why} for all_ in (heard, seen)),
            )

    def container(self) -> None:
        wanted = self.expected
        found = matroska_hdr(self.path) if wanted.container == "mkv" else mp4_hdr(self.path)
        mastering = wanted.mastering.payload() if wanted.mastering else None
        self.equal("the container's mastering display", found.mastering, mastering)
        self.equal(
            "the container's content light",
            found.light,
            wanted.light.payload() if wanted.light else None,
        )
        self.equal("the container's colour", found.colour, wanted.colour)
        self.equal("the container's Dolby Vision", found.dolby, wanted.dolby)
        if wanted.container == "mkv":
            is_420 = wanted.layout.sub == (1, 1)
            self.equal("the container's chroma siting", found.siting, (1, 1) if is_420 else None)
            self.equal("the container's bit depth", found.bits, wanted.layout.depth)


def check(path: Path, expected: Expected, *, with_picture: bool = True) -> None:
    """Reads the whole file back and raises OutputError if anything differs from what is expected.

    It is StreamsDiffer if sounds or subtitles alone do. Without the picture (``with_picture``) the file must hold none.
    """
    try:
        one = _Check(path, expected)
        if with_picture:
            one.run()
        else:
            one.beside()
    except (av.error.FFmpegError, OSError, struct.error, EOFError, IndexError) as error:
        raise OutputError(
            f"The finished file {path} fails its check: it cannot be read ({error})."
        ) from error
