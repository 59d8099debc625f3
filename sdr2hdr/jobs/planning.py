"""Making a plan: reuse the one in the work folder, or read the source once and divide it into chunks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sdr2hdr.errors import InputError
from sdr2hdr.jobs.chosen import Chosen
from sdr2hdr.jobs.encoding import usable
from sdr2hdr.jobs.exposures import check_count, doubts, read_from_frames
from sdr2hdr.jobs.looks import Look
from sdr2hdr.jobs.plan import Fingerprint, Plan, cut_chunks, encode_settings, survey
from sdr2hdr.jobs.program import program
from sdr2hdr.jobs.progress import Progress, Watcher
from sdr2hdr.jobs.settings import Settings
from sdr2hdr.kernels.compiled import drawback
from sdr2hdr.media.encoder import EncodeSettings
from sdr2hdr.media.source import Source
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.options import Options
from sdr2hdr.render.device import pick_device
from sdr2hdr.render.looks import SceneLooks
from sdr2hdr.render.renderer import told_brightness
from sdr2hdr.render.tiles import check_tile, fitting_tile
from sdr2hdr.weights.opened import Loaded


@dataclass(frozen=True)
class _Wanted:
    """The values that a plan must have for its chunks to be used."""

    source: Fingerprint
    settings: Settings
    encode: EncodeSettings
    scenes_sha256: str
    tile: int | None

    def difference(self, begun: Plan, spec: ModelSpec) -> str | None:
        """Why an existing plan cannot be resumed, in words; None if it can."""
        if begun.program != program():
            return "was begun by another version of sdr2hdr"
        if begun.source != self.source:
            return "was begun before the source changed"
        asked = (begun.settings, begun.encode, begun.scenes_sha256) == (
            self.settings,
            self.encode,
            self.scenes_sha256,
        )
        if not asked or self.tile not in (None, begun.tile):
            return "was begun with other settings"
        if begun.chunks != cut_chunks(begun.survey, self.settings.chunk_frames, spec):
            return "has other chunks than its settings lead to"
        return None


def make_plan(
    source: Source,
    chosen: Chosen,
    begun: Plan | None,
    opened: Callable[[], Loaded],
    progress: Watcher,
    *,
    still: bool = False,
) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a conversion, and sentences about how it was made.

    ``begun``, the plan of an earlier run, is resumed if source, settings and program are the same. Chunks of any other plan
    are never used, so frames of two programs or settings do not mix. ``opened`` returns the model, for reading its look. The
    encoder of a ``still`` is not tried.
    Raises InputError, OutputError and ModelError.
    """
    options, spec = chosen.options, chosen.spec
    settings, notes = _with_told_exposures(source, chosen.settings, spec, options, progress)
    encode, fallen = encode_settings(source, settings, still=still), tuple[str, ...]()
    if not still:
        encode, fallen = usable(encode, begun.encode if begun else None)
    slower = drawback()
    if settings.source_qp is not None and not spec.qp:
        notes = (*notes, f"Model {spec.name} repairs nothing, so --source-qp was not used.")
    told = fallen if slower is None else (*fallen, slower)
    for note in told:
        progress(Progress("scan", 0, source.info.frames or 0, note=note))
    notes = (*notes, *told)
    wanted = _Wanted(
        Fingerprint.of(source.path),
        settings,
        encode,
        ""
        if settings.scenes in ("auto", "none")
        else Fingerprint.of(Path(settings.scenes), "a cut list").sha256,
        options.tile,
    )
    plan = begun
    if plan is not None and (why := wanted.difference(plan, spec)):
        notes = (
            *notes,
            f"The work of an earlier run {why}, so none of it was used and the film was started again.",
        )
        plan = None
    if plan is None:
        plan = _new_plan(source, wanted, spec, opened, progress)
    return plan, (*notes, *_doubts(source.path, plan, options))


def _new_plan(
    source: Source,
    wanted: _Wanted,
    spec: ModelSpec,
    opened: Callable[[], Loaded],
    progress: Watcher,
) -> Plan:
    settings = wanted.settings
    width, height = source.info.size
    if wanted.tile is not None:
        check_tile(height, width, wanted.tile, spec)
    given = Look.of(settings.look)
    reads = spec.look and not settings.times and given.file is None
    film = settings.look_over == "film"
    looks = [SceneLooks(opened().model, spec, settings.grade, film=film)] if reads else []
    found = survey(
        source,
        settings.scenes,
        lambda done, total: progress(Progress("scan", done, total)),
        settings.times,
        looks,
    )
    if not found.pts:
        raise InputError(f"{source.path} holds no picture that decodes; check the file.")
    if given.file is not None:
        told = told_brightness(settings.grade)
        read = given.scenes(told, found.cuts, len(found.pts), source.path)
        found = replace(found, looks=read)
    return Plan(
        program=program(),
        source=wanted.source,
        settings=settings,
        encode=wanted.encode,
        survey=found,
        chunks=cut_chunks(found, settings.chunk_frames, spec),
        tile=wanted.tile or fitting_tile(height, width, spec, pick_device(settings.device)),
        scenes_sha256=wanted.scenes_sha256,
    )


def _with_told_exposures(
    source: Source, settings: Settings, spec: ModelSpec, options: Options, progress: Watcher
) -> tuple[Settings, tuple[str, ...]]:
    """The settings with the exposures read from the frames if none were given, and a sentence about it."""
    if options.exposures is not None or not spec.exposures:
        return settings, ()
    about = source.info.frames or 0
    times, read = read_from_frames(
        source, lambda done: progress(Progress("scan", done, max(done, about)))
    )
    grade = Look.of(options.look).grade(options, spec, has_times=bool(times))
    told = replace(settings, exposures=",".join(map(repr, times)), **asdict(grade))
    return told, (read,) if read else ()


def _doubts(src: Path, plan: Plan, options: Options) -> tuple[str, ...]:
    """Doubts about the exposures, as sentences. Raises InputError if they do not fit the number of frames."""
    times, given = plan.settings.times, options.exposures
    if not times:
        return ()
    if given is not None:
        check_count(given, times, len(plan.survey.pts), src)
    doubt = doubts(times, plan.survey.light, plan.survey.cuts, given=given is not None)
    return (doubt,) if doubt else ()
