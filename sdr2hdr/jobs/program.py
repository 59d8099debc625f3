"""A hash of the program: a work folder is resumed only by the code that began it."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sdr2hdr.kernels.compiled import why_not

ROOMS = ("color", "kernels", "media", "scenes", "models", "looks", "weights", "render", "jobs")
"""The rooms whose code decides frames, cuts and packets: ``jobs`` and what it imports."""
PACKAGES = ("torch", "av", "numpy", "numba", "msgspec", "OpenEXR")


@cache
def program() -> str:
    """The SHA-256 of the sources that decide pixels and packets, and of the versions of the packages under them.

    A release number would not do: it stays the same while code changes. Computed once in a process.
    """
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(p for room in ROOMS for p in (package / room).rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    # pictures of compiled kernels and of torch differ by one code in a few pixels
    digest.update(repr(why_not() is None).encode())
    digest.update(repr([(name, _version(name)) for name in PACKAGES]).encode())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
