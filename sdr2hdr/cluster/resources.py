"""What a task asks of a machine, and what the machines of the cluster have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import ray

from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.run import Task
from sdr2hdr.render.tiles import frame_bytes

_PROCESS = 1 << 30
"""Bytes of a process with PyTorch, a decoder and an encoder, without pictures."""


@dataclass(frozen=True)
class Machine:
    """A live machine: what Ray may use of it."""

    cpus: float
    gpus: float
    memory: float


def machines() -> dict[str, Machine]:
    """The cluster's live machines, by their ids."""
    found = {}
    nodes: Any = ray.nodes  # without types, where Ray is installed
    for node in nodes():
        if node["Alive"]:
            has = node["Resources"]
            found[node["NodeID"]] = Machine(
                has.get("CPU", 0.0), has.get("GPU", 0.0), has.get("memory", 0.0)
            )
    return found


@dataclass(frozen=True)
class Share:
    """The part of a machine that renders one chunk: processors, GPUs, and bytes of main memory."""

    cpus: int
    gpus: float
    memory: int

    @classmethod
    def of(cls, task: Task, plan: Plan, workers: int, among: Iterable[Machine]) -> Self:
        """The share of a film's chunks, so that the smallest machine that can render it renders ``workers`` at a time.

        Without any such machine it is one processor and all the memory that a chunk needs, so that an autoscaler adds one.
        """
        on_gpu = plan.settings.device != "cpu"
        found = [m for m in among if m.cpus >= 1 and (m.gpus >= 1 or not on_gpu)]
        cpus = int(min((m.cpus for m in found), default=1)) // workers
        memory = _memory(task, plan, on_gpu=on_gpu)
        if found:
            memory = int(min(memory, max(m.memory for m in found)))
        return cls(max(1, cpus), 1 / workers if on_gpu else 0.0, memory)

    def options(self) -> dict[str, Any]:
        """As options of a Ray task."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory or None}

    def fits(self, machine: Machine) -> int:
        """The number of chunks that a machine renders at a time."""
        counts = [machine.cpus // self.cpus]
        if self.gpus:
            counts.append(machine.gpus // self.gpus)
        if self.memory:
            counts.append(machine.memory // self.memory)
        return int(min(counts))


def _memory(task: Task, plan: Plan, *, on_gpu: bool) -> int:
    """Bytes that a chunk needs, by the measure with which tiles are chosen (:mod:`sdr2hdr.render.tiles`)."""
    spec, height, width = task.spec, plan.encode.height, plan.encode.width
    model = spec.bytes_per_pixel * min(height * width, plan.tile**2)
    return _PROCESS + frame_bytes(height, width, spec) + (0 if on_gpu else model)
