"""The plan of a conversion: the source, its scenes, and the chunks to render."""

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any, Self

import msgspec

from sdr2hdr.codecs import CODECS
from sdr2hdr.color.transfer import CAMERA_GAMMA
from sdr2hdr.errors import InputError
from sdr2hdr.jobs.exposures import Times
from sdr2hdr.jobs.settings import Settings
from sdr2hdr.media.encoder import MIN_SIDE, SDR, EncodeSettings
from sdr2hdr.media.source import Source
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.reading import open_regular
from sdr2hdr.render.looks import SceneLooks
from sdr2hdr.render.renderer import Run
from sdr2hdr.scenes.cutlist import read_cutlist
from sdr2hdr.scenes.detector import Cut, Detector
from sdr2hdr.scenes.small import brightened, small_frame
from sdr2hdr.text import counted

_EDGE = 1 << 20


@dataclass(frozen=True)
class Fingerprint:
    """Identifies a file: its size, modification time, and the SHA-256 of its ends and its middle."""

    size: int
    changed_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path, what: str = "a source") -> Self:
        """The fingerprint of a file that serves as ``what``. Raises InputError."""
        try:
            size, changed_ns = path.stat().st_size, path.stat().st_mtime_ns
            digest = hashlib.sha256()
            with open_regular(path, what) as f:
                for start in (0, size // 2, max(0, size - _EDGE)):
                    f.seek(start)
                    digest.update(f.read(_EDGE))
        except OSError as e:
            raise InputError(
                f"{path} cannot be read ({e.strerror}); check the path and its permissions."
            ) from e
        return cls(size, changed_ns, digest.hexdigest())


@dataclass(frozen=True)
class Survey:
    """The result of reading every frame once: pts in display order, the last frame's duration, cuts, and the loss (words).

    ``light`` is the mean light of each frame (its code to the power of 2.2) if exposures alternate. ``qps`` are the QPs of the
    scenes (:mod:`sdr2hdr.media.quantiser`), none if the file does not say them. ``notes`` are sentences
    for people about what was found and done while reading. ``combed`` says whether a picture was deinterlaced; where none was,
    chunks need not look for one.
    """

    pts: tuple[int, ...]
    last_duration: int | None
    cuts: tuple[int, ...]
    loss: str | None
    light: tuple[float, ...] = ()
    looks: tuple[tuple[float, ...] | None, ...] = ()
    qps: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    combed: bool = True

    def look(self, scene_first: int) -> tuple[float, ...] | None:
        """The look of the scene that begins at a frame, or None if it was not read."""
        return self.looks[bisect_right(self.cuts, scene_first)] if self.looks else None

    def qp(self, scene_first: int) -> float | None:
        """The QP of the scene that begins at a frame, or None if it is not known."""
        return self.qps[bisect_right(self.cuts, scene_first)] if self.qps else None

    def duration(self, frame: int) -> int | None:
        """A frame's duration in the source's time base: up to the next frame, or the stated duration of the last one."""
        return (
            self.pts[frame + 1] - self.pts[frame]
            if frame + 1 < len(self.pts)
            else self.last_duration
        )


@dataclass(frozen=True)
class Plan:
    """Everything that decides the chunks of a conversion. ``program`` is the code that made it."""

    program: str
    source: Fingerprint
    settings: Settings
    encode: EncodeSettings
    survey: Survey
    chunks: tuple[tuple[Run, ...], ...]
    tile: int
    scenes_sha256: str = ""

    @property
    def aux_encode(self) -> EncodeSettings:
        """How the restored SDR picture is encoded: like the HDR picture, except for the colour tags."""
        return replace(self.encode, transfer=SDR)

    def __post_init__(self) -> None:
        if self.settings.model not in registry.names():
            raise ValueError(f"there is no model {self.settings.model!r}")
        looks = self.survey.looks
        lengths = {len(v) for v in looks if v is not None}
        if len(looks) not in (0, len(self.survey.cuts) + 1) or len(lengths) > 1:
            raise ValueError("the looks do not fit the scenes")
        if len(self.survey.qps) not in (0, len(self.survey.cuts) + 1):
            raise ValueError("the QPs do not fit the scenes")
        self._check_chunks()

    def _check_chunks(self) -> None:
        """Raises ValueError unless the chunks hold every frame of the survey once, in order, each in its scene."""
        frames = len(self.survey.pts)
        edges = [0, *self.survey.cuts, frames]
        for steps, what in ((self.survey.pts, "times"), (edges, "cuts")):
            if any(b <= a for a, b in itertools.pairwise(steps)):
                raise ValueError(f"the {what} do not increase")
        at = 0
        for run in itertools.chain.from_iterable(self.chunks):
            scene = bisect_right(edges, at)
            if run.first != at or not at < run.last <= run.scene_last:
                raise ValueError(f"the chunks do not follow each other at frame {at}")
            if scene == len(edges) or (run.scene_first, run.scene_last) != (
                edges[scene - 1],
                edges[scene],
            ):
                raise ValueError(f"frame {at} is not in the scene that its chunk names")
            at = run.last
        if at != frames or not all(self.chunks) or self.tile < 1:
            raise ValueError(f"the chunks hold {at} of {frames} frames")

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values; fractions are text."""
        plain: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        return plain

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of :meth:`to_json`. Raises msgspec.ValidationError, or UsageError for an option's value."""
        return msgspec.convert(data, cls, dec_hook=_fraction)


def _fraction(kind: type, value: Any) -> Fraction:
    if kind is not Fraction or not isinstance(value, str):
        raise ValueError(f"{kind.__name__} is not read from {type(value).__name__}")
    return Fraction(value)


def survey(
    source: Source,
    scenes: str,
    progress: Callable[[int, int], None],
    times: Times = (),
    looks: Sequence[SceneLooks] = (),
) -> Survey:
    """Decode every frame once: times, cuts, damage. ``scenes`` is ``auto``, ``none`` or the path of a cut list.

    If ``times`` are given, exposures alternate, and cuts are found in frames scaled to the longest exposure. Each of
    ``looks`` reads the scenes' looks. If ``scenes`` is ``none``, only the look of the whole film is read. The survey holds
    the result of the first.
    """
    wanted = [each for each in looks if scenes != "none" or each.film]
    return survey_and_cuts(source, scenes, progress, times, wanted)[0]


def survey_and_cuts(
    source: Source,
    scenes: str,
    progress: Callable[[int, int], None],
    times: Times = (),
    looks: Sequence[SceneLooks] = (),
) -> tuple[Survey, list[Cut]]:
    """:func:`survey`, and the detector's facts about each cut (none without ``auto``)."""
    detector = Detector(source.info.time_base) if scenes == "auto" else None
    pts, duration = list[int](), None
    cuts: list[Cut] = []
    light: list[float] = []
    for picture in source.pictures(qps=True):
        if detector is not None or times:
            small = small_frame(picture.planes, picture.layout)
            if times:
                light.append(float(small[0].pow(CAMERA_GAMMA).mean()))
                small = brightened(
                    small, (max(times) / times[len(pts) % len(times)]) ** (1 / CAMERA_GAMMA)
                )
            if detector is not None:
                cuts += detector.push(small, picture.pts)
        for each in looks:
            if each.wants(len(pts)):
                each.see_coded(len(pts), picture)
        pts.append(picture.pts)
        duration = picture.duration
        progress(len(pts), max(source.info.frames or 0, len(pts)))
    if detector is not None:
        cuts += detector.close()
    frames = [c.frame for c in cuts]
    if scenes not in ("auto", "none"):
        frames = read_cutlist(Path(scenes), pts, source.info.time_base)
    starts = tuple(f for f in frames if f > 0)
    found = looks[0].of([0, *starts, len(pts)]) if looks else ()
    vectors = tuple(None if v is None else tuple(v.tolist()) for v in found)
    qps = scene_qps(source.qps, pts, starts)
    read = Survey(
        tuple(pts), duration, starts, _words(source), tuple(light), vectors, qps, source.notes,
        source.is_combed,
    )  # fmt: skip
    return read, cuts


def scene_qps(
    qps: Mapping[int, float], pts: Sequence[int], cuts: Sequence[int]
) -> tuple[float, ...]:
    """The median QP of each scene; of a scene of which none was read, that of the film."""
    if not qps:
        return ()
    found: list[list[float]] = [[] for _ in range(len(cuts) + 1)]
    begins = [pts[cut] for cut in cuts]
    for at, qp in qps.items():
        found[bisect_right(begins, at)].append(qp)
    film = median(qps.values())
    return tuple(round(median(each) if each else film, 2) for each in found)


def _words(source: Source) -> str | None:
    """A description of what could not be read; None if everything was."""
    loss = source.loss
    parts = [
        counted(loss.damaged, "damaged packet") if loss.damaged else "",
        f"{counted(loss.corrupt, 'damaged picture')} kept" if loss.corrupt else "",
        f"{float(loss.missing):.2f} s missing" if loss.missing else "",
        "pictures in the gaps of a damaged file" if loss.torn else "",
    ]
    return ", ".join(p for p in parts if p) or None


def cut_chunks(survey: Survey, least: int, spec: ModelSpec) -> tuple[tuple[Run, ...], ...]:
    """Chunks of whole scenes with at least ``least`` frames; a scene of twice that length is split at multiples of the
    block."""
    step = -(-least // spec.block) * spec.block
    chunks: list[tuple[Run, ...]] = []
    held: list[Run] = []
    for a, b in itertools.pairwise([0, *survey.cuts, len(survey.pts)]):
        qp = survey.qp(a) if spec.qp else None
        if b - a >= 2 * step:
            if held:
                chunks.append(tuple(held))
                held = []
            # the last part takes the remainder, so that no chunk is shorter than a step
            starts = list(range(a, b - step + 1, step))
            chunks += [(Run(s, e, a, b, qp),) for s, e in itertools.pairwise([*starts, b])]
            continue
        held.append(Run(a, b, a, b, qp))
        if b - held[0].first >= least:
            chunks.append(tuple(held))
            held = []
    if held:
        chunks.append(tuple(held))
    return tuple(chunks)


def encode_settings(source: Source, settings: Settings, *, still: bool = False) -> EncodeSettings:
    """The encoder's settings for a source: its displayed size made even, its time base and its rate.

    A ``still`` has its own encoder, to which these settings are not handed.
    Raises InputError for a picture too small to be encoded.
    """
    info = source.info
    width, height = info.size
    if min(width, height) + 1 < MIN_SIDE and not still:
        raise InputError(
            f"{source.path} is {width}x{height}, and pictures of less than {MIN_SIDE} pixels a side cannot be encoded;"
            " scale it first."
        )
    return EncodeSettings(
        codec=settings.codec,
        crf=settings.quality or 0.0,
        preset=settings.speed,
        width=width + width % 2,
        height=height + height % 2,
        time_base=info.time_base,
        rate=info.rate,
        sample_aspect_ratio=info.sample_aspect_ratio,
        keyint=1 if CODECS[settings.codec].intra else max(1, round(4 * info.rate)),
        encoder=settings.encoder,
        pix_fmt=settings.planes,
        transfer=settings.transfer,
    )
