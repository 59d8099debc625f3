"""Scores of single frames and their means by look, QP and scene, as tables, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from sdr2hdr.metrics.measures import MEASURES, Measure

GROUPINGS = ("look", "qp", "scene")


@dataclass(frozen=True)
class Score:
    """The scores of one frame: ``values`` by measure. Means are taken within a ``part``, a name for people; ``look`` and
    ``qp`` are None if unknown."""

    model: str
    scene: str
    frame: int
    values: Mapping[str, float]
    part: str = "All frames"
    look: str | None = None
    qp: int | None = None


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation over frames, by measure; a measure that no frame has is missing."""

    frames: int
    mean: Mapping[str, float]
    std: Mapping[str, float]


def summary(scores: Sequence[Score]) -> Summary:
    """Means over frames, each weighing the same (the field's way also for PSNR, which is a mean of dB)."""
    values = {key: [s.values[key] for s in scores if key in s.values] for key in MEASURES}
    finite = {k: v for k, v in values.items() if v}
    return Summary(
        len(scores),
        {k: fmean(v) for k, v in finite.items()},
        {k: pstdev(v) if all(map(math.isfinite, v)) else math.nan for k, v in finite.items()},
    )


def groups(scores: Sequence[Score], by: str) -> dict[str, dict[str, Summary]]:
    """Summaries by a field (``look``, ``qp``, ``scene``) and model, "all" first; empty where the field has no two values."""
    known = [s for s in scores if getattr(s, by) is not None]
    keys = list(dict.fromkeys(getattr(s, by) for s in known))
    if len(keys) < 2:
        return {}
    out: dict[str, dict[str, Summary]] = {}
    for key in [None, *(sorted(keys) if by == "qp" else keys)]:
        chosen = [s for s in known if key is None or getattr(s, by) == key]
        out["all" if key is None else str(key)] = {
            model: summary([s for s in chosen if s.model == model])
            for model in dict.fromkeys(s.model for s in chosen)
        }
    return out


def parts_of(scores: Iterable[Score]) -> dict[str, list[Score]]:
    """Scores by part, in the order of their first one."""
    out: dict[str, list[Score]] = {}
    for s in scores:
        out.setdefault(s.part, []).append(s)
    return out


def models_of(scores: Iterable[Score]) -> list[str]:
    """Names of models in the order of their first score."""
    return list(dict.fromkeys(s.model for s in scores))


def to_csv(scores: Sequence[Score], measures: Sequence[Measure]) -> str:
    """A row for each frame and model; measures that could not be taken of it are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["part", "model", "scene", "look", "qp", "frame", *(m.key for m in measures)])
    for s in scores:
        figures = [repr(s.values[m.key]) if m.key in s.values else "" for m in measures]
        writer.writerow(
            [
                s.part,
                s.model,
                s.scene,
                s.look or "",
                "" if s.qp is None else s.qp,
                s.frame,
                *figures,
            ]
        )
    return out.getvalue()


def to_json(scores: Sequence[Score], measures: Sequence[Measure], absent: Mapping[str, str]) -> str:
    """Everything: titles of the measures, why others are absent, summaries, and all single scores.

    Infinity (PSNR of equal pictures) is null in JSON.
    """

    def plain(values: Mapping[str, float]) -> dict[str, float | None]:
        return {k: v if math.isfinite(v) else None for k, v in values.items()}

    def short(found: Mapping[str, Summary]) -> dict[str, Any]:
        return {
            m: {"frames": s.frames, "mean": plain(s.mean), "std": plain(s.std)}
            for m, s in found.items()
        }

    def part(mine: Sequence[Score]) -> dict[str, Any]:
        whole = {model: summary([s for s in mine if s.model == model]) for model in models_of(mine)}
        by = {
            f"by_{by}": {key: short(found) for key, found in groups(mine, by).items()}
            for by in GROUPINGS
        }
        return {"summary": short(whole), **by}

    data = {
        "measures": {m.key: m.title for m in measures},
        "absent": dict(absent),
        "parts": {name: part(mine) for name, mine in parts_of(scores).items()},
        "scores": [{**vars(s), "values": plain(s.values)} for s in scores],
    }
    return json.dumps(data, indent=1) + "\n"
