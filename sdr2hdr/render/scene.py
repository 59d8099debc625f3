"""A scene, or a run of its frames, rendered as a conversion renders it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal

from torch import Tensor

from sdr2hdr.render.looks import scene_look
from sdr2hdr.render.renderer import Renderer, Run


def render_scene(
    renderer: Renderer,
    frames: Callable[[], Iterable[Tensor]],
    run: Run,
    look: Tensor | Literal["read"] | None = "read",
) -> Iterator[Tensor]:
    """Yield the PQ codes ``3,H,W`` (6 channels with ``aux``) of the frames of a run, float32 on the CPU.

    ``frames`` starts the frames of the run's scene, R'G'B' ``3,H,W`` from ``run.scene_first`` on. It is called once to render
    and, unless ``look`` is given, once more before that to read the scene's look as a conversion does. ``look`` (V) is what
    :class:`~sdr2hdr.render.looks.SceneLooks` read, or None for a scene that follows its frames instead.
    """
    if isinstance(look, str):
        reads = renderer.spec.look and not renderer.exposures
        scene = islice(frames(), run.scene_last - run.scene_first) if reads else ()
        look = scene_look(renderer.model, renderer.spec, scene, run.scene_first, renderer.grade)
    low, high = run.needs(renderer.spec)
    needed = islice(frames(), low - run.scene_first, high - run.scene_first)
    yield from renderer.run(needed, run, renderer.new_states(look))
