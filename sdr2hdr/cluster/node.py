"""What runs on the machines of a cluster: a chunk, rendered in a folder of its own, and handed over."""

import platform
import shutil
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import ray
import torch

from sdr2hdr.cluster.files import Needed, place
from sdr2hdr.cluster.home import PIECE, answer
from sdr2hdr.errors import ModelError, OutputError, Sdr2HdrError
from sdr2hdr.jobs.chunk import ChunkRenderer
from sdr2hdr.jobs.folder import Folder
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.program import program
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.jobs.run import Busy, Task
from sdr2hdr.jobs.work import Work
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.weights import fetch
from sdr2hdr.weights.load import choose
from sdr2hdr.weights.opened import Loaded, open_model

_SCRATCH = "sdr2hdr-chunk-"


class Unfit(Exception):
    """This machine cannot render the film, whatever the chunk; the message says why."""


@dataclass(frozen=True)
class Job:
    """A film on the cluster. ``plan`` refers to the plan in the object store, ``home`` to the actor on the driver's machine;
    ``key`` is new for every plan. ``weights`` is the model's file, if it has one. ``token`` is a file of the work folder with a
    name that was never used before: a machine that sees it sees the folder."""

    key: str
    task: Task
    plan: "ray.ObjectRef[Plan]"
    source: Needed
    weights: Needed | None
    home: Any
    token: Path


@dataclass(frozen=True)
class Begun:
    """The first word of a task: where it runs."""

    node: str
    host: str
    processor: str


@dataclass(frozen=True)
class Piece:
    """A part of one of the chunk's files, in order."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Done:
    """The last word of a task: each stage's seconds at work, and the seconds of all from the task's begin."""

    busy: Busy
    seconds: float


Word = Begun | int | Piece | Done
"""What a task says; a number is that of further frames rendered."""

_opened: dict[str, ChunkRenderer] = {}
"""The film that this process has open; tasks of the same film follow each other in it."""


def render_chunk(
    job: Job, index: int, states: bytes | None, parts: Mapping[str, str], pulse: float
) -> Iterator[Word]:
    """Render chunk ``index`` and hand over its files: to the film's work folder under the names ``parts`` if this machine sees
    that folder and may write to it, else in pieces.

    ``states`` is the file of the states after the chunk before it, if it continues a scene. Frames are counted every ``pulse``
    seconds. Raises Unfit, and what :meth:`ChunkRenderer.render` raises.
    """
    since = time.monotonic()
    _go_on(job)
    here: Any = ray.get_runtime_context()  # without types, where Ray is installed
    yield Begun(here.get_node_id(), platform.node(), processor())
    torch.set_num_threads(int(here.get_assigned_resources()["CPU"]))
    renderer = _renderer(job)
    before = {name: watch.seconds for name, watch in renderer.busy.items()}
    with _scratch() as folder:
        work = Work(folder)
        if states is not None:
            with work.create(work.states_name(index - 1)) as file:
                file.write(states)
        renderer.work = work
        yield from _render(job, renderer, index, pulse)
        _go_on(job)
        with _work_folder(job) as shared:
            for name in work.names(renderer.plan, index):
                if shared is not None and _copied(folder / name, shared, parts[name]):
                    continue
                with (folder / name).open("rb") as file:
                    while data := file.read(PIECE):
                        yield Piece(name, data)
    busy = {name: watch.seconds - before[name] for name, watch in renderer.busy.items()}
    yield Done(busy, time.monotonic() - since)


@contextmanager
def _work_folder(job: Job) -> Iterator[Folder | None]:
    """The film's work folder, if this machine sees it."""
    try:
        folder = Folder(job.token.parent)
    except (OSError, OutputError):  # not there, or of another user
        yield None
        return
    try:
        yield None if folder.size(job.token.name) is None else folder
    finally:
        folder.close()


def _copied(made: Path, folder: Folder, name: str) -> bool:
    """Copy a file into a folder; False if the folder cannot be written from here."""
    try:
        with made.open("rb") as source, folder.create(name) as file:
            shutil.copyfileobj(source, file, PIECE)
    except OSError:
        return False
    return True


def _go_on(job: Job) -> None:
    """Raise InterruptedError if the film is no longer wanted."""
    try:
        over = answer(job.home.is_over.remote())
    except ray.exceptions.RayActorError:
        over = True
    if over:
        raise InterruptedError


def _render(job: Job, renderer: ChunkRenderer, index: int, pulse: float) -> Iterator[int]:
    """Render in a thread, so that frames can be counted, and a film that is no longer wanted stops at its next frame."""
    rendered, told, stop = 0, 0, threading.Event()

    def tick(_frame: int) -> None:
        nonlocal rendered
        rendered += 1
        if stop.is_set():
            raise InterruptedError

    with ThreadPoolExecutor(1) as pool:
        try:
            future = pool.submit(renderer.render, index, tick)
            while not future.done():
                wait([future], timeout=pulse)
                _go_on(job)
                now = rendered
                if now > told:
                    yield now - told
                    told = now
        finally:
            stop.set()
    future.result()


def _renderer(job: Job) -> ChunkRenderer:
    """The film's renderer, opened once in this process. Raises Unfit."""
    if job.key not in _opened or not _opened[job.key].source.path.exists():
        _opened.clear()
        keep_one_heap()
        plan = answer(job.plan)
        if plan.program != program():
            raise Unfit("it has another version of sdr2hdr or of a package under it")
        try:
            loaded = _model(job)
            source = open_source(place(job.source, job.home), plan.settings)
            with _scratch() as folder:
                _opened[job.key] = ChunkRenderer(source, plan, Work(folder), loaded)
        except (Sdr2HdrError, OSError) as e:
            raise Unfit(str(e).rstrip(".")) from e
    return _opened[job.key]


def _model(job: Job) -> Loaded:
    """The model with the driver's weights, wherever this machine has them."""
    task, weights = job.task, job.weights
    if weights is None:
        return task.open()
    with suppress(ModelError):
        entry = choose(task.model, task.weights)
        if entry is not None and weights.is_at(fetch.place(entry)):
            return task.open()
    return open_model(task.model, place(weights, job.home))


@contextmanager
def _scratch() -> Iterator[Path]:
    """A new folder on this machine's disk. Those that killed tasks have left are removed."""
    top = Path(gettempdir())
    for left in top.glob(f"{_SCRATCH}*"):
        with suppress(OSError, OutputError):  # in use, or of another user
            Folder.locked(left).remove()
    path = top / f"{_SCRATCH}{uuid.uuid4().hex}"
    folder = Folder.locked(path)
    try:
        yield path
    finally:
        folder.remove()


def processor() -> str:
    """The processor that computes here, in words that are equal for equal ones."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.machine()
    with suppress(OSError, IndexError):
        text = Path("/proc/cpuinfo").read_text("utf-8")
        name = text.split("model name", 1)[1].split(":", 1)[1].split("\n", 1)[0].strip()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def mixed(processors: Collection[str], precision: str) -> str | None:
    """A sentence for the report if chunks of these processors may differ, because sums of that precision depend on them."""
    if len(processors) < 2 or precision == "float32":
        return None
    return (
        f"Machines with different processors render this film in {precision} ({', '.join(sorted(processors))}), "
        "so pictures of their chunks may differ in the last bits; --precision float32 avoids that."
    )
