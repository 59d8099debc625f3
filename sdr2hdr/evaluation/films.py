"""Films and folders of frames, converted or to be converted, measured against an HDR truth."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise

from torch import Tensor

from sdr2hdr.errors import InputError
from sdr2hdr.evaluation.scores import Score
from sdr2hdr.evaluation.strips import Pairing, Strip
from sdr2hdr.evaluation.worst import Worst
from sdr2hdr.jobs.exposures import Times
from sdr2hdr.jobs.looks import Look
from sdr2hdr.metrics.measures import Measure, Meter
from sdr2hdr.options import Options
from sdr2hdr.render.looks import SceneLooks
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.render.scene import render_scene
from sdr2hdr.weights.opened import open_model

LEAST = 16
"""Pixels that a picture must have each way to be measured."""


def measure(
    pairs: Sequence[Pairing],
    models: Sequence[str],
    measures: Iterable[Measure],
    worst: Worst,
    *,
    limit: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    peak: float = 1000.0,
    brightness: float | None = None,
    times: Times = (),
    progress: Callable[[str, int], None] = lambda _what, _done: None,
) -> Iterator[Score]:
    """Scores of all frames, or the first ``limit`` of each strip. SDR strips are converted by each model, as ``convert``
    would.

    HDR strips are measured as they are, under the name "result". ``times`` are exposures that alternate from each strip's
    first frame on; only models with exposures receive them. Raises InputError if strip and truth do not match.
    """
    measures = tuple(measures)
    for pair in pairs:
        strip = pair.strip
        _check_sizes(pair)
        if not strip.sdr:
            yield from _measured(pair, "result", strip.frames(), measures, worst, limit, progress)
            continue
        begins = strip.scenes()
        if (
            limit is not None
        ):  # the look is read from the whole scene, even beyond the limit, as in a conversion
            begins = begins[: bisect_left(begins, limit) + 1]
        for name in models:
            results = converted(
                strip, begins, name, device=device, precision=precision, peak=peak,
                brightness=brightness, times=times or pair.times,
            )  # fmt: skip
            yield from _measured(pair, name, results, measures, worst, limit, progress)


def _check_sizes(pair: Pairing) -> None:
    strip, truth = pair.strip, pair.truth
    if min(strip.size) < LEAST:
        raise InputError(
            f"{strip.name} is {strip.size[0]}x{strip.size[1]}, too small to be measured; {LEAST} pixels is the least."
        )
    if (
        truth is not None
        and max(abs(a - b) for a, b in zip(strip.size, truth.size, strict=True)) > 1
    ):
        sizes = ["x".join(map(str, s.size)) for s in (strip, truth)]
        raise InputError(
            f"{strip.name} is {sizes[0]}, but its truth {truth.name} is {sizes[1]}; scale one of them first."
        )


def converted(
    strip: Strip,
    begins: Sequence[int],
    name: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    peak: float = 1000.0,
    brightness: float | None = None,
    times: Times = (),
) -> Iterator[Tensor]:
    """The PQ codes ``3,H,W`` that a conversion with a model hands to its encoder, frame by frame.

    Scenes lie between neighbouring ``begins``; each has the look that a conversion reads from it.
    """
    loaded = open_model(name)
    spec, size = loaded.spec, strip.size[::-1]
    grade = Look.of(None).grade(Options(brightness=brightness), spec, has_times=bool(times))
    renderer = Renderer(
        loaded.model, spec, size, device=device, precision=precision, grade=grade, peak=peak,
        exposures=times,
    )  # fmt: skip
    looks = SceneLooks(renderer.model, spec, grade, film=True)
    for number, frame in enumerate(strip.frames() if spec.look and not renderer.exposures else ()):
        if looks.wants(number):
            looks.see(number, frame)
    frames = strip.frames()
    for (first, last), look in zip(pairwise(begins), looks.of(begins), strict=True):
        run = Run(first, last, first, last, strip.qp(first) if spec.qp else None)
        yield from render_scene(renderer, lambda: frames, run, look)


def _measured(
    pair: Pairing,
    model: str,
    results: Iterator[Tensor],
    measures: tuple[Measure, ...],
    worst: Worst,
    limit: int | None,
    progress: Callable[[str, int], None],
) -> Iterator[Score]:
    strip, truth = pair.strip, pair.truth
    meter = Meter(measures, rate=strip.rate)
    truths = None if truth is None else truth.frames()
    guides = strip.frames() if strip.sdr and not pair.times else None
    judged = None if pair.judged is None else set(pair.judged)
    held: Score | None = None
    number = 0
    for whole in islice(results, limit):
        if judged is not None and number not in judged:
            number += 1
            meter.forget()
            if guides is not None:
                next(guides, None)
            continue
        others = [None if frames is None else next(frames, None) for frames in (truths, guides)]
        if truth is not None and others[0] is None:
            raise InputError(
                f"{truth.name} has {number} frames, fewer than {strip.name}; cut them to the same frames."
            )
        least = [
            min(n)
            for n in zip(*(x.shape[-2:] for x in (whole, *others) if x is not None), strict=True)
        ]
        area = (..., slice(least[0]), slice(least[1]))
        result, (target, guide) = whole[area], (None if x is None else x[area] for x in others)
        if strip.loose:
            meter = Meter(measures, rate=strip.rate)
        if held is not None:
            yield held
        scene = strip.loose[number] if strip.loose else strip.name
        held = Score(model, scene, number, meter.add(result, target, guide), qp=pair.qp)
        worst.offer(held, result, target, guide)
        number += 1
        progress(f"{model}: {strip.name}", number)
    if (
        truth is not None
        and truths is not None
        and limit is None
        and next(truths, None) is not None
    ):
        raise InputError(
            f"{strip.name} has {number} frames, fewer than {truth.name}; cut them to the same frames."
        )
    if held is not None:
        yield replace(held, values={**held.values, **meter.finish()})
