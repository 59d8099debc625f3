"""Renders a plan straight through in this process and hands every frame on: nothing is encoded, kept or resumed."""

import time
from collections.abc import Callable
from dataclasses import replace

from sdr2hdr.color.light import LightMeter
from sdr2hdr.errors import ModelError
from sdr2hdr.jobs.chunk import FrameRenderer, TileTooLarge
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Ticker, Watcher
from sdr2hdr.jobs.run import Here, Rendered, smaller_tile
from sdr2hdr.render.stream import Planes


def render_straight(
    here: Here, plan: Plan, write: Callable[[Planes], None], progress: Watcher
) -> Rendered:
    """Call ``write`` with the planes of every frame, in order. While it blocks, rendering stops a few frames ahead.

    Raises whatever ``write`` raises, and ModelError if memory runs out.
    """
    since = time.monotonic()
    tick, meter, written = Ticker(plan, (), progress), LightMeter(), 0
    loaded = here.model()
    renderer = FrameRenderer(here.source, plan, loaded)
    while written < len(plan.survey.pts):
        try:
            for index in range(len(plan.chunks)):
                with renderer.frames(index) as frames:
                    for made in frames:
                        with renderer.busy["encode"].working():
                            meter.add_light(made.light)
                        write(made.planes)
                        written += 1
                        tick(1)
        except TileTooLarge as e:
            tile = smaller_tile(plan, loaded.spec, here.source.path)
            if written:
                raise ModelError(
                    f"Memory ran out rendering {here.source.path} after {written} frames were written; "
                    f"close other programs, or start again with --tile {tile}."
                ) from e
            plan = replace(plan, tile=tile)
            renderer = FrameRenderer(here.source, plan, loaded)
    seconds = time.monotonic() - since
    busy = {name: watch.seconds for name, watch in renderer.busy.items()}
    return Rendered(plan, 0, (meter.facts(),), seconds, busy)
