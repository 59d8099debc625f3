"""The end of a conversion: the fate of the source's other streams, assembly, and the check of the finished file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sdr2hdr.codecs import PQ
from sdr2hdr.color.light import LightFacts, whole
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.jobs.dovi import DoviTool
from sdr2hdr.jobs.dynamic import dynamic_metadata
from sdr2hdr.jobs.output import Output
from sdr2hdr.jobs.plan import Fingerprint, Plan
from sdr2hdr.jobs.progress import Progress, Watcher
from sdr2hdr.jobs.work import Work
from sdr2hdr.media.assemble import AssembleReport, assemble
from sdr2hdr.media.check import StreamsDiffer, check
from sdr2hdr.media.dynamic import NO_DYNAMIC
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.source import Source
from sdr2hdr.media.stream_plan import StreamChoice, StreamPlan, plan_streams
from sdr2hdr.options import Options


def streams_for(source: Source, output: Output, options: Options) -> StreamPlan:
    """The fate of the source's other streams in an output, decided before anything is rendered."""
    o = options
    choice = StreamChoice(o.audio, o.audio_track, o.subtitle_track, o.no_audio, o.strict_streams)
    return plan_streams(source.path, output.container, o.codec, source.info.stream, choice)


def finish(
    work: Work,
    plan: Plan,
    source: Source,
    streams: StreamPlan,
    scenes: Sequence[LightFacts] | None,
    progress: Watcher,
    dovi: DoviTool | None = None,
) -> AssembleReport:
    """Assemble a file in the work folder and check it.

    ``scenes`` is the light of each scene; without it the file is that of the restored SDR picture. With ``dovi`` it has
    Dolby Vision.

    Sounds and subtitles that are not in it as the source has them, and subtitles without a line, are left out, and it is
    assembled anew, unless the plan of streams is strict. Any other file that fails its check is removed. The chunks are
    kept, for they take longest to make.
    Raises OutputError.
    """
    aux, peak = scenes is None, plan.settings.peak
    light = mastering = None
    if (
        scenes is not None and plan.settings.transfer == PQ
    ):  # HLG is relative and has no such metadata
        light = ContentLight(*whole(scenes).written(peak))
        mastering = Mastering("bt2020", float(peak))
    dynamic = NO_DYNAMIC if scenes is None else dynamic_metadata(plan, scenes, dovi)
    path = work.assembled_aux if aux else work.assembled
    while True:
        progress(Progress("assemble", 0, 1))
        assembled = assemble(
            [work.chunk(i, aux=aux) for i in range(len(plan.chunks))],
            source.path,
            path,
            streams,
            mastering=mastering,
            light=light,
            clock=source.info.clock,
            headers=source.info.headers,
            dynamic=dynamic,
        )
        empty = _empty(assembled)
        if empty and not streams.strict:
            streams = streams.without(empty)
            continue
        progress(Progress("check", 0, 1))
        try:
            check(
                path, replace(assembled.expected, pts=plan.survey.pts)
            )  # against the survey, not against the chunks
        except OutputError as error:
            path.unlink(missing_ok=True)
            if not isinstance(error, StreamsDiffer) or streams.strict:
                raise OutputError(
                    f"{error} It was removed; the rendered chunks are kept in {work.folder}, and the same command"
                    " continues from there."
                ) from error
            streams = streams.without(_reasons(error, assembled, streams.container))
        else:
            return assembled


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
        indexes[number]: f"read back from the {container.upper()} file, it {why}"
        for differing, indexes in kinds
        for number, why in differing.items()
    }


def check_unchanged(source: Source, plan: Plan) -> None:
    """Raise InputError if the source is no longer the file that was planned."""
    if Fingerprint.of(source.path) != plan.source:
        raise InputError(
            f"{source.path} changed during the conversion; run the same command again once it no longer changes."
        )
