"""A film's scenes and what a model reads of them, as a conversion would."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from sdr2hdr.color.display import Display
from sdr2hdr.color.grade import Grade
from sdr2hdr.errors import InputError
from sdr2hdr.jobs.looks import Look
from sdr2hdr.jobs.plan import survey
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.options import Options
from sdr2hdr.render.looks import SceneLooks
from sdr2hdr.render.renderer import Renderer, told_brightness
from sdr2hdr.weights.opened import Loaded, open_model

Progress = Callable[[str, int, int], None]
Note = Callable[[str], None]
"""Takes sentences for people on what was found in a film and assumed of it."""


@dataclass(frozen=True)
class Film:
    """A film of ``frames`` frames: its scenes' first frames and times in seconds, their looks and that of the whole film.

    The looks are None of a model that reads none."""

    frames: int
    firsts: tuple[int, ...]
    starts: tuple[Fraction, ...]
    looks: tuple[Tensor | None, ...]
    whole: Tensor | None


@dataclass(frozen=True)
class Reading:
    """What was read of a film, by a model with a grade.

    ``display`` is what the film was made for; ``renderer`` renders pictures of the film's size."""

    film: Film
    display: Display
    loaded: Loaded
    grade: Grade
    renderer: Renderer


def read_film(
    src: Path,
    options: Options,
    progress: Progress,
    note: Note = lambda _sentence: None,
) -> Reading:
    """Decode a film once and read its scenes as ``convert`` would with these options. Raises as ``convert`` does."""
    loaded = open_model(options.model, options.weights)
    look = Look.of(options.look)
    grade = look.grade(options, loaded.spec, has_times=False)
    source = open_source(src, options)
    width, height = source.info.size
    renderer = Renderer(
        loaded.model, loaded.spec, (height, width), device=options.device, precision="float32",
        grade=grade, peak=float(options.peak),
    )  # fmt: skip
    reads = SceneLooks(loaded.model, loaded.spec, grade, film=options.look_over == "film")
    looks = [reads] if loaded.spec.look and look.file is None else []
    found = survey(
        source, options.scenes, lambda done, total: progress("scan", done, total), looks=looks
    )
    if not found.pts:
        raise InputError(f"{src} holds no picture that decodes; check the file.")
    for sentence in dict.fromkeys(found.notes):
        note(sentence)
    given = look.scenes(told_brightness(grade), found.cuts, len(found.pts), src) or found.looks
    whole = reads.whole
    if look.file is not None:
        whole = torch.tensor(look.file.film.look(told_brightness(grade)))
    firsts = (0, *found.cuts)
    step = source.info.time_base
    return Reading(
        Film(
            len(found.pts),
            firsts,
            tuple((found.pts[n] - found.pts[0]) * step for n in firsts),
            tuple(None if v is None else torch.tensor(v) for v in given or (None,) * len(firsts)),
            whole,
        ),
        source.info.shown.display,
        loaded,
        grade,
        renderer,
    )
