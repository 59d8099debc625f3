"""Assembles the finished file: the chunks' packets with the true metadata, and the other streams of the source.

``carriers`` carries the streams other than the picture.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import av.error
from av import Packet
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.video.stream import VideoStream

from sdr2hdr.codecs import CODECS
from sdr2hdr.errors import OutputError
from sdr2hdr.media.captions import captions_of
from sdr2hdr.media.carriers import Carrier, SoundCopy, carrier
from sdr2hdr.media.check import Expected
from sdr2hdr.media.clock import STEADY, Clock, clock_time
from sdr2hdr.media.cues import CueTally
from sdr2hdr.media.dynamic import NO_DYNAMIC, Dynamic
from sdr2hdr.media.edits import disable_subtitles, hide_start
from sdr2hdr.media.encoder import cannot_write
from sdr2hdr.media.fate import ATTACHED, CONVERTED, COPIED, COVER, FORMATS, UNWRAPPED
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.headers import NO_HEADERS, Headers
from sdr2hdr.media.heard import AudioTally
from sdr2hdr.media.joined import JoinedPicture
from sdr2hdr.media.kept_headers import (
    append_chapters,
    keep_tracks,
    moved_chapters,
    not_kept,
    with_room,
)
from sdr2hdr.media.latm import LatmError
from sdr2hdr.media.matroska import ROOM, complete_tracks
from sdr2hdr.media.opening import IMAGES
from sdr2hdr.media.sound_track import ACM
from sdr2hdr.media.stream_plan import StreamPlan, open_to_copy
from sdr2hdr.text import counted
from sdr2hdr.writing import flush

if TYPE_CHECKING:
    from av.container.core import Chapter  # a name of the stubs alone

# Tags that tell of the old container or the old picture, not of the work.
_TELLING = (
    Disposition.forced
    | Disposition.original
    | Disposition.comment
    | Disposition.dub
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
)
"""Flags that a person chooses a stream by."""

_STALE = (
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "vendor_id",
    "duration",
    "rotate",
)
_STALE_PREFIXES = ("bps", "number_of_", "_statistics_")
# QuickTime numbers its languages, and FFmpeg knows each by one of its two codes of ISO 639-2 alone (Swedish by neither).
_MOV_LANGUAGES = {
    "bod": "tib", "cym": "wel", "cze": "ces", "deu": "ger", "ell": "gre", "eus": "baq", "fas": "per", "fre": "fra",
    "hye": "arm", "isl": "ice", "kat": "geo", "mkd": "mac", "msa": "may", "mya": "bur", "nld": "dut", "rum": "ron",
    "slo": "slk", "sqi": "alb", "swe": "sve", "zho": "chi",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AssembleReport:
    """What was written: ``expected`` is what ``check`` must find, ``damaged`` counts source packets left out.

    ``sounds`` and ``subtitles`` are the source's indexes of those streams, in the order written. ``unheard`` says, by the same
    indexes, which sounds stop decoding.
    """

    frames: int
    iraps: int
    damaged: int
    notes: tuple[str, ...]
    expected: Expected
    sounds: tuple[int, ...]
    subtitles: tuple[int, ...]
    unheard: Mapping[int, str]


class SoundRefused(OutputError):
    """The writer refuses the file because of sound that does not decode to its end: ``reasons`` by index in the source."""

    def __init__(self, reasons: Mapping[int, str], error: BaseException) -> None:
        self.reasons = reasons
        super().__init__(str(error))


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    return {
        k: v
        for k, v in metadata.items()
        if k.lower() not in _STALE and not k.lower().startswith(_STALE_PREFIXES)
    }


def assemble(
    chunks: Sequence[Path],
    source: Path,
    dst: Path,
    plan: StreamPlan,
    *,
    mastering: Mastering | None,
    light: ContentLight | None,
    clock: Clock = STEADY,
    headers: Headers = NO_HEADERS,
    dynamic: Dynamic = NO_DYNAMIC,
    with_picture: bool = True,
) -> AssembleReport:
    """Joins chunk files and all else that ``plan`` keeps of the source into ``dst``, a temporary name of the caller's.

    Without the picture (``with_picture``) all else is written at the same times.
    ``mastering`` and ``light`` are None for chunks of SDR; ``dynamic`` is by the times of the chunks. Of the
    source's ``headers`` what the container can hold is kept.

    Times stay those of the source, moved by its ``clock`` as the chunks' times were. Where a picture or a sound starts
    before 0, all is moved later by the same whole number of the file's time steps, and a note says so: no player shows what lies
    there. Raises InputError and OutputError.
    """
    container = plan.container
    with open_to_copy(source) as file:
        captions = captions_of(file, plan.video_stream_index, clock)
    picture = JoinedPicture(chunks, container, mastering, light, captions, dynamic)
    with open_to_copy(source) as file:
        writer = _Writer(file, dst, plan, picture, clock, headers, with_picture)
        try:
            with _told(dst, source, container):
                notes = writer.write(source)
                flush(dst)
        except BaseException as error:
            dst.unlink(missing_ok=True)
            reasons = writer.unheard(refused=True)
            is_refused = isinstance(error, OutputError) and not isinstance(error.__cause__, OSError)
            if is_refused and reasons:
                raise SoundRefused(reasons, error) from error
            raise
    settings, timeline = picture.settings, picture.timeline
    tallies = {index: each.tally for index, each in writer.carriers.items()}
    sounds = {
        index: tally.facts() for index, tally in tallies.items() if isinstance(tally, AudioTally)
    }
    subtitles = {
        index: tally.facts() for index, tally in tallies.items() if isinstance(tally, CueTally)
    }
    expected = Expected(
        container=container,
        codec=settings.codec,
        width=settings.width,
        height=settings.height,
        sample_aspect_ratio=settings.sample_aspect_ratio,
        colour=(*settings.colour, settings.layout.full_range),
        pix_fmt=settings.pix_fmt,
        time_base=settings.time_base,
        pts=timeline.source_pts,
        iraps=timeline.iraps,
        mastering=mastering,
        light=light,
        audio=tuple(sounds.values()),
        subtitles=tuple(subtitles.values()),
        shift=timeline.shift,
        step=timeline.step if container == "mkv" else None,
        dynamic=dynamic,
        dolby=picture.dolby.payload() if picture.dolby else None,
    )
    return AssembleReport(
        frames=len(timeline.source_pts),
        iraps=timeline.iraps,
        damaged=writer.damaged,
        notes=(*plan.notes, *notes),
        expected=expected,
        sounds=tuple(sounds),
        subtitles=tuple(subtitles),
        unheard=writer.unheard(),
    )


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
        plan: StreamPlan,
        picture: JoinedPicture,
        clock: Clock,
        headers: Headers,
        with_picture: bool,
    ) -> None:
        self._with_picture = with_picture
        self._file, self._dst, self._plan, self._picture = file, dst, plan, picture
        self._container, self._clock, self._headers = plan.container, clock, headers
        self._tracks: list[int] = []  # by index in the source, in the order written
        self._whole_chapters = plan.container == "mkv" and not headers.chapters.are_plain
        self.carriers: dict[int, Carrier] = {}  # by index in the source, in the order written
        self._languages: dict[int, str] = {}  # of the streams written
        # by index in the file written: the index in the source, and the flags there
        self._flags: dict[int, tuple[int, Disposition]] = {}
        self._named = {fate.index: fate.name for fate in plan.fates}
        self.damaged = 0
        self._broken = False
        self._chapter_notes: list[str] = []
        self._move_to_zero()

    def _move_to_zero(self) -> None:
        starts = [
            fate.start.heard + self._clock.moved
            for fate in self._plan.fates
            if fate.start is not None
        ]
        timeline = self._picture.timeline
        low = min([timeline.first(), *starts])
        # In whole steps of the file's own, so that no picture is moved by a part of one.
        timeline.shift = max(0, math.ceil(-low / timeline.step)) * timeline.step

    def _options(self) -> dict[str, str]:
        # The muxers must not move anything by themselves: MP4 says it with edit lists, Matroska with a codec's delay.
        # Bit exact means no random identifiers: the same chunks give the same file.
        options = {"avoid_negative_ts": "disabled", "fflags": "+bitexact"}
        if self._picture.dolby:
            options["strict"] = "unofficial"  # or the muxers leave its record out
        if self._container == "mkv":
            return {**options, "default_mode": "passthrough"}
        scale = self._picture.settings.time_base.denominator
        # Edit lists count in the movie's time scale, by default milliseconds: too coarse for a late start.
        kept = (COPIED, UNWRAPPED, CONVERTED)
        sounds = [
            self._file.streams[fate.index]
            for fate in self._plan.fates
            if fate.start and fate.how in kept
        ]
        movie = math.lcm(
            scale, *(cast(AudioStream, stream).codec_context.sample_rate for stream in sounds)
        )
        return {
            **options,
            "movflags": "+faststart",
            "video_track_timescale": str(scale),
            "movie_timescale": str(movie if movie < 2**31 else scale),
        }

    def write(self, source: Path) -> tuple[str, ...]:
        """Writes the whole file; returns notes on what could not be kept."""
        file, plan = self._file, self._plan
        shift, end = self._picture.timeline.shift, self._picture.timeline.end()
        fates = {fate.index: fate for fate in plan.fates}
        target: VideoStream | None = None
        with av.open(
            str(self._dst.absolute()),
            "w",
            format=FORMATS[self._container],
            container_options=self._options(),
        ) as out:
            out.metadata.update(_tags(file.metadata))
            for stream in file.streams:
                fate = fates.get(stream.index)
                if stream.index == plan.video_stream_index:
                    if not self._with_picture:
                        continue
                    tags = _tags(stream.metadata)
                    if self._headers.turned:
                        tags.pop("stereo_mode", None)
                    target = self._picture.add_to(out, tags, stream.disposition)
                    self._make_room(target, stream, is_picture=True)
                elif fate is not None and fate.how in (COPIED, UNWRAPPED, CONVERTED):
                    made = carrier(
                        stream, out, self._container, fate, self._clock.moved, shift, end
                    )
                    self.carriers[stream.index] = made
                    self._describe(made.stream, stream)
                    self._make_room(made.stream, stream)
                elif fate is not None and fate.how == ATTACHED:
                    kept = cast(AttachmentStream, stream)
                    name = kept.metadata.get("filename", f"attachment{kept.index}")
                    added = out.add_attachment(
                        name, kept.mimetype or "application/octet-stream", kept.data
                    )
                    added.metadata.update(_tags(kept.metadata))
            covers = [
                self._cover(source, fate.index, out) for fate in plan.fates if fate.how == COVER
            ]
            if self._container == "mkv" and not self._whole_chapters:
                out.set_chapters(self._chapters())
            out.start_encoding()
            out.mux([packet for packet in covers if packet is not None])
            self._interleave(out, target, file.streams[plan.video_stream_index])
            if self._container != "mkv":  # now the film's end is known
                out.set_chapters(self._titled(self._within(self._chapters())))
        self._complete()
        return self._afterwords()

    def _complete(self) -> None:
        """Adds what the muxers leave out."""
        if self._container == "mkv":
            acm = {fate.form.wave: ACM for fate in self._plan.fates if fate.form.wave}
            aspect = self._picture.settings.sample_aspect_ratio
            complete_tracks(self._dst, aspect, acm, self._picture.settings.layout)
            tags = self._headers.languages
            languages = {
                place: tags[index] for place, index in enumerate(self._tracks) if index in tags
            }
            if languages or self._headers.kept_video:
                keep_tracks(self._dst, self._headers.kept_video, aspect, languages)
            if self._whole_chapters:
                moved = self._clock.moved + self._picture.timeline.shift
                append_chapters(self._dst, moved_chapters(self._headers.chapters.raw, moved))
            return
        copies = [each for each in self.carriers.values() if isinstance(each, SoundCopy)]
        late = {
            copy.stream.index: Fraction(copy.late_hidden, copy.rate)
            for copy in copies
            if copy.late_hidden
        }
        if late:
            hide_start(self._dst, late)
        texts = [each.stream for each in self.carriers.values() if each.stream.type == "subtitle"]
        if texts and not any(self._flags[t.index][1] & Disposition.default for t in texts):
            disable_subtitles(self._dst)

    def _chapters(self) -> "list[Chapter]":
        """The chapters at the times of the file written, in order of time."""
        moved = self._clock.moved + self._picture.timeline.shift
        chapters, told = self._file.chapters(), self._headers.chapters
        if told.editions > 1 or not told.are_read:
            film_end = round((self._picture.timeline.end() - moved) * 10**9)
            chapters = [
                {
                    "id": number,
                    "start": start,
                    "end": max(start, film_end) if end is None else end,
                    "time_base": Fraction(1, 10**9),
                    "metadata": {"title": title},
                }
                for number, (start, end, title) in enumerate(told.listed)
            ]
        return sorted((_moved(chapter, moved) for chapter in chapters), key=_start)

    def _within(self, chapters: "list[Chapter]") -> "list[Chapter]":
        """The chapters that begin before the film ends, none ending after it: MP4 would be as long as its chapters.

        The film ends with its picture or with what is heard last.
        """
        tallies = [each.tally for each in self.carriers.values()]
        heard = [Fraction(t.facts().end) for t in tallies if isinstance(t, AudioTally)]
        film_end = max([self._picture.timeline.end(), *heard])
        within: list[Chapter] = [
            {**chapter, "end": min(chapter["end"], int(film_end / _step(chapter)))}
            for chapter in chapters
            if _start(chapter) < film_end
        ]
        if beyond := [
            f"{chapter['metadata'].get('title', '')} ({clock_time(_start(chapter))})".strip()
            for chapter in chapters[len(within) :]
        ]:
            self._chapter_notes.append(
                f"chapters left out, because the film ends at {clock_time(film_end)}: {', '.join(beyond)}"
            )
        if within and (begin := _start(within[0])) >= Fraction(1, 1000):
            kind = self._container.upper()
            self._chapter_notes.append(
                f"the first chapter begins at 0 instead of {clock_time(begin)}: chapters of {kind} leave no gap"
            )
        return within

    def _titled(self, chapters: "list[Chapter]") -> "list[Chapter]":
        """The chapters, of which those without a title have a number: players show no others, and FFmpeg writes only titles."""
        titled: list[Chapter] = []
        untitled = 0
        for number, chapter in enumerate(chapters, 1):
            tags = chapter["metadata"]
            if not tags.get("title"):
                tags = {**tags, "title": f"Chapter {number}"}
                untitled += 1
            titled.append({**chapter, "metadata": tags})
        if untitled:
            self._chapter_notes.append(
                f"chapters without a title ({untitled}) named by their number: {self._container.upper()} lists only titles"
            )
        return titled

    def _make_room(self, target: Stream, source: Stream, *, is_picture: bool = False) -> None:
        self._tracks.append(source.index)
        if self._container == "mkv":
            language = source.metadata.get("language", "und")
            target.metadata["language"] = with_room(
                language, self._headers, source.index, is_picture=is_picture, room=ROOM * is_picture
            )

    def _describe(self, target: Stream, source: Stream) -> None:
        target.metadata.update(_tags(source.metadata))
        target.disposition = source.disposition
        self._flags[target.index] = source.index, source.disposition
        language = source.metadata.get("language", "und")
        if self._container == "mov":
            target.metadata["language"] = _MOV_LANGUAGES.get(language, language)
        self._languages[target.index] = target.metadata.get("language", "und")

    def _interleave(self, out: OutputContainer, target: VideoStream | None, source: Stream) -> None:
        """Feeds all packets in order of time, so that the muxer need not hold many back."""
        others = self._others(source)
        pending = next(others, None)
        for packet in self._picture.packets(target) if target is not None else ():
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
        carried = self._by_target[packet.stream_index]
        try:
            out.mux(packet)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            self.damaged += 1
        else:
            carried.written()

    def _others(self, picture: Stream) -> "Iterator[Packet[Stream]]":
        """The packets of all streams but the picture, ready to be muxed."""
        self._by_target = {each.stream.index: each for each in self.carriers.values()}
        shift = self._picture.timeline.shift
        for packet in self._read(picture, [self._file.streams[index] for index in self.carriers]):
            try:
                yield from self.carriers[packet.stream_index].take(packet, shift)
            except (av.error.FFmpegError, LatmError):
                self.damaged += 1
        for each in self.carriers.values():
            yield from each.flush()

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

    def _cover(self, source: Path, index: int, out: OutputContainer) -> "Packet[Stream] | None":
        """Adds a cover picture: to Matroska as an attachment, to MP4 as a stream, whose only packet is returned."""
        with open_to_copy(source) as file:
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
            copy.metadata.update(_tags(stream.metadata))
            copy.disposition = Disposition.attached_pic  # and nothing else: MP4 asks for that
            packet.stream = copy
            packet.pts = packet.dts = 0
            return packet

    def unheard(self, *, refused: bool = False) -> dict[int, str]:
        """Sounds that stop decoding, by their index in the source, and what is to be done; if the writer has ``refused`` a
        packet, a single one counts."""
        tallies = {
            index: each.tally
            for index, each in self.carriers.items()
            if isinstance(each.tally, AudioTally)
        }
        since = {
            index: tally.silent_from if refused else tally.unheard_from
            for index, tally in tallies.items()
        }
        return {
            index: f"from {clock_time(when)} on it does not decode, as where a recording changes the codec of its sound; cut the"
            " film there and convert the parts"
            for index, when in since.items()
            if when is not None
        }

    def _afterwords(self) -> tuple[str, ...]:
        """Notes on what only shows once the file is written."""
        notes = list(not_kept(self._headers, self._container, with_picture=self._with_picture))
        count = len(self._picture.captions)
        if count or self._headers.captions:
            what = (
                f"carried over with {count} pictures" if count else "cannot be read, and left out"
            )
            codec = CODECS[self._picture.settings.codec]
            if not codec.holds_messages:
                what = f"left out: {codec.noun} has no room for them"
            notes.append(f"closed captions in the picture (CEA-608 or 708) {what}")
        shift = self._picture.timeline.shift
        if shift:
            notes.append(
                f"all times moved {float(shift):.6g} s later: players show nothing before 0"
            )
        if together := self._picture.timeline.together():
            notes.append(
                f"{counted(together, 'picture')} shown at the time of the one before: times in MKV are whole milliseconds,"
                " MP4 keeps them"
            )
        notes += self._chapter_notes
        notes += [f"{self._named[index]}: {words}" for index, words in self.unheard().items()]
        if self.damaged:
            notes.append(
                f"{counted(self.damaged, 'damaged packet')} of sound or subtitles left out"
            )
        if self._broken:
            notes.append(
                "the source cannot be read to its end: sound and subtitles were copied as far as it goes"
            )
        with av.open(str(self._dst.absolute())) as written:
            held = {key.lower() for key in written.metadata}
            flags = {stream.index: stream.disposition for stream in written.streams}
            spoken = {
                stream.index: stream.metadata.get("language", "und") for stream in written.streams
            }
        lost = [key for key in _tags(self._file.metadata) if key.lower() not in held]
        if lost:
            notes.append(
                f"tags left out: {self._container.upper()} cannot hold {', '.join(sorted(lost))}"
            )
        for index, (source, own) in self._flags.items():
            gone = own & ~flags.get(index, own) & _TELLING
            if gone:
                words = ", ".join(flag.name.replace("_", " ") for flag in gone if flag.name)
                notes.append(
                    f"{self._named[source]}: {self._container.upper()} cannot hold that it is {words}"
                )
        for index, language in self._languages.items():
            if spoken.get(index) != language:
                notes.append(
                    f"language {language} of stream {index} left out: {self._container.upper()} has no number for it"
                )
        return tuple(notes)


def _when(packet: "Packet[Stream]") -> Fraction:
    return cast(int, packet.dts) * packet.time_base


def _step(chapter: "Chapter") -> Fraction:
    return chapter["time_base"] or Fraction(1)


def _start(chapter: "Chapter") -> Fraction:
    return chapter["start"] * _step(chapter)


def _moved(chapter: "Chapter", shift: Fraction) -> "Chapter":
    moved = round(shift / _step(chapter))
    return {
        **chapter,
        "start": max(0, chapter["start"] + moved),
        "end": max(0, chapter["end"] + moved),
    }
