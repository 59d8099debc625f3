"""The progress of a batch: bars for people, JSON lines for programs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from sdr2hdr.cli.convert import STAGES
from sdr2hdr.cli.screen import console, say
from sdr2hdr.text import json_text, printable

if TYPE_CHECKING:
    from sdr2hdr.batch.plan import BatchPlan
    from sdr2hdr.batch.report import Row
    from sdr2hdr.jobs.progress import Progress

SHARES = {
    "scan": (0.0, 0.1),
    "render": (0.1, 0.88),
    "assemble": (0.98, 0.01),
    "check": (0.99, 0.01),
}
"""Approximate start and share of each stage in a file's progress."""


class Far:
    """How far a batch is: the share of each file that is done, weighed by its estimated time, and the machines' speeds."""

    def __init__(self, plan: "BatchPlan") -> None:
        from sdr2hdr.jobs.progress import Speeds  # torch loads here

        self.weights = {i: max(plan.seconds(plan.rows[i]), 0.01) for i in plan.todo}
        self.shares = dict.fromkeys(self.weights, 0.0)
        self.speeds = Speeds()

    def see(self, index: int, moment: "Progress | None") -> None:
        """Take a moment of a file; None is its end."""
        if moment is None:
            self.shares[index] = 1.0
            return
        self.speeds.see(moment.machines, index)
        if not moment.note:
            start, share = SHARES[moment.stage]
            self.shares[index] = start + share * moment.done / max(moment.total, 1)

    @property
    def done(self) -> float:
        """The estimated seconds of what is done."""
        return sum(self.weights[i] * share for i, share in self.shares.items())

    @property
    def total(self) -> float:
        """The estimated seconds of all."""
        return sum(self.weights.values()) or 1.0

    @property
    def ended(self) -> int:
        """The number of files that have ended."""
        return sum(share == 1.0 for share in self.shares.values())


class Screen:
    """One bar for the whole folder, by estimated time, and one for each file at work."""

    def __init__(self, plan: "BatchPlan", quiet: bool) -> None:
        self.plan, self.far = plan, Far(plan)
        self.bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console(stderr=True),
            disable=quiet,
        )
        self.whole = self.bar.add_task("", total=self.far.total)
        self.tasks: dict[int, Any] = {}
        self.told: set[str] = set()  # a note that holds for every film is shown once
        self._show()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the progress of the block."""
        with self.bar:
            yield

    def __call__(self, index: int, moment: "Progress | None") -> None:
        self.far.see(index, moment)
        if moment is not None and moment.note:
            if moment.note not in self.told and not self.bar.disable:
                said = printable(f"{self.plan.rows[index].source}: {moment.note}")
                self.bar.console.print(Text(said))
            self.told.add(moment.note)
            return
        if moment is None:
            if index in self.tasks:
                self.bar.remove_task(self.tasks.pop(index))
        else:
            if index not in self.tasks:
                self.tasks[index] = self.bar.add_task("", total=1.0)
            text = f"  {printable(self.plan.rows[index].source)}: {STAGES[moment.stage].lower()}"
            self.bar.update(self.tasks[index], completed=self.far.shares[index], description=text)
        self._show()

    def _show(self) -> None:
        text = f"{self.far.ended} of {len(self.far.shares)} files"
        if rates := self.far.speeds.rates():
            text += f", {len(rates)} machines, {sum(rates.values()):.3g} frames/s"
        self.bar.update(self.whole, completed=self.far.done, description=text)


class Lines:
    """JSON lines on standard error: one for each note, for each end of a file, and at most one per hundredth of a file."""

    def __init__(self, plan: "BatchPlan") -> None:
        self.plan, self.far = plan, Far(plan)
        self.last: dict[int, tuple[str, int]] = {}

    def shown(self) -> AbstractContextManager[None]:
        """The block whose progress is written."""
        return nullcontext()

    def tell(self, row: "Row") -> None:
        """What became of a file."""
        say(json_text({"event": "file", **vars(row), "whole": self._whole()}))

    def __call__(self, index: int, moment: "Progress | None") -> None:
        row = self.plan.rows[index]
        self.far.see(index, moment)
        if moment is not None and moment.note:
            say(json_text({"event": "note", "file": row.source, "note": moment.note}))
            return
        if moment is None:
            self.tell(row)
            return
        here = moment.stage, int(100 * self.far.shares[index])
        if self.last.get(index) != here:
            self.last[index] = here
            stage = {"stage": moment.stage, "done": moment.done, "total": moment.total}
            say(
                json_text(
                    {"event": "progress", "file": row.source, **stage, "whole": self._whole()}
                )
            )

    def _whole(self) -> dict[str, Any]:
        far = self.far
        return {
            "files": len(far.shares),
            "ended": far.ended,
            "share": far.done / far.total,
            "machines": far.speeds.facts(),
        }
