"""The product in one function: an SDR file in, a checked HDR10 file out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdr2hdr.color.light import LightFacts
from sdr2hdr.errors import InputError, Interrupted, ModelError, OutputError
from sdr2hdr.jobs.exposures import check_count, doubts, exposures_for, read_from_frames
from sdr2hdr.jobs.plan import Fingerprint, Plan, cut_chunks, encode_settings, survey
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.jobs.run import Task, run, unfinished
from sdr2hdr.jobs.settings import Settings
from sdr2hdr.jobs.work import Work
from sdr2hdr.media.assemble import AssembleReport, assemble
from sdr2hdr.media.check import check
from sdr2hdr.media.encoder import try_encoder
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.source import Source
from sdr2hdr.media.stream_plan import StreamChoice, StreamPlan, plan_streams
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.options import CONTAINERS, DEFAULTS, Options
from sdr2hdr.render.device import keep_one_heap, pick_device, pick_precision
from sdr2hdr.render.looks import SceneLooks
from sdr2hdr.render.tiles import check_tile, fitting_tile
from sdr2hdr.scenes.cutlist import Scene, scenes_from_cuts
from sdr2hdr.weights.load import choose
from sdr2hdr.weights.opened import Loaded, spec_of


@dataclass(frozen=True)
class Progress:
    """A moment of a conversion: the stage (``scan``, ``render``, ``assemble``, ``check``) and how many frames of it are done."""

    stage: str
    done: int
    total: int
    scene: int = 0
    scenes: int = 0


@dataclass(frozen=True)
class Report:
    """What a conversion did. Light in nits, as measured on the 10-bit pictures; ``max_cll`` and ``max_fall`` are the integers
    written to bitstream and container. ``busy`` is each stage's seconds at work, of ``render_seconds`` in all."""

    source: Path
    output: Path
    model: str
    weights: str
    device: str
    precision: str
    frames: int
    scenes: int
    chunks: int
    resumed_chunks: int
    tile: int
    width: int
    height: int
    input_colour: str
    codec: str
    container: str
    mastering_peak: int
    max_cll: int
    max_fall: int
    measured_max_cll: float
    measured_max_fall: float
    p9999: float
    seconds: float
    render_seconds: float
    busy: dict[str, float]
    loss: str | None
    notes: tuple[str, ...]
    aux_sdr: Path | None = None

    @property
    def frames_per_second(self) -> float:
        """Frames rendered in this run over the time that rendering took."""
        return self.frames / self.render_seconds if self.render_seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        out = {k: str(v) if isinstance(v, Path) else v for k, v in vars(self).items()}
        return {**out, "frames_per_second": self.frames_per_second}


def convert(
    src: str | Path,
    dst: str | Path,
    model: str | None = None,
    *,
    options: Options = DEFAULTS,
    progress: Callable[[Progress], None] = lambda _: None,
    **changes: Any,
) -> Report:
    """Convert one SDR video to HDR10.

    ``options`` hold every option, each with its meaning (:class:`sdr2hdr.options.Options`); single options may be given as
    keywords instead, which win: ``convert("film.mp4", "film-hdr.mkv", model="look", peak=600)``.

    The target appears when it is complete and has been checked. An interrupted conversion with the same source and options
    goes on where it stopped. With ``aux_sdr`` a second file holds the restored SDR picture; it appears together with the target.

    Raises :class:`UsageError`, :class:`InputError`, :class:`OutputError`, :class:`ModelError` or :class:`Interrupted`, all with
    a message for people, and TypeError for a keyword that is not an option.
    """
    since = time.monotonic()
    keep_one_heap()
    src, dst = Path(src), Path(dst)
    o = options.changed(**changes if model is None else {"model": model, **changes})
    container = _container(dst, o.container)
    chosen = choose(o.model, o.weights)
    spec = spec_of(o.model, o.weights)
    on = pick_device(o.device)
    settings = Settings.of(
        o,
        model=spec.name,
        weights_sha256=chosen.sha256 if chosen else "",
        device=str(on),
        precision=pick_precision(o.precision, spec, on),
        times=exposures_for(o.exposures, spec),
    )
    target = _target(src, dst, o.overwrite)
    aux = None if o.aux_sdr is None else _aux_target(src, target, Path(o.aux_sdr), spec, o.overwrite)
    with open_source(src, o) as source:
        streams, aux_streams = _stream_plans(source, container, aux, o)
        notes = streams.notes
        settings, read = _as_frames_tell(source, settings, spec, o.exposures, progress)
        notes = (*notes, *read)
        encode = encode_settings(source, settings)
        work = Work.beside(target)
        done = False
        try:
            task = Task(
                src.absolute(), work.folder, spec.name, o.weights or (o.model if o.model != spec.name else None)
            )
            plan = _plan(source, settings, spec, work, o.tile, task.open, progress)
            notes = (*notes, *source.notes, *_doubts(o.exposures, plan, src))
            work.verify(len(plan.chunks))
            left = {i for group in unfinished(plan, work) for i in group}
            finished = [i for i in range(len(plan.chunks)) if i not in left]
            rendering = time.monotonic()
            plan, busy = run(task, plan, work, o.workers, _Ticker(plan, finished, progress))
            rendered = time.monotonic() - rendering
            cll, fall = (light := _light(work, plan)).written(o.peak)
            mastering, written = Mastering("bt2020", float(o.peak)), ContentLight(cll, fall)
            assembled = _finish(work, plan, source, streams, mastering, written, progress)
            if aux_streams is not None:
                _finish(work, plan, source, aux_streams, None, None, progress)
            _check_unchanged(src, plan)
            for made, under in ((work.assembled_aux, aux), (work.assembled, target)):
                if under is not None:
                    _appear(made, under, o.overwrite)
            done = True
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped; what is finished of {dst} is kept beside it: run the same command again to go on."
            ) from None
        finally:
            work.close(remove=done and not o.keep_work)
        info = source.info
        width, height = info.size
        odd = (
            (f"{width}x{height} was made even by repeating the last column or row.",) if width % 2 or height % 2 else ()
        )
        return Report(
            source=src,
            output=dst,
            model=spec.name,
            weights=chosen.name if chosen else "none needed",
            device=settings.device,
            precision=settings.precision,
            frames=len(plan.survey.pts),
            scenes=len(plan.survey.cuts) + 1,
            chunks=len(plan.chunks),
            resumed_chunks=len(finished),
            tile=plan.tile,
            width=encode.width,
            height=encode.height,
            input_colour=f"{info.layout.matrix} {'full' if info.layout.full_range else 'limited'}"
            f" (matrix {info.matrix_from}, range {info.range_from})",
            codec=o.codec,
            container=container,
            mastering_peak=o.peak,
            max_cll=cll,
            max_fall=fall,
            measured_max_cll=light.max_cll,
            measured_max_fall=light.max_fall,
            p9999=light.p9999,
            seconds=time.monotonic() - since,
            render_seconds=rendered,
            busy=busy,
            loss=plan.survey.loss,
            notes=tuple(dict.fromkeys([*notes, *assembled.notes, *odd])),
            aux_sdr=None if o.aux_sdr is None else Path(o.aux_sdr),
        )


def _check_unchanged(src: Path, plan: Plan) -> None:
    if Fingerprint.of(src) != plan.source:
        raise InputError(f"{src} changed while it was converted; run the same command again when it is at rest.")


def detect_scenes(src: str | Path, scenes: str = "auto") -> list[Scene]:
    """The scenes of an SDR video, in order; ``scenes`` may name a cut list to use instead. Raises InputError."""
    with Source(src) as source:
        found = survey(source, scenes, lambda _done, _total: None)
        return scenes_from_cuts(found.cuts, len(found.pts), found.pts)


def _container(dst: Path, container: str | None) -> str:
    container = container or dst.suffix.lower().lstrip(".")
    if container not in CONTAINERS:
        raise OutputError(
            f"{dst} names no container that can hold the result; end it in .mkv, .mp4 or .mov, or use --container."
        )
    return container


def _target(src: Path, dst: Path, overwrite: bool) -> Path:
    """The file to write: ``dst``, or where it links to. Raises OutputError where that cannot or must not be written."""
    try:
        target = dst.resolve() if dst.is_symlink() else dst
        if target.exists() and src.exists() and target.samefile(src):
            raise OutputError(f"{dst} is the source itself, which is never written; choose another name.")
        if target.is_dir():
            raise OutputError(f"{dst} is a folder; name the file to write in it.")
        if target.exists() and not target.is_file():
            raise OutputError(f"{dst} is a pipe or a device; name a file to write.")
        if target.exists() and not overwrite:
            raise OutputError(f"{dst} exists; choose another name, or replace it with -y.")
        if not target.parent.is_dir():
            raise OutputError(f"The folder {target.parent} does not exist; make it first.")
    except (OSError, RuntimeError) as e:  # too long a name, or links in a circle
        raise OutputError(f"{dst} cannot be written ({getattr(e, 'strerror', e)}); choose another name.") from e
    return target


def _aux_target(src: Path, target: Path, aux_sdr: Path, spec: ModelSpec, overwrite: bool) -> Path:
    """The file for the restored SDR picture. Raises ModelError for a model that makes none, OutputError as for the target."""
    if not spec.has_aux:
        able = ", ".join(name for name in registry.names() if registry.spec(name).has_aux)
        raise ModelError(
            f"Model {spec.name} restores no SDR picture; leave --aux-sdr out, or use one that does: {able}."
        )
    _container(aux_sdr, None)
    if aux_sdr.resolve() == target.resolve():
        raise OutputError(f"{aux_sdr} cannot hold both pictures; give --aux-sdr another name.")
    return _target(src, aux_sdr, overwrite)


def _as_frames_tell(
    source: Source, settings: Settings, spec: ModelSpec, exposures: str | None, progress: Callable[[Progress], None]
) -> tuple[Settings, tuple[str, ...]]:
    """The settings with the exposures that the frames tell of, where none were given, and what is to be said of that."""
    if exposures is not None or not spec.exposures:
        return settings, ()
    about = source.info.frames or 0
    times, read = read_from_frames(source, lambda done: progress(Progress("scan", done, max(done, about))))
    return replace(settings, exposures=",".join(map(repr, times))), (read,) if read else ()


def _doubts(text: str | None, plan: Plan, src: Path) -> tuple[str, ...]:
    """What speaks against the exposures. Raises InputError where they do not fit the number of frames."""
    times = plan.settings.times
    if not times:
        return ()
    if text is not None:
        check_count(text, times, len(plan.survey.pts), src)
    doubt = doubts(times, plan.survey.light, plan.survey.cuts, given=text is not None)
    return (doubt,) if doubt else ()


def _stream_plans(
    source: Source, container: str, aux: Path | None, options: Options
) -> tuple[StreamPlan, StreamPlan | None]:
    """What becomes of the source's other streams in the target, and in the file of the restored SDR picture, if any."""
    o = options
    choice = StreamChoice(o.audio, o.audio_track, o.subtitle_track, o.no_audio, o.strict_streams)
    kinds = [container] if aux is None else [container, _container(aux, None)]
    plans = [plan_streams(source.path, kind, o.codec, source.info.stream, choice) for kind in kinds]
    return plans[0], plans[1] if aux is not None else None


def _finish(
    work: Work,
    plan: Plan,
    source: Source,
    streams: StreamPlan,
    mastering: Mastering | None,
    light: ContentLight | None,
    progress: Callable[[Progress], None],
) -> AssembleReport:
    """Assembles the file in the work folder and checks it; without metadata it is that of the restored SDR picture.

    A file that fails its check is removed. The chunks are kept, for they take longest to make.
    """
    aux = mastering is None
    path = work.assembled_aux if aux else work.assembled
    progress(Progress("assemble", 0, 1))
    chunks = [work.chunk(i, aux=aux) for i in range(len(plan.chunks))]
    assembled = assemble(chunks, source.path, path, streams, mastering=mastering, light=light, clock=source.info.clock)
    progress(Progress("check", 0, 1))
    try:
        check(path, assembled.expected)
    except OutputError as error:
        path.unlink(missing_ok=True)
        raise OutputError(
            f"{error} It was removed; the rendered chunks are kept in {work.folder}, from where the same command goes on."
        ) from error
    return assembled


def _plan(
    source: Source,
    settings: Settings,
    spec: ModelSpec,
    work: Work,
    tile: int | None,
    opened: Callable[[], Loaded],
    progress: Callable[[Progress], None],
) -> Plan:
    """The plan begun in the work folder if it is of this source and these settings, else a new one."""
    fingerprint = Fingerprint.of(source.path)
    begun = work.read_plan()
    list_text = "" if settings.scenes in ("auto", "none") else Fingerprint.of(Path(settings.scenes)).sha256
    if (
        begun is not None
        and (begun.source, begun.settings, begun.scenes_sha256) == (fingerprint, settings, list_text)
        and tile in (None, begun.tile)
    ):
        return begun
    encode = encode_settings(source, settings)
    width, height = source.info.size
    if tile is not None:
        check_tile(height, width, tile, spec)
    try_encoder(encode)  # before a long look at the source
    reads = spec.look and not settings.times
    looks = [SceneLooks(opened().model, spec, film=settings.look == "film")] if reads else []
    found = survey(
        source, settings.scenes, lambda done, total: progress(Progress("scan", done, total)), settings.times, looks
    )
    if not found.pts:
        raise InputError(f"{source.path} holds no picture that decodes; check the file.")
    plan = Plan(
        source=fingerprint,
        settings=settings,
        encode=encode,
        survey=found,
        chunks=cut_chunks(len(found.pts), found.cuts, settings.chunk_frames, spec),
        tile=tile or fitting_tile(height, width, spec, pick_device(settings.device)),
        scenes_sha256=list_text,
    )
    work.begin(plan)
    return plan


class _Ticker:
    """Turns finished frames into progress, counting what an earlier run has done."""

    def __init__(self, plan: Plan, finished: list[int], progress: Callable[[Progress], None]) -> None:
        self._plan, self._progress = plan, progress
        self._done = sum(plan.chunks[i][-1].last - plan.chunks[i][0].first for i in finished)
        self(0)

    def __call__(self, frames: int) -> None:
        self._done = min(self._done + frames, len(self._plan.survey.pts))  # some are done twice if memory runs out
        total, cuts = len(self._plan.survey.pts), self._plan.survey.cuts
        scene = 1 + sum(cut <= self._done for cut in cuts)
        self._progress(Progress("render", self._done, total, min(scene, len(cuts) + 1), len(cuts) + 1))


def _light(work: Work, plan: Plan) -> LightFacts:
    light = LightFacts()
    for i in range(len(plan.chunks)):
        facts = work.done(i)
        if facts is None:
            raise OutputError(f"Chunk {i} in {work.folder} has gone; run the same command again to make it anew.")
        light = light.merge(facts[1])
    return light


def _appear(path: Path, dst: Path, overwrite: bool) -> None:
    """Give the finished file its name, in one step."""
    if dst.exists() and not overwrite:
        raise OutputError(f"{dst} has appeared in the meantime; run the same command with -y, or with another name.")
    try:
        path.replace(dst)
    except OSError as e:
        raise OutputError(f"{dst} cannot be written ({e.strerror}); choose another name.") from e
