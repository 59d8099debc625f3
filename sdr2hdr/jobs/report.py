"""The report on a conversion."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdr2hdr.codecs import CODECS, PQ
from sdr2hdr.jobs.chosen import Chosen
from sdr2hdr.jobs.dynamic import words
from sdr2hdr.jobs.run import Rendered
from sdr2hdr.media.source import Source

HLG_PEAK = 1000
"""Nits of the reference display of HLG (BT.2408-7 clause 2)."""


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Light in nits, as measured on the planes that are encoded; of HLG it is what a display of the peak shows.
    ``pix_fmt`` is "half" and ``transfer`` "linear" for pictures that hold linear light. ``max_cll`` and
    ``max_fall`` are the integers written to bitstream and container; to those of HLG none are written. ``dynamic`` are
    sentences on what is written of each picture. ``source_qps`` are the QPs of the source's scenes, if it says them.
    ``busy`` is the time that each stage worked, in seconds, out of ``render_seconds``.
    """

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
    input_display: str
    grade: str
    codec: str
    encoder: str
    pix_fmt: str
    transfer: str
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
    dynamic: tuple[str, ...] = ()
    aux_sdr: Path | None = None
    source_qps: tuple[float, ...] = ()

    @property
    def frames_per_second(self) -> float:
        """Frames rendered in this run over the time that rendering took."""
        return self.frames / self.render_seconds if self.render_seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        out = {k: str(v) if isinstance(v, Path) else v for k, v in vars(self).items()}
        return {**out, "frames_per_second": self.frames_per_second}


def report_of(
    src: Path, source: Source, named: Path, chosen: Chosen, rendered: Rendered, notes: Sequence[str],
    *, codec: str, encoder: str, container: str, seconds: float,
) -> Report:  # fmt: skip
    """The report on ``named``, an output that was rendered from ``src``, as the user calls it, in ``seconds``; ``notes`` are
    sentences about how. ``source`` may be a film that was made of ``src``."""
    info, plan, light = source.info, rendered.plan, rendered.light
    peak, aux = chosen.options.peak, chosen.options.aux_sdr
    width, height = info.size
    linear = codec in CODECS and CODECS[codec].linear
    cll, fall = light.written(peak)
    if plan.settings.chosen:
        notes = (plan.settings.chosen, *notes)
    if plan.encode.transfer != PQ and peak != HLG_PEAK:
        notes = (
            *notes,
            f"HLG is graded for a display of {peak} nits; with --peak {HLG_PEAK} white has the usual 75 %.",
        )
    if (plan.encode.width, plan.encode.height) != info.size:
        notes = (*notes, f"{width}x{height} was made even by repeating the last column or row.")
    return Report(
        source=src,
        output=named,
        model=plan.settings.model,
        weights=chosen.weights_name,
        device=plan.settings.device,
        precision=plan.settings.precision,
        frames=len(plan.survey.pts),
        scenes=len(plan.survey.cuts) + 1,
        chunks=len(plan.chunks),
        resumed_chunks=rendered.resumed,
        tile=plan.tile,
        width=plan.encode.width,
        height=plan.encode.height,
        input_colour=f"{info.layout.matrix} {'full' if info.layout.full_range else 'limited'}"
        f" (matrix {info.matrix_from}, range {info.range_from})",
        input_display=info.shown.words,
        grade=plan.settings.grade.words,
        codec=codec,
        encoder=encoder,
        pix_fmt="half" if linear else plan.encode.pix_fmt,
        transfer="linear" if linear else plan.encode.transfer,
        container=container,
        mastering_peak=peak,
        max_cll=cll,
        max_fall=fall,
        measured_max_cll=light.max_cll,
        measured_max_fall=light.max_fall,
        p9999=light.p9999,
        seconds=seconds,
        render_seconds=rendered.seconds,
        busy=rendered.busy,
        loss=plan.survey.loss,
        notes=tuple(dict.fromkeys(notes)),
        dynamic=words(plan, dolby_vision=chosen.options.dolby_vision),
        aux_sdr=None if aux is None else Path(aux),
        source_qps=plan.survey.qps,
    )
