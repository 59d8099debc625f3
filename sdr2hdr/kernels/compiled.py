"""How kernels are compiled and kept: by numba, in a cache folder of the user.

Kernels release the interpreter's lock and use no threads of numba's: :mod:`sdr2hdr.kernels.bands` runs them on bands of rows.
Nothing is compiled with fast-math, so that a result depends neither on the processor nor on how rows are shared out.
"""

import hashlib
import importlib
import importlib.util
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

SWITCH = "SDR2HDR_KERNELS"
"""The environment variable that, set to ``off``, leaves all arithmetic to torch."""

SLOW_GATHERS = ("znver1", "znver2", "znver3", "znver4")
"""LLVM's names of the processors on which table look-ups are quicker without gathers; measured on Zen 4."""

_PATIENCE = 10
"""Seconds that a process waits for another one that keeps compiled code."""

F = TypeVar("F", bound=Callable[..., Any])


@cache
def switched_off() -> str | None:
    """By which environment variable somebody has switched kernels off, in one sentence; None where nobody has."""
    for name, is_off in (
        (SWITCH, os.environ.get(SWITCH, "").lower() in ("off", "0", "no")),
        ("NUMBA_DISABLE_JIT", os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")),
    ):
        if is_off:
            return f"The compiled kernels are switched off by {name}, so converting takes longer; unset it to use them."
    return None


@cache
def why_not() -> str | None:
    """Why kernels cannot be used here, in one sentence; None if they can."""
    if (switch := switched_off()) is not None:
        return switch
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed, so nothing is compiled and converting takes longer; pip install numba."
    try:
        import numba  # noqa: F401 - a broken installation fails only when it is loaded
    except Exception as e:
        return f"numba does not load here ({e}), so nothing is compiled and converting takes longer; reinstall numba."
    return None


@cache
def cache_folder() -> Path | None:
    """The folder for compiled kernels of these sources; None if none can be written."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        # numba looks at the file of a kernel alone, not at those of the functions that the kernel calls
        sources.update(path.read_bytes())
    folder = _user_folder() / "kernels" / sources.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return None
    return folder


def _user_folder() -> Path:
    import platformdirs  # here, so that a machine that compiles nothing does not need it

    return Path(platformdirs.user_cache_dir("sdr2hdr", appauthor=False))


def why_not_kept() -> str | None:
    """Why compiled kernels are not kept for the next start, in one sentence; None if they are."""
    if why_not() is not None or cache_folder() is not None:
        return None
    folder = _user_folder()
    return f"Compiled kernels cannot be kept in {folder}, so every start compiles them again; make it writable."


def drawback() -> str | None:
    """What makes converting slower here than it could be, in one sentence; None if nothing does, or if somebody wanted it."""
    return None if switched_off() is not None else why_not() or why_not_kept()


class _Clock:
    """Adds up the time that numba compiles, by its events; kernels compile the functions that they call inside of it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth, self._since = 0, 0.0

    @property
    def is_running(self) -> bool:
        return self._depth > 0

    def start(self) -> None:
        self._since = self._since if self._depth else time.monotonic()
        self._depth += 1

    def stop(self) -> None:
        self._depth -= 1
        self.seconds += 0.0 if self._depth else time.monotonic() - self._since


_clock = _Clock()


def is_compiling() -> bool:
    """Whether a kernel is being compiled at this moment."""
    return _clock.is_running


def seconds_compiling() -> float:
    """How long kernels have been compiled in this process; 0 where all came from the cache folder."""
    return _clock.seconds


@cache
def _watch() -> None:
    events: Any = importlib.import_module("numba.core.event")

    class Ear(events.Listener):  # type: ignore[misc]
        def on_start(self, _event: object) -> None:
            _clock.start()

        def on_end(self, _event: object) -> None:
            _clock.stop()

    events.register("numba:compile", Ear())


def kernel(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function that Python calls, when it is first called with arguments of a kind."""
    return _jit(function, keep=cache_folder())


def row(function: F) -> F:
    """Compile a function that kernels call on rows of pixels. No two of its arrays may overlap: loops become vector code."""
    return _jit(function, keep=None)


@cache
def _numba() -> Any:
    numba = importlib.import_module("numba")
    _suit_the_processor(numba.config)
    return numba


def _suit_the_processor(config: Any) -> None:
    """Choose what LLVM leaves as it is, unless somebody has chosen a processor.

    LLVM keeps to half of the width of AVX-512 on all of Intel's processors, because the first ones that have it, up to Cascade
    Lake, slow down for the other half. AMD's up to Zen 4 fetch several words of a table at once (a gather) more slowly than one
    by one.
    """
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        return
    codegen: Any = importlib.import_module("numba.core.codegen")
    llvm: Any = importlib.import_module("llvmlite.binding")
    features = codegen.get_host_cpu_features()
    wanted = ["-prefer-256-bit"] if "+avx512vbmi2" in features else []
    wanted += ["+prefer-no-gather"] if llvm.get_host_cpu_name() in SLOW_GATHERS else []
    if wanted:
        config.CPU_FEATURES = ",".join([features, *wanted])


def _jit(function: F, keep: Path | None) -> F:
    numba = _numba()
    compiler: Any = importlib.import_module("numba.core.compiler")
    _watch()

    class NoAlias(compiler.Compiler):  # type: ignore[misc]
        """Lets the optimiser assume that a function's arrays do not overlap."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.state.flags.noalias = True

    if keep is not None and not os.environ.get("NUMBA_CACHE_DIR"):
        numba.config.CACHE_DIR = str(keep)
    compiled: F = numba.njit(
        nogil=True, error_model="numpy", cache=keep is not None, pipeline_class=NoAlias
    )(function)
    if keep is not None:
        kept = cast(Any, compiled)._cache._cache_file
        kept.load, kept.save = one_at_a_time(keep, kept.load), one_at_a_time(keep, kept.save)
    return compiled


def one_at_a_time(folder: Path, work: Callable[..., Any]) -> Callable[..., Any]:
    """``work``, which at any time one process alone does in a folder, where its file system has locks.

    numba numbers the files of compiled code. Of two processes that keep code for two kinds of arrays at once, both may take the
    same number, and a third one would run code for other arrays than its own.
    """
    try:
        from filelock import FileLock
    except ImportError:  # a machine with PyTorch alone
        return work
    lock = FileLock(folder / ".lock", timeout=_PATIENCE)

    def alone(*args: Any) -> Any:
        with ExitStack() as held:
            with suppress(Exception):  # a file system or a system without locks
                held.enter_context(lock)
            return work(*args)

    return alone
