"""Joins a Ray cluster, or starts one on this machine alone."""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from sdr2hdr.errors import ModelError, UsageError

if TYPE_CHECKING:
    from sdr2hdr.cluster.executor import Cluster

LOCAL = "local"


@contextmanager
def joined(address: str, workers: int) -> Iterator["Cluster"]:
    """The executor of a cluster: that of this machine (``auto``), one that lives as long as the block (``local``), or the one
    whose head has the address ``HOST:PORT``.

    ``workers`` is the number of chunks that the smallest machine renders at a time. A connection that the process has
    already is used, and kept. Raises UsageError without Ray, and ModelError if the cluster cannot be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # else it warns of a change to come
    try:
        import ray

        from sdr2hdr.cluster.executor import Cluster
    except ImportError as e:
        raise UsageError(
            "--cluster needs Ray, which is not installed: pip install 'sdr2hdr[cluster]'."
        ) from e
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is a Ray Client address; run the command on a machine of the cluster and give --cluster auto."
        )
    if ray.is_initialized():
        yield Cluster(workers)
        return
    with _folder() if address == LOCAL else nullcontext() as folder:
        try:
            _join(ray, address, folder)
            yield Cluster(workers)
        finally:
            ray.shutdown()


@contextmanager
def shared(address: str | None) -> Iterator[str | None]:
    """The address under which several processes join one cluster: for ``local``, a cluster that lives as long as the block.

    Raises as :func:`joined` does.
    """
    if address != LOCAL:
        yield address
        return
    with joined(LOCAL, 1):
        import ray

        yield ray.get_runtime_context().gcs_address


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
        raise ModelError(
            f"The Ray cluster {address!r} cannot be joined ({why}); start one with `ray start --head`, "
            "or use --cluster local."
        ) from e
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray takes the signal over
