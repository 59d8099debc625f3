"""Renders a plan straight through in this process and hands every frame on: nothing is encoded, kept or resumed."""

import time
from collections.abc import Callable
from dataclasses import replace

from sdr2hdr.color.light import LightMeter
from sdr2hdr.errors import ModelError
from sdr2hdr.jobs.chunk import FrameRenderer, TileTooLarge
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Ticker, Watcher
from sdr2hdr.jobs.run import Here, Rendered, smaller_tile, tiles_shrink
from sdr2hdr.options import DEFAULTS, Options, declared
from sdr2hdr.render.stream import Planes

_OF_FILES = (
    "codec", "encoder", "crf", "preset", "container", "audio", "audio_track", "no_audio", "subtitle_track",
    "strict_streams", "workers", "chunk_frames", "keep_work", "fresh", "overwrite",
)  # fmt: skip
"""Options that decide nothing about frames."""


def frames_alone(options: Options) -> Options:
    """The options with the defaults of all that decide nothing about frames."""
    return options.changed(**{name: getattr(DEFAULTS, name) for name in _OF_FILES})


def idle(options: Options, what: str, *used: str) -> tuple[str, ...]:
    """A sentence that names the options given for nothing; ``used`` are those that ``what`` has a use for."""
    flags = [
        o.flag
        for o in declared()
        if o.name in _OF_FILES and o.name not in used and getattr(options, o.name) != o.default
    ]
    return (f"Not used for {what}: {', '.join(flags)}.",) if flags else ()


def render_straight(
    here: Here, plan: Plan, write: Callable[[Planes], None], progress: Watcher
) -> Rendered:
    """Call ``write`` with the planes of every frame, in order. While it blocks, rendering stops a few frames ahead.

    Raises whatever ``write`` raises, and ModelError if memory runs out.
    """
    since = time.monotonic()
    tick, meter, written = Ticker(plan, (), progress), LightMeter(), 0
    loaded, notes = here.model(), list[str]()
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
            notes.append(tiles_shrink(plan.tile, tile))
            plan = replace(plan, tile=tile)
            renderer = FrameRenderer(here.source, plan, loaded)
    seconds = time.monotonic() - since
    busy = {name: watch.seconds for name, watch in renderer.busy.items()}
    return Rendered(plan, 0, (meter.facts(),), seconds, busy, tuple(notes))
