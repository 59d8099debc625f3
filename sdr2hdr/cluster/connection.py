"""Joins a Ray cluster, or starts one on this machine alone."""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from sdr2hdr.errors import ModelError, UsageError

AUTO, LOCAL = "auto", "local"
AUTH = "RAY_AUTH_MODE"
"""The variable that says whether a cluster asks for a token. Ray sets it as it starts a cluster, and reads it once, as it is
imported."""
_ANSWER = 5.0
"""Seconds in which a head takes a connection."""


def is_connected() -> bool:
    """Whether this process has joined a cluster itself."""
    return sys.modules.get("ray") is not None and bool(sys.modules["ray"].is_initialized())


def check(address: str) -> None:
    """Raise UsageError without Ray, and for an address that cannot be used; ModelError if nothing answers there."""
    if find_spec("ray") is None:
        raise UsageError(
            "--cluster needs Ray, which is not installed: pip install 'sdr2hdr[cluster]'."
        )
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is a Ray Client address; run the command on a machine of the cluster and give --cluster auto."
        )
    if address in (AUTO, LOCAL):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(
            f"--cluster takes auto, local or HOST:PORT, and {address!r} is none of them."
        )
    try:  # Ray itself would try for minutes
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()
    except (OSError, OverflowError) as e:
        raise cannot_join(address, getattr(e, "strerror", None) or str(e)) from e


def cannot_join(address: str, why: str) -> ModelError:
    """The error for people."""
    return ModelError(
        f"The Ray cluster {address!r} cannot be joined ({why}); start one with `ray start --head`, or use --cluster local."
    )


@contextmanager
def connected(address: str) -> Iterator[str]:
    """Joins a cluster in this process, as :func:`sdr2hdr.cluster.driver.joined` does in another, and gives the address of its
    head.

    Raises ModelError if the cluster cannot be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # else it warns of a change to come
    import ray

    with _folder() if address == LOCAL else nullcontext() as folder:
        try:
            _join(ray, address, folder)
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()


@contextmanager
def _folder() -> Iterator[str]:
    """A folder for all files of a cluster that ends with the block; processes that start in the block take it for temporary
    files."""
    with tempfile.TemporaryDirectory(prefix="sdr2hdr-", ignore_cleanup_errors=True) as folder:
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = folder
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


def _join(ray: Any, address: str, folder: str | None) -> None:
    how = {} if folder is None else {"_temp_dir": folder, "include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, **how, configure_logging=False, log_to_driver=False)
    except Exception as e:  # of many kinds
        why = " ".join(str(e).split(". ")[0].split()).rstrip(".")
        if "auth" in why.lower():
            why += "; set RAY_AUTH_MODE=token, and have the head's ~/.ray/auth_token here (docs/cluster.md)"
        raise cannot_join(address, why) from e
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray takes the signal over
