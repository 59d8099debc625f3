"""``sdr2hdr batch``: a folder."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from sdr2hdr.cli.batch_progress import Lines, Screen
from sdr2hdr.cli.options import conversion_options
from sdr2hdr.cli.screen import console, say, show_json
from sdr2hdr.errors import InputError, Interrupted, UsageError
from sdr2hdr.system import let_threads_sleep
from sdr2hdr.text import printable, time_text

if TYPE_CHECKING:
    from sdr2hdr.batch.plan import BatchPlan
    from sdr2hdr.batch.report import Row
    from sdr2hdr.options import Options

JOBS = 4
"""Files at a time on a cluster: while one is planned or assembled, the chunks of others are rendered."""


@click.command(
    epilog="Exit codes: 0 all went well, else that of the first file that failed: 3 a source, 4 a target or the disk, "
    "5 model or device; 130 stopped (run again to continue)."
)
@click.argument("source", type=click.Path(path_type=Path, readable=False), metavar="IN_DIR")
@click.argument("target", type=click.Path(path_type=Path, readable=False), metavar="OUT_DIR")
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Include only these names or paths. May be repeated.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out these names or paths. May be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and write nothing.")
@click.option(
    "--watch",
    is_flag=True,
    help="Go on: convert each new file once it has stopped growing, until Ctrl-C.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    show_default=f"1; {JOBS} with --cluster",
    help="Number of files to convert at the same time.",
)
@conversion_options("batch")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the report as JSON on standard output, and progress as JSON lines.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def batch(
    source: Path,
    target: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    dry_run: bool,
    watch: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Turn every SDR video in the folder IN_DIR and below into an HDR10 file in OUT_DIR, under the same path.

    A file is a video if it decodes as one. Finished, unchanged files are skipped, and a failure does not stop the others.
    You can stop a batch at any moment; the same command then continues. report.json and report.csv in OUT_DIR
    give the result for each file. An sdr2hdr.toml in a source folder sets options for that folder and the
    folders below it (docs/batch.md).

    \b
    Examples:
      sdr2hdr batch films/ films-hdr/
      sdr2hdr batch films/ films-hdr/ --dry-run
      sdr2hdr batch inbox/ films-hdr/ --watch
      sdr2hdr batch films/ films-hdr/ --model bt2446a --exclude 'extras/*' --jobs 2
      sdr2hdr batch films/ films-hdr/ --cluster auto
    """
    let_threads_sleep()
    from sdr2hdr.options import Options

    asked = Options(**options)
    jobs = jobs or (1 if asked.cluster is None else JOBS)
    batch_of = _Batch(source, target, asked, include, exclude, jobs, as_json, quiet)
    if watch:
        if dry_run:
            raise UsageError(
                "--dry-run shows a plan that ends, and --watch has none; give one of them."
            )
        _watch(batch_of)
    plan = batch_of.plan()
    if not plan.rows:
        raise InputError(
            f"{source} holds no video that was asked for ({plan.passed_over} other files)."
        )
    if dry_run and as_json:
        show_json({"files": [vars(row) for row in plan.rows]})
        return 0
    if dry_run:
        _print(console(), _plan_table(plan), plan.rows)
        return 0
    return batch_of.run(plan, plan.rows, ends=True)


@dataclass(frozen=True)
class _Batch:
    """What the command line asks for."""

    source: Path
    target: Path
    options: "Options"
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    jobs: int
    as_json: bool
    quiet: bool

    def plan(
        self, wanted: Callable[[Path], bool] = lambda _: True, *, strict: bool = True
    ) -> "BatchPlan":
        """The plan of all wanted files; what is wrong with a folder's options ends the batch if it is ``strict``."""
        from sdr2hdr.batch.plan import make_plan  # torch and av load here

        with Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            console=console(stderr=True),
            transient=True,
            disable=self.quiet or self.as_json,
        ) as bar:
            looking = bar.add_task("Looking at the files")
            return make_plan(
                self.source,
                self.target,
                self.options,
                self.include,
                self.exclude,
                lambda n: bar.update(looking, description=f"Looking at the files: {n}"),
                wanted,
                strict=strict,
            )

    def run(self, plan: "BatchPlan", rows: "list[Row]", *, ends: bool) -> int:
        """Convert the files of a plan and show the results of some ``rows``; returns the exit code. The report follows if
        the batch ``ends`` with them."""
        from sdr2hdr.batch.run import run_batch

        screen = Lines(plan) if self.as_json else Screen(plan, self.quiet)
        if isinstance(screen, Lines):
            for row in rows:
                if row.status != "planned":
                    screen.tell(row)
        with screen.shown():
            run_batch(plan, self.jobs, screen)
        if self.as_json and ends:
            show_json({"files": [vars(row) for row in rows], "machines": screen.far.speeds.facts()})
        elif not self.quiet and not self.as_json:
            _print(console(stderr=True), _table(rows), rows)
            if words := screen.far.speeds.words():
                say(f"Rendered on a cluster: {words}.")
        wrong = [row for row in rows if row.status not in ("done", "unchanged", "left out")]
        if wrong and not self.as_json:
            counted = f"{len(wrong)} of {len(rows)} files were not converted"
            say(f"{counted}; {self.target / 'report.csv'} says why.")
        return wrong[0].exit_code or 1 if wrong else 0


def _watch(asked: _Batch) -> NoReturn:
    """Convert what is in the folder and what arrives, until the user stops."""
    from sdr2hdr.batch.plan import check_folders
    from sdr2hdr.batch.run import held
    from sdr2hdr.batch.watch import Arrivals, check_watched, rounds

    arrivals = Arrivals()
    check_watched(asked.source)
    check_folders(asked.source, asked.target, asked.options)
    try:
        with held(asked.target):
            if not asked.quiet and not asked.as_json:
                say(f"Watching {printable(asked.source)}; Ctrl-C ends it.")
            for due in rounds(asked.source, asked.target, arrivals):
                plan = asked.plan(due.__contains__, strict=False)
                rows = [row for row in plan.rows if asked.source / row.source in due]
                if rows:
                    asked.run(plan, rows, ends=False)
                for row in rows:
                    if row.status == "waiting":
                        arrivals.put_off(asked.source / row.source, time.monotonic())
    except KeyboardInterrupt:
        pass
    raise Interrupted(f"Stopped watching {asked.source}; run the same command again to go on.")


def _cells(*words: str) -> list[Text]:
    return [Text(printable(w)) for w in words]  # no rich markup: names may hold brackets


def _plan_table(plan: "BatchPlan") -> Table:
    table = Table(title=Text(printable(f"{plan.source} to {plan.target}")), title_justify="left")
    table.add_column("File", overflow="fold")
    table.add_column("Plan")
    for name in ("Frames", "Length", "Time", "Disk"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in plan.rows:
        planned = row.status == "planned"
        known = planned and row.frames is not None
        table.add_row(
            *_cells(row.source, row.model if planned else row.status, _count(row.frames)),
            *_cells("" if row.length is None else time_text(row.length)),
            *_cells(
                f"about {time_text(plan.seconds(row))}" if known else "not known" if planned else ""
            ),
            *_cells(f"about {_size(plan.bytes(row))}" if known else "not known" if planned else ""),
        )
    todo = [plan.rows[i] for i in plan.todo]
    table.add_section()
    table.add_row(
        *_cells(
            f"{len(todo)} of {len(plan.rows)} videos", "", str(sum(r.frames or 0 for r in todo))
        ),
        *_cells(
            time_text(sum(r.length or 0 for r in todo)),
            f"about {time_text(sum(map(plan.seconds, todo)))}",
        ),
        *_cells(f"about {_size(sum(map(plan.bytes, todo)))}"),
    )
    return table


def _table(rows: "list[Row]") -> Table:
    table = Table()
    table.add_column("File", overflow="fold")
    table.add_column("Status", no_wrap=True)
    for name in ("Frames", "MaxCLL", "MaxFALL", "Time"):
        table.add_column(name, justify="right", no_wrap=True)
    colours = {"done": "green", "unchanged": "dim", "failed": "red", "waiting": "yellow"}
    for row in rows:
        figures = (
            (row.frames, row.max_cll, row.max_fall) if row.max_cll is not None else (None,) * 3
        )
        table.add_row(
            *_cells(row.source),
            Text(row.status, style=colours.get(row.status, "")),
            *_cells(*map(_count, figures), time_text(row.seconds) if row.seconds else ""),
        )
    return table


def _print(terminal: Console, table: Table, rows: "list[Row]") -> None:
    """The table, and below it the sentences of files, which are too long for a column."""
    terminal.print(table)
    for row in rows:
        if row.cause or row.lost:
            words = row.cause or f"{row.source}: converted, but for {row.lost}."
            if row.status != "failed" and row.cause:
                words = f"{row.source}: {words}"
            terminal.print(Text(f"{row.status}: {printable(words)}"))


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _size(count: float) -> str:
    return f"{count / 2**20:.3g} MiB" if count < 1000 * 2**20 else f"{count / 2**30:.3g} GiB"
