"""Which tests a system that is not Linux cannot run: found in their code, so that no test has to be marked."""

import os
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

POSIX = frozenset(
    (
        *("AF_UNIX", "SIGHUP", "SIGKILL", "SIGSTOP", "chmod", "closerange", "fork", "geteuid"),
        *("getuid", "kill", "mkfifo", "pthread_sigmask", "send_signal", "setrlimit", "symlink_to"),
    )
)
"""Names that only POSIX systems know, or know in the same sense."""

LINUX = frozenset(("/dev/", "/proc/", "bash"))
"""What the texts of tests for Linux hold: paths, and the shell."""

LACKING = (frozenset() if os.name == "posix" else POSIX) | (
    frozenset() if sys.platform == "linux" else LINUX
)
"""What this system does not have."""


def needs(test: Callable[..., Any]) -> set[str]:
    """What of ``POSIX`` and ``LINUX`` a test names, or a function or a text of its file that it uses."""
    words = set(_words(test.__code__, test.__globals__, set()))
    split = {part for word in words for part in word.replace("(", ".").split(".")}
    return set(POSIX & split) | {mark for mark in LINUX if any(mark in word for word in words)}


def _words(code: CodeType, module: dict[str, Any], seen: set[CodeType]) -> Iterator[str]:
    seen.add(code)
    yield from code.co_names
    used = [module.get(name) for name in code.co_names]
    for each in (*code.co_consts, *used):
        below = each.__code__ if isinstance(each, FunctionType) else each
        if isinstance(below, str):
            yield below
        elif isinstance(below, tuple):
            yield from (text for text in below if isinstance(text, str))
        elif isinstance(below, CodeType) and below not in seen:
            yield from _words(below, module, seen)
