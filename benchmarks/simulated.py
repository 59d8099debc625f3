"""What a cluster of many machines would do: a simulation by discrete events, with the costs that ``benchmarks/scaling.py`` finds.

    python -m benchmarks.simulated

Prints the tables of lab/scaling.md. The simulation has one command, which plans a film, holds twice as many tasks as there are
nodes, reads the words of tasks, and assembles the film; nodes, which render a chunk at a time; and storage that all share.
It leaves out what Ray itself may take on clusters of that size.
"""

import heapq
import random
from dataclasses import dataclass, replace

from benchmarks.command import parser

FRAMES_A_SECOND = {
    "bt2408": 20.76, "bt2446a": 16.21, "look": 15.52, "wmnet": 1.34, "fmstfnet": 1.49, "kpnet": 0.83, "kpnet-light": 0.97,
    "didnet": 0.39, "didnet-tiny": 0.53,
}  # fmt: skip
"""Of a whole conversion at 960x540 on one core (lab/which-model.md); time grows with the pixels."""
PIXELS = {"1080p": 4, "2160p": 16}
"""Times the pixels of 960x540."""
HOUR = 86_400
"""Frames of an hour at 24 frames a second."""


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes. ``frame`` is a node's time to render a frame, ``jitter`` the share by which a chunk may take longer or
    shorter; ``chunk`` what a chunk adds on its node. The command takes ``sent`` for each chunk (to send it, and to receive and
    check its files), and ``flight`` for each task that it holds whenever it looks for words. ``scan`` and ``assemble`` are its
    times for a frame before and after rendering. Storage moves ``storage`` bytes a second, ``moved`` for each frame.
    """

    frame: float
    chunk: float
    sent: float
    flight: float
    scan: float
    assemble: float
    storage: float = 1.25e9
    moved: float = 100e3
    jitter: float = 0.2


@dataclass(frozen=True)
class Outcome:
    """Seconds of scanning, rendering and assembling a film, and the shares of the rendering in which each part was at work."""

    scan: float
    render: float
    assemble: float
    nodes: float
    head: float
    storage: float

    @property
    def seconds(self) -> float:
        return self.scan + self.render + self.assemble

    @property
    def limit(self) -> str:
        """What took longest: a serial part of the command, the command's handling of chunks, storage, the number of chunks or
        the nodes."""
        if self.scan + self.assemble > self.render:
            return "planning and assembly"
        if max(self.head, self.storage) > 0.9:
            return "head" if self.head > self.storage else "storage"
        return "nodes" if self.nodes > 0.7 else "too few chunks"


def simulate(costs: Costs, frames: int, chunk: int, nodes: int, seed: int = 1) -> Outcome:
    """Render ``frames`` in chunks of ``chunk`` on ``nodes`` machines."""
    rng = random.Random(seed)
    lengths = [chunk] * (frames // chunk) + [frames % chunk] * (frames % chunk > 0)
    unsent, queued, idle, held = len(lengths), 0, nodes, 0
    words = 0  # chunks that are done, of which the command has not heard
    head_free = storage_free = now = 0.0
    head_busy = storage_busy = nodes_busy = 0.0
    looking = False
    events: list[tuple[float, int, str, int]] = []  # time, order, kind, frames or words
    order = done = 0

    def at(time: float, kind: str, what: int) -> None:
        nonlocal order
        order += 1
        heapq.heappush(events, (time, order, kind, what))

    def look() -> None:
        """The command takes the words that have come, and sends as many tasks as it may hold."""
        nonlocal head_free, head_busy, looking, words
        send = min(unsent, 2 * nodes + 2 - (held - words))
        if looking or not (words or send > 0):
            return
        looking = True
        # half of what a chunk costs the command is for sending it
        takes = costs.flight * held + costs.sent / 2 * (words + max(send, 0))
        head_free = max(head_free, now) + takes
        head_busy += takes
        at(head_free, "looked", words)
        words = 0

    def begin() -> None:
        nonlocal queued, idle, nodes_busy
        while queued and idle:
            queued, idle = queued - 1, idle - 1
            length = lengths[len(lengths) - unsent - queued - 1]
            takes = costs.chunk + length * costs.frame * rng.uniform(
                1 - costs.jitter, 1 + costs.jitter
            )
            nodes_busy += takes
            at(now + takes, "rendered", length)

    look()
    while done < len(lengths):
        now, _, kind, what = heapq.heappop(events)
        if kind == "rendered":
            takes = what * costs.moved / costs.storage
            storage_free = max(storage_free, now) + takes
            storage_busy += takes
            at(storage_free, "written", what)
        elif kind == "written":
            idle, words = idle + 1, words + 1
            begin()
        else:
            looking = False
            done, held = done + what, held - what
            send = min(unsent, 2 * nodes + 2 - held)
            unsent, queued, held = unsent - send, queued + send, held + send
            begin()
        look()
    return Outcome(
        frames * costs.scan,
        now,
        frames * costs.assemble,
        nodes_busy / (now * nodes),
        head_busy / now,
        storage_busy / now,
    )


def main() -> None:
    options = parser(__doc__)
    for name, help_ in (
        ("chunk", "seconds that a chunk adds on its node"),
        ("sent", "seconds of the command for a chunk"),
        ("flight", "seconds of the command for a task that it holds, at each look"),
        ("scan", "seconds of the command for a frame of 1080p before rendering"),
        ("assemble", "seconds of the command for a frame after rendering"),
    ):
        options.add_argument(f"--{name}", type=float, default=getattr(MEASURED, name), help=help_)
    args = options.parse_args()
    costs = replace(MEASURED, **vars(args))
    for size, times in PIXELS.items():
        print(f"\n| {size}: nodes | " + " | ".join(FRAMES_A_SECOND) + " |")
        print("|---|" + "---|" * len(FRAMES_A_SECOND))
        for nodes in (1, 10, 100, 1000, 10_000):
            cells = []
            for rate in FRAMES_A_SECOND.values():
                here = replace(costs, frame=times / rate, scan=costs.scan * times / 4)
                found = simulate(here, HOUR, 96, nodes)
                cells.append(f"{found.seconds / 3600:.1f} h, {found.limit}")
            print(f"| {nodes} | " + " | ".join(cells) + " |")
        hours = (f"{HOUR * times / rate / 3600:.3g}" for rate in FRAMES_A_SECOND.values())
        print("| node hours | " + " | ".join(hours) + " |")
    print("\n| chunk, frames | " + " | ".join(f"{n} nodes" for n in (10, 100, 1000, 10_000)) + " |")
    print("|---|---|---|---|---|")
    for chunk in (8, 24, 48, 96, 192, 480):
        here = replace(costs, frame=PIXELS["1080p"] / FRAMES_A_SECOND["wmnet"])
        found_ = [simulate(here, HOUR, chunk, n) for n in (10, 100, 1000, 10_000)]
        print(f"| {chunk} | " + " | ".join(f"{f.render / 60:.3g} min" for f in found_) + " |")


MEASURED = Costs(frame=3.0, chunk=0.32, sent=0.027, flight=1.7e-6, scan=0.05, assemble=0.0015)
"""Some of these were measured, others are assumed: lab/scaling.md says which."""

if __name__ == "__main__":
    main()
