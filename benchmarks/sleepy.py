"""A stage that sleeps after each frame, in the processes of ``benchmarks/scaling.py`` and in all that they start.

Two environment variables tell these processes: how long to sleep, and whether to send chunks that could be written.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping

from sdr2hdr.cluster import executor, node
from sdr2hdr.jobs.chunk import ChunkRenderer

SLEEP = "SDR2HDR_BENCHMARK_SLEEP"
SEND = "SDR2HDR_BENCHMARK_SEND"
_render = ChunkRenderer.render


def begin(seconds: float) -> None:
    """Sleep from now on, here and in every process that is started."""
    os.environ[SLEEP] = str(seconds)
    ChunkRenderer.render = _sleepy  # type: ignore[method-assign]
    executor.render_chunk = render_chunk  # type: ignore[attr-defined]


def _sleepy(self: ChunkRenderer, index: int, tick: Callable[[int], None]) -> None:
    seconds = float(os.environ[SLEEP])

    def slowly(frame: int) -> None:
        time.sleep(seconds)
        tick(frame)

    _render(self, index, slowly)


def render_chunk(
    job: node.Job, index: int, states: bytes | None, parts: Mapping[str, str], pulse: float
) -> Iterator[node.Word]:
    """The task of the cluster: a worker of Ray imports this module for it, and sleeps."""
    if SEND in os.environ:
        parts = dict.fromkeys(parts, "no/such/folder")
    yield from node.render_chunk(job, index, states, parts, pulse)


if SLEEP in os.environ:
    begin(float(os.environ[SLEEP]))
