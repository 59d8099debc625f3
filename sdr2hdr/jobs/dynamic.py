"""What is written of each picture besides the static metadata, from the light of its scene."""

from collections.abc import Sequence
from itertools import pairwise

from sdr2hdr.color.light import LightFacts
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.media.dynamic import Dynamic
from sdr2hdr.media.hdr10plus import TARGET, Hdr10Plus


def dynamic_metadata(plan: Plan, scenes: Sequence[LightFacts]) -> Dynamic:
    """The dynamic metadata that a plan asks for. All pictures of a scene have the same, so no display pumps."""
    if not plan.settings.hdr10plus:
        return Dynamic()
    pts = plan.survey.pts
    edges = [0, *plan.survey.cuts, len(pts)]
    messages: dict[int, bytes] = {}
    for (first, last), light in zip(pairwise(edges), scenes, strict=True):
        messages |= dict.fromkeys(pts[first:last], Hdr10Plus.of(light).message())
    return Dynamic(messages)


def words(plan: Plan) -> tuple[str, ...]:
    """What is written, for people."""
    if not plan.settings.hdr10plus:
        return ()
    frames, scenes = len(plan.survey.pts), len(plan.survey.cuts) + 1
    many = "1 scene" if scenes == 1 else f"{scenes} scenes"
    return (
        f"HDR10+ profile B on all {frames} frames, {many}, with a curve for displays of {TARGET} nits",
    )
