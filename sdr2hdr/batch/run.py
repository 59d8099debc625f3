"""Runs a batch with one process per file, so that a crash affects only its own file."""

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from sdr2hdr.batch.plan import BatchPlan
from sdr2hdr.batch.report import Row, leads_out, write_rows
from sdr2hdr.cluster.driver import shared
from sdr2hdr.convert import convert
from sdr2hdr.errors import Interrupted, OutputError, Sdr2HdrError
from sdr2hdr.jobs.child import Child, begin
from sdr2hdr.jobs.folder import Folder
from sdr2hdr.jobs.progress import Progress
from sdr2hdr.jobs.report import Report
from sdr2hdr.jobs.work import Work, folder_for
from sdr2hdr.options import AUTO, Options

RESERVE = 64 << 20
"""Free bytes below which nothing more is written, so that the report still fits."""

_LOCK = ".sdr2hdr-batch"
"""A folder in the output folder, which the batch that writes there holds."""


@dataclass(frozen=True)
class Ended:
    """The end of a conversion: a report, or a sentence and an exit code."""

    report: Report | None
    words: str = ""
    exit_code: int = 0


@dataclass
class _Running:
    child: Child
    begun: float


def run_batch(plan: BatchPlan, jobs: int, progress: Callable[[int, Progress | None], None]) -> None:
    """Convert the planned files, ``jobs`` at a time, and set the rows to the results. On a cluster, the files that take longest
    begin first, and their chunks wait in the cluster's queue together.

    ``progress(index, moment)`` reports a file's progress, and None at its end. The reports are written at every change. A
    failure affects only its row; a full disk stops the batch. Raises OutputError if the folder cannot be written or another
    batch writes there, and Interrupted after Ctrl-C.
    """
    asked = next((o.cluster for o in plan.options if o.cluster is not None), None)
    with held(plan.target), shared(asked) as cluster:
        _Runner(plan, jobs, progress, cluster).run()


class _Runner:
    def __init__(
        self,
        plan: BatchPlan,
        jobs: int,
        progress: Callable[[int, Progress | None], None],
        cluster: str | None,
    ) -> None:
        self.plan, self.jobs, self.progress, self.cluster = plan, jobs, progress, cluster
        self.children: dict[int, _Running] = {}
        self.todo = plan.todo
        if cluster is not None:  # so that no long one is left alone at the end
            self.todo.sort(key=lambda index: plan.seconds(plan.rows[index]), reverse=True)
        self.threads = max(1, torch.get_num_threads() // jobs)

    def run(self) -> None:
        self._write()
        for row in self.plan.rows:
            if row.status == "unchanged":
                self._clear(row)
        try:
            while self.todo or self.children:
                if not self._disk_is_free():
                    self._stop(
                        "The disk is full; free some space and run the same command again to continue.",
                        4,
                    )
                    break
                while self.todo and len(self.children) < self.jobs:
                    self._begin(self.todo.pop(0))
                self._listen()
        except KeyboardInterrupt:
            self._stop("Stopped; run the same command again to continue.", 130)
            done = sum(row.status in ("done", "unchanged") for row in self.plan.rows)
            raise Interrupted(
                f"Stopped with {done} of {len(self.plan.rows)} files done; all that is finished is kept: "
                "run the same command again to continue."
            ) from None
        finally:
            self._stop("Stopped by an error; run the same command again to continue.", 4)

    def _write(self) -> None:
        write_rows(self.plan.target, self.plan.rows, self.plan.earlier)

    def _disk_is_free(self) -> bool:
        return shutil.disk_usage(self.plan.target).free >= RESERVE

    def _begin(self, index: int) -> None:
        row = self.plan.rows[index]
        options = self.plan.options[index]
        out = self.plan.target / row.output
        needed, free = (
            self.plan.bytes(row) * 3 // 2 + RESERVE,
            shutil.disk_usage(self.plan.target).free,
        )
        if free < needed:
            row.status, row.exit_code = "waiting", 4
            row.cause = f"It needs about {needed >> 20} MiB of disk and {free >> 20} are free; free some and run again."
        else:
            try:
                if leads_out(self.plan.target, row.output):
                    raise OSError(errno.ELOOP, "a link leads to another place")
                out.parent.mkdir(parents=True, exist_ok=True)
                options = options.changed(
                    overwrite=options.overwrite or row.ours, keep_work=True, cluster=self.cluster
                )
                row.status, row.ours = "converting", True
                self._write()
                self.children[index] = self._start(self.plan.source / row.source, out, options)
                return
            except OSError as e:
                row.status, row.exit_code, row.ours = "failed", 4, False
                row.cause = f"{out} cannot be written ({e.strerror}); check the folder."
        self._write()
        self.progress(index, None)

    def _start(self, source: Path, out: Path, options: Options) -> _Running:
        child = Child.start(_convert, source, out, options, self.threads)
        return _Running(child, time.monotonic())

    def _listen(self) -> None:
        for index, running in list(self.children.items()):
            child = running.child
            pipes = [c.child.pipe for c in self.children.values()]
            if child.pipe not in wait(pipes, timeout=0.5):
                continue
            try:
                message = child.pipe.recv()
            except (EOFError, OSError):
                child.process.join()
                message = Ended(
                    None,
                    "The process that converted it was ended, by the system perhaps because memory ran out; "
                    "run the same command again to continue, with fewer --jobs.",
                    5,
                )
            if isinstance(message, Ended):
                child.end()
                del self.children[index]
                self._end(index, message, time.monotonic() - running.begun)
            else:
                self.progress(index, message)

    def _end(self, index: int, ended: Ended, seconds: float) -> None:
        row = self.plan.rows[index]
        row.seconds = round(seconds, 2)
        out = self.plan.target / row.output
        if ended.report is None:
            row.status, row.cause, row.exit_code = "failed", ended.words, ended.exit_code
            row.ours = row.ours and out.exists()
        else:
            r = ended.report
            row.status, row.frames, row.width, row.height = "done", r.frames, r.width, r.height
            row.model = r.model if row.model == AUTO else row.model
            row.max_cll, row.max_fall, row.lost = r.max_cll, r.max_fall, r.loss or ""
            row.bytes, row.resumed = out.stat().st_size, r.resumed_chunks > 0
        self._write()  # the work folder is removed last, so that a kill in between loses nothing
        if row.status == "done":
            self._clear(row)
        self.progress(index, None)

    def _clear(self, row: Row) -> None:
        out = self.plan.target / row.output
        keep = any(
            o.keep_work for r, o in zip(self.plan.rows, self.plan.options, strict=True) if r is row
        )
        if not keep and folder_for(out).is_dir():
            with suppress(OutputError):  # another conversion has locked it
                Work.beside(out).close(remove=True)

    def _stop(self, cause: str, exit_code: int) -> None:
        """Stop the children at their next frame; unfinished files wait."""
        if not self.children and not self.todo:
            return
        for running in self.children.values():
            running.child.process.terminate()
        for running in self.children.values():
            running.child.end()
        for index in [*self.children, *self.todo]:
            row = self.plan.rows[index]
            row.status, row.cause, row.exit_code = "waiting", cause, exit_code
        self.children, self.todo = {}, []
        self._write()


_ours: set[Path] = set()
"""The folders that this process holds."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The output folder, created if needed and locked against other batches; the process that holds it may ask again."""
    if folder in _ours:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Folder.locked(folder / _LOCK)
    except BlockingIOError:
        raise OutputError(
            f"Another batch is writing to {folder} right now; wait for it or choose another folder."
        ) from None
    except OSError as e:
        raise OutputError(
            f"{folder} cannot be written ({e.strerror}); choose another folder."
        ) from e
    _ours.add(folder)
    try:
        yield
    finally:
        _ours.discard(folder)
        lock.remove()


def _convert(source: Path, out: Path, options: Options, threads: int, pipe: Connection) -> None:
    """The main function of a child process."""
    told = 0.0

    def tell(moment: Progress) -> None:
        nonlocal told
        if moment.note or time.monotonic() - told > 0.2:
            told = time.monotonic()
            pipe.send(moment)

    try:
        begin()
        torch.set_num_threads(threads)
        ended = Ended(convert(source, out, options=options, progress=tell))
    except (KeyboardInterrupt, Interrupted):
        ended = Ended(None, "Stopped; run the same command again to continue.", 130)
    except Sdr2HdrError as e:
        ended = Ended(None, str(e), e.exit_code)
    except Exception as e:  # the other files continue after any error
        what = f"{type(e).__name__}: {e}"
        ended = Ended(
            None,
            f"This is a bug in sdr2hdr: {what}; run convert --debug on this file and report it.",
            1,
        )
    pipe.send(ended)
