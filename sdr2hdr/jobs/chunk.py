"""Renders one chunk: a function of the source, the plan's entry and the settings that leaves a chunk file and its facts."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from sdr2hdr.codecs import PQ
from sdr2hdr.color.light import LightFacts, LightMeter
from sdr2hdr.errors import InputError
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.prefetch import Prefetch, Stopwatch
from sdr2hdr.jobs.work import Work
from sdr2hdr.media.encoder import ChunkEncoder
from sdr2hdr.media.picture import Picture
from sdr2hdr.media.source import Source
from sdr2hdr.models.spec import State
from sdr2hdr.render.device import is_out_of_memory
from sdr2hdr.render.renderer import Renderer
from sdr2hdr.render.stream import Finished, open_stream
from sdr2hdr.weights.opened import Loaded

DEPTH = 4
"""Frames that wait between two stages."""


class TileTooLarge(Exception):
    """Memory ran out with the plan's tile size; a smaller tile may work."""


class FrameRenderer:
    """Renders the frames of a plan's chunks in this process, with one model, the chunks of a scene one after the other.

    ``busy`` is the seconds that each stage worked.
    """

    def __init__(self, source: Source, plan: Plan, loaded: Loaded) -> None:
        self.source, self.plan, self.spec = source, plan, loaded.spec
        width, height = source.info.size
        s = plan.settings
        renderer = Renderer(
            loaded.model,
            loaded.spec,
            (height, width),
            device=s.device,
            precision=s.precision,
            tile=plan.tile,
            grade=s.grade,
            peak=float(s.peak),
            aux=s.aux,
            exposures=s.times,
        )
        self.stream = open_stream(
            renderer, plan.encode.layout, channels=s.hdr10plus, hlg=s.transfer != PQ
        )
        self.busy = {"decode": Stopwatch(), "render": Stopwatch(), "encode": Stopwatch()}
        self._after: list[State] = []  # one per tile, after the last run

    @contextmanager
    def frames(self, index: int) -> Iterator[Iterator[Finished]]:
        """The frames of chunk ``index``, a few of them made ahead. Raises TileTooLarge."""
        with (
            Prefetch(lambda: self.busy["decode"].time(self._pictures(index)), DEPTH) as pictures,
            Prefetch(
                lambda: self.busy["render"].time(self._finished(index, pictures)), DEPTH
            ) as finished,
        ):
            yield finished

    def states_before(self, _index: int, _count: int) -> list[State]:
        """The states, one per tile, with which a chunk continues the scene of the chunk before it."""
        return self._after

    def _pictures(self, index: int) -> Iterator[Picture]:
        """The chunk's frames and their context, each exactly as planned."""
        runs = self.plan.chunks[index]
        lo, hi = runs[0].needs(self.spec)[0], runs[-1].needs(self.spec)[1]
        pts, combed = self.plan.survey.pts, self.plan.survey.combed
        frame = lo
        for picture in self.source.pictures(pts[lo], combed=combed):
            if picture.pts != pts[frame]:
                break
            yield picture
            frame += 1
            if frame == hi:
                return
        # seeking can fail in damaged files: read from the start, as the survey did, and skip frames that were returned
        for i, picture in enumerate(self.source.pictures(combed=combed)):
            if i >= hi or picture.pts != pts[i]:
                break
            if i >= frame:
                yield picture
                frame += 1
        if frame < hi:
            raise InputError(
                f"{self.source.path} reads differently than when it was planned (frame {frame}); it may have changed: "
                "delete the work folder next to the output and start again."
            )

    def _finished(self, index: int, pictures: Iterator[Picture]) -> Iterator[Finished]:
        """The chunk's frames."""
        pictures = self.busy["render"].wait(pictures)
        try:
            for run in self.plan.chunks[index]:
                look = self.plan.survey.look(run.scene_first)
                states = self.stream.renderer.new_states(
                    None if look is None else torch.tensor(look)
                )
                if run.first > run.scene_first:
                    states = self.states_before(index, len(states))
                    states = [
                        {k: v.to(self.stream.renderer.device) for k, v in s.items()} for s in states
                    ]
                settled = look is not None or not self.spec.stateful
                yield from self.stream.run(
                    pictures, run, states, self.plan.survey.pts, settled=settled
                )
                self._after = states
        except (RuntimeError, MemoryError) as e:
            if is_out_of_memory(e):
                raise TileTooLarge from e
            raise


class ChunkRenderer(FrameRenderer):
    """Renders chunks of one plan into its work folder."""

    def __init__(self, source: Source, plan: Plan, work: Work, loaded: Loaded) -> None:
        super().__init__(source, plan, loaded)
        self.work = work

    def states_before(self, index: int, count: int) -> list[State]:
        return self.work.read_states(index - 1, count)  # an earlier run may have rendered it

    def render(self, index: int, tick: Callable[[int], None]) -> None:
        """Render chunk ``index`` and record it; ``tick(frame)`` is called after each frame. Raises TileTooLarge."""
        pts, path = self.plan.survey.pts, self.work.chunk(index)
        light: list[LightFacts] = []  # of each run
        encode = self.busy["encode"]
        with (
            self.frames(index) as finished,
            ChunkEncoder(path, self.plan.encode) as encoder,
            self._aux_encoder(index) as aux_encoder,
        ):
            for run in self.plan.chunks[index]:
                meter = LightMeter()
                for frame in range(run.first, run.last):
                    made = next(finished)
                    with encode.working():
                        meter.add_light(made.light)
                        duration = self.plan.survey.duration(frame)
                        encoder.encode(made.planes, pts[frame], duration)
                        if aux_encoder is not None and made.restored is not None:
                            aux_encoder.encode(made.restored, pts[frame], duration)
                    tick(frame)
                light.append(meter.facts())
            # the render stage sets the states after its last frame
            if next(finished, None) is not None:
                raise AssertionError("more frames than planned")
            with encode.working():
                facts = encoder.close()
                aux = aux_encoder.close() if aux_encoder is not None else None
        run = self.plan.chunks[index][-1]
        self.work.finish(
            index, facts, light, self._after if run.last < run.scene_last else None, aux
        )

    def _aux_encoder(self, index: int) -> AbstractContextManager[ChunkEncoder | None]:
        if not self.plan.settings.aux:
            return nullcontext()
        return ChunkEncoder(self.work.chunk(index, aux=True), self.plan.aux_encode)
