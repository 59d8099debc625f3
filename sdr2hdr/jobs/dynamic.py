"""What is written of each picture besides the static metadata, from the light of its scene."""

from collections.abc import Sequence
from itertools import pairwise

from sdr2hdr.color.light import LightFacts
from sdr2hdr.jobs.dovi import DoviTool, levels_of
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.media.dovi import DolbyRecord
from sdr2hdr.media.dynamic import Dynamic
from sdr2hdr.media.hdr10plus import TARGET, Hdr10Plus
from sdr2hdr.text import counted


def dynamic_metadata(plan: Plan, scenes: Sequence[LightFacts], dovi: DoviTool | None) -> Dynamic:
    """The dynamic metadata that a plan asks for, and those of Dolby Vision if there is a program for them.

    All pictures of a scene have the same, so no display pumps. Raises OutputError if the program fails.
    """
    pts = plan.survey.pts
    rpus = dovi.rpus(levels_of(plan, scenes), len(pts)) if dovi else ()
    return Dynamic(_messages(plan, scenes), dict(zip(pts, rpus, strict=bool(rpus))))


def _messages(plan: Plan, scenes: Sequence[LightFacts]) -> dict[int, bytes]:
    """The messages of HDR10+, if the plan asks for them."""
    if not plan.settings.hdr10plus:
        return {}
    pts = plan.survey.pts
    edges = [0, *plan.survey.cuts, len(pts)]
    messages: dict[int, bytes] = {}
    for (first, last), light in zip(pairwise(edges), scenes, strict=True):
        messages |= dict.fromkeys(pts[first:last], Hdr10Plus.of(light).message())
    return messages


def words(plan: Plan, *, dolby_vision: bool) -> tuple[str, ...]:
    """What is written, for people."""
    frames, scenes = len(plan.survey.pts), len(plan.survey.cuts) + 1
    on = f"on all {frames} frames, {counted(scenes, 'scene')}"
    found = []
    if plan.settings.hdr10plus:
        found.append(f"HDR10+ profile B {on}, with a curve for displays of {TARGET} nits")
    if dolby_vision:
        record = DolbyRecord.of(plan.encode.width, plan.encode.height, plan.encode.rate)
        found.append(f"Dolby Vision {record.words} {on}, with L1, L5 and L6")
    return tuple(found)
