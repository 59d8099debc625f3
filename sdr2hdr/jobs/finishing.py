"""The end of a conversion: the fate of the source's other streams, assembly, and the check of the finished file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdr2hdr.codecs import CODECS, FOLDER, PQ
from sdr2hdr.color.light import LightFacts, whole
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.jobs.dovi import DoviTool
from sdr2hdr.jobs.dynamic import dynamic_metadata
from sdr2hdr.jobs.output import Output
from sdr2hdr.jobs.plan import Fingerprint, Plan
from sdr2hdr.jobs.progress import Progress, Watcher
from sdr2hdr.jobs.work import Work
from sdr2hdr.media.assemble import AssembleReport, SoundRefused, assemble
from sdr2hdr.media.check import StreamsDiffer, check
from sdr2hdr.media.dynamic import NO_DYNAMIC
from sdr2hdr.media.frames import left_behind, times_lost
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.joined import JoinedPicture
from sdr2hdr.media.pictures import SOUND, check_pictures, write_pictures
from sdr2hdr.media.source import Source
from sdr2hdr.media.stream_plan import StreamChoice, StreamPlan, plan_streams
from sdr2hdr.options import Options


def streams_for(source: Source, output: Output, options: Options) -> StreamPlan:
    """The fate of the source's other streams in an output, decided before anything is rendered."""
    o = options
    choice = StreamChoice(o.audio, o.audio_track, o.subtitle_track, o.no_audio, o.strict_streams)
    if output.container == FOLDER:
        return plan_streams(source.path, "mkv", None, source.info.stream, choice)
    return plan_streams(source.path, output.container, o.codec, source.info.stream, choice)


def finish(
    work: Work,
    plan: Plan,
    source: Source,
    streams: StreamPlan,
    scenes: Sequence[LightFacts] | None,
    progress: Watcher,
    dovi: DoviTool | None = None,
) -> tuple[str, ...]:
    """Assemble a file, or a folder of pictures, in the work folder and check it; returns sentences on what it lacks.

    ``scenes`` is the light of each scene; without it the file is that of the restored SDR picture. With ``dovi`` it has
    Dolby Vision.

    Sounds and subtitles that are not in it as the source has them, and subtitles without a line, are left out, and it is
    assembled anew, unless the plan of streams is strict. Any other file that fails its check is removed. The chunks are
    kept, for they take longest to make.
    Raises OutputError.
    """
    light = mastering = None
    if (
        scenes is not None and plan.settings.transfer == PQ
    ):  # HLG is relative and has no such metadata
        light = ContentLight(*whole(scenes).written(plan.settings.peak))
        mastering = Mastering("bt2020", float(plan.settings.peak))
    part = _Part(work, plan, source, progress, aux=scenes is None)
    if mastering and light and CODECS[plan.encode.codec].ending:
        return _pictures(part, streams, mastering, light)
    dynamic = NO_DYNAMIC if scenes is None else dynamic_metadata(plan, scenes, dovi)
    return _file(part, part.path, streams, mastering=mastering, light=light, dynamic=dynamic)


@dataclass(frozen=True)
class _Part:
    """One of the outputs of a conversion: the HDR picture, or the restored SDR picture (``aux``)."""

    work: Work
    plan: Plan
    source: Source
    progress: Watcher
    aux: bool

    @property
    def path(self) -> Path:
        """Where it is assembled."""
        return self.work.assembled_aux if self.aux else self.work.assembled

    @property
    def chunks(self) -> list[Path]:
        return [self.work.chunk(i, aux=self.aux) for i in range(len(self.plan.chunks))]

    def failed(self, error: OutputError) -> OutputError:
        """The error of an output that failed its check."""
        return OutputError(
            f"{error} It was removed; the rendered chunks are kept in {self.work.folder}, and the same command"
            " continues from there."
        )


def _file(
    part: _Part, path: Path, streams: StreamPlan, *, with_picture: bool = True, **metadata: Any
) -> tuple[str, ...]:
    """Assemble a file and check it, as :func:`finish` says; ``metadata`` are keywords of ``assemble``."""
    info = part.source.info
    while True:
        part.progress(Progress("assemble", 0, 1))
        try:
            assembled = assemble(
                part.chunks,
                part.source.path,
                path,
                streams,
                clock=info.clock,
                headers=info.headers,
                with_picture=with_picture,
                **metadata,
            )
        except SoundRefused as error:
            if streams.strict:
                raise
            streams = streams.without(error.reasons)
            continue
        empty = _empty(assembled)
        if empty and not streams.strict:
            streams = streams.without(empty)
            continue
        part.progress(Progress("check", 0, 1))
        # against the survey, not against the chunks
        expected = replace(assembled.expected, pts=part.plan.survey.pts)
        try:
            check(path, expected, with_picture=with_picture)
        except OutputError as error:
            path.unlink(missing_ok=True)
            if not isinstance(error, StreamsDiffer) or streams.strict:
                raise part.failed(error) from error
            streams = streams.without(_reasons(error, assembled, streams.container))
        else:
            return assembled.notes


def _pictures(
    part: _Part, streams: StreamPlan, mastering: Mastering, light: ContentLight
) -> tuple[str, ...]:
    """Write a folder of pictures and, if there is sound or text, a file of it beside them, and check both."""
    part.progress(Progress("assemble", 0, 1))
    folder = part.work.pictures
    joined = JoinedPicture(part.chunks, streams.container, mastering, light)
    written = write_pictures(joined, folder, mastering, light)
    notes = times_lost(part.source.info, part.plan.survey.pts)
    if streams.carries_time:
        made = _file(part, folder / SOUND, streams, with_picture=False, mastering=None, light=None)
        notes = (f"What the source has besides its picture is in {SOUND}.", *made, *notes)
    else:
        notes = (*streams.notes, *left_behind(part.source.path, part.source.info), *notes)
    try:
        check_pictures(folder, written)
    except OutputError as error:
        raise part.failed(error) from error
    return notes


def _empty(assembled: AssembleReport) -> Mapping[int, str]:
    """Subtitles that turned out to be empty, by their index in the source."""
    facts = zip(assembled.subtitles, assembled.expected.subtitles, strict=True)
    return {
        index: "nothing in it can be read" for index, subtitle in facts if subtitle.start is None
    }


def _reasons(error: StreamsDiffer, assembled: AssembleReport, container: str) -> Mapping[int, str]:
    """Why streams are left out, by their index in the source."""
    kinds = ((error.sounds, assembled.sounds), (error.subtitles, assembled.subtitles))
    return {
        indexes[number]: assembled.unheard.get(indexes[number])
        or f"read back from the {container.upper()} file, it {why}"
        for differing, indexes in kinds
        for number, why in differing.items()
    }


def check_unchanged(source: Source, plan: Plan) -> None:
    """Raise InputError if the source is no longer the file that was planned."""
    if Fingerprint.of(source.path) != plan.source:
        raise InputError(
            f"{source.path} changed during the conversion; run the same command again once it no longer changes."
        )
