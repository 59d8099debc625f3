"""Exposures of a film's frames, from the user or from EXIF, and a check that its brightness follows them."""

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median

from sdr2hdr.errors import InputError, ModelError
from sdr2hdr.media.source import Source
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.reading import MissingFile, read_text

Times = tuple[float, ...]
"""Relative exposure times of a film's frames, repeated from the first to the last; empty for ordinary SDR."""

_FOLLOWS = 0.15
"""The least share of a step between exposures, in stops, that a brightness which follows them shows; clipping eats some."""


_APART = 0.5
"""Stops between neighbouring frames from which on exposures alternate: what a camera's automatic does goes in smaller steps."""

_LONGEST_CYCLE = 16


def read_exposures(text: str | None) -> Times:
    """``1,1/4`` (times), ``ev:0,-2`` (stops) or the path of a text file with a time per frame; ``1`` and None are ordinary
    SDR.

    Raises InputError for anything else, and for a time that is not above 0.
    """
    if text is None:
        return ()
    stops = text.startswith("ev:")
    words = text.removeprefix("ev:").split(",")
    where = f"--exposures {text}"
    if not stops and any(_number(w) is None for w in words):
        path = Path(text)
        try:
            lines = read_text(path, "a list of exposures").splitlines()
        except MissingFile as e:
            raise InputError(
                f"--exposures {text} is neither a cycle nor a file; "
                "write times as 1,1/4, stops as ev:0,-2, or name a text file with a time for each frame."
            ) from e
        words, where = [line.strip() for line in lines if line.strip()], f"{path}, line"
    times = []
    for number, word in enumerate(words, 1):
        value = _number(word)
        at = f"{where} {number}" if where.endswith("line") else where
        if value is None or (not stops and value <= 0) or abs(value) > 1e6:
            raise InputError(
                f"{at}: {word[:40]!r} is no exposure; a time is a number above 0, such as 1, 0.25 or 1/4."
            )
        times.append(2.0 ** max(-64.0, min(64.0, value)) if stops else value)
    if not times:
        raise InputError(f"{text} holds no exposures; write one for each frame, a line each.")
    if len(times) == 1 and times[0] != 1.0:
        raise InputError(
            f"{where} names a single exposure, and frames that do not alternate are ordinary SDR; leave --exposures out."
        )
    return () if len(times) == 1 else tuple(times)


def exposures_for(text: str | None, spec: ModelSpec) -> Times:
    """:func:`read_exposures`; raises ModelError for a model without exposures."""
    times = read_exposures(text)
    if times and not spec.exposures:
        able = ", ".join(name for name in registry.names() if registry.spec(name).exposures)
        raise ModelError(
            f"Model {spec.name} knows no exposures; leave --exposures out, or use one that does: {able}."
        )
    return times


def read_from_frames(source: Source, progress: Callable[[int], None]) -> tuple[Times, str | None]:
    """The exposures in the EXIF data of a film's frames, relative to the longest, and a sentence about them.

    There are none if the first frame has no EXIF exposure (no other frame is then decoded), or if they do not alternate,
    that is by at least half a stop between half of the neighbouring frames. ``progress`` receives the number of frames
    read.
    """
    told: list[Fraction] = []
    for picture in source.pictures():
        if picture.exposure is None:
            if not told:
                return (), None
            return (), (
                f"Frame {len(told) + 1} does not tell its exposure as those before it do, so the film was taken for ordinary "
                "SDR; give --exposures if they alternate."
            )
        told.append(picture.exposure)
        progress(len(told))
    steps = [abs(math.log2(b / a)) for a, b in itertools.pairwise(told)]
    if not steps or median(steps) < _APART:
        return (), None
    periods = range(2, min(_LONGEST_CYCLE, len(told)) + 1)
    period = next(
        (n for n in periods if all(a == b for a, b in zip(told, told[n:], strict=False))), len(told)
    )
    shares = [t / max(told) for t in told[:period]]
    said = (
        f"{','.join(map(_said, shares))}"
        if period <= _LONGEST_CYCLE
        else f"{_said(min(shares))} to 1"
    )
    return tuple(map(float, shares)), (
        f"Exposures were read from the frames' EXIF data: {said} (the longest is 1); --exposures says otherwise, and "
        "--exposures 1 that it is ordinary SDR."
    )


def _said(share: Fraction) -> str:
    return str(share) if share.denominator < 1000 else f"{float(share):.4g}"


def _number(word: str) -> float | None:
    try:
        value = float(Fraction(word.strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def check_count(text: str, times: Times, frames: int, film: Path) -> None:
    """Raises InputError if the cycle is longer than the film, or if a per-frame list has the wrong length."""
    if not times or (len(times) <= frames and not Path(text).is_file()):
        return
    if not Path(text).is_file():
        raise InputError(
            f"{film} has {frames} frames, too few for the cycle --exposures {text}; give a cycle of at most {frames}."
        )
    if len(times) != frames:
        raise InputError(
            f"{text} names {len(times)} exposures, but {film} has {frames} frames; write one for each."
        )


def doubts(
    times: Times, light: Sequence[float], cuts: Sequence[int], *, given: bool = True
) -> str | None:
    """A sentence for people if the frames' mean light (codes to the power 2.2) does not alternate as the exposures do. The
    exposures were ``given`` or read from the frames.
    """
    seen = []
    for frame, (a, b) in enumerate(itertools.pairwise(light), 1):
        first, second = times[(frame - 1) % len(times)], times[frame % len(times)]
        if first != second and frame not in cuts and min(a, b) > 1e-4:
            seen.append(math.log(b / a) / math.log(second / first))
    if not seen or median(seen) >= _FOLLOWS:
        return None
    if not given:
        return "The frames' brightness does not alternate as their EXIF data says: if this is ordinary SDR, give --exposures 1."
    return (
        "The frames' brightness does not alternate as --exposures says: if this is ordinary SDR, leave --exposures out; "
        "if not, check with which exposure the cycle begins."
    )
