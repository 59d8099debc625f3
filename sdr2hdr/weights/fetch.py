"""Finds a weight (bundled file, cache or download) and checks it against the manifest."""

import hashlib
import os
import shutil
from pathlib import Path

import platformdirs
from filelock import FileLock

from sdr2hdr.errors import ModelError
from sdr2hdr.weights import download
from sdr2hdr.weights.download import Progress
from sdr2hdr.weights.manifest import WeightEntry


def cache_folder() -> Path:
    """The folder for downloads; ``SDR2HDR_CACHE`` names another."""
    named = os.environ.get("SDR2HDR_CACHE")
    return (Path(named) if named else platformdirs.user_cache_path("sdr2hdr")) / "weights"


def offline() -> bool:
    """Whether the network must not be touched: ``SDR2HDR_OFFLINE`` or ``HF_HUB_OFFLINE`` is 1, true, yes or on."""
    values = (os.environ.get(name, "") for name in ("SDR2HDR_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in ("1", "true", "yes", "on") for value in values)


def place(entry: WeightEntry) -> Path:
    """The path of the file, now or after a download; nothing is checked."""
    return entry.file or cache_folder() / f"{entry.name}-{entry.sha256[:12]}.safetensors"


def locate(entry: WeightEntry, progress: Progress | None = None) -> Path:
    """The weight's file, downloaded if need be, with the size and the hash of the manifest; ModelError otherwise."""
    path = _here(entry, progress)
    check(path, entry)
    return path


def read(entry: WeightEntry) -> bytes:
    """The weight's bytes, downloaded if needed. The checked bytes are returned and not read a second time."""
    path = _here(entry)
    try:
        _check_size(path, entry)
        with path.open("rb") as file:
            data = file.read(entry.size + 1)
    except OSError as e:
        raise _unreadable(path, entry, e) from e
    if len(data) != entry.size:
        raise _other(path, entry, f"has not the {entry.size} bytes of")
    _check_hash(path, entry, hashlib.sha256(data).hexdigest())
    return data


def check(path: Path, entry: WeightEntry) -> None:
    """Raises ModelError unless the file has the entry's size (looked at first) and SHA-256."""
    try:
        _check_size(path, entry)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise _unreadable(path, entry, e) from e
    _check_hash(path, entry, found)


def pull(entry: WeightEntry, progress: Progress | None = None) -> Path:
    """Like ``locate``, but a spoilt file in the cache is thrown away and downloaded again."""
    path = place(entry)
    if entry.file is None and path.exists() and not offline():
        try:
            check(path, entry)
        except ModelError:
            path.unlink()
    return locate(entry, progress)


def _here(entry: WeightEntry, progress: Progress | None = None) -> Path:
    path = place(entry)
    if not path.exists():
        if entry.file is not None:
            raise ModelError(
                f"{path}: the file of weight {entry.name!r} is missing; {_way_out(entry)}."
            )
        _download(entry, path, progress)
    return path


def _download(entry: WeightEntry, path: Path, progress: Progress | None) -> None:
    if offline():
        raise ModelError(
            f"Weight {entry.name!r} is not in the cache ({path.parent}) and offline use is asked for; "
            f"run `sdr2hdr weights pull {entry.name}` once with a network."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # two workers must not write one part
            if not path.exists():
                _download_alone(entry, path, progress)
    except OSError as e:
        raise ModelError(
            f"{path}: the cache cannot be written ({e.strerror}); name another place in SDR2HDR_CACHE."
        ) from e


def _download_alone(entry: WeightEntry, path: Path, progress: Progress | None) -> None:
    """Downloads under another name, checks, and only then gives the file its name."""
    part, folder = path.with_suffix(".part"), path.with_suffix(".hub")
    if entry.hub:
        download.from_hub(entry.hub, folder, entry.size).replace(part)
        shutil.rmtree(folder)
    else:
        download.from_url(entry.source, part, entry.size, progress)
    try:
        check(part, entry)
    except ModelError:
        part.unlink()
        raise
    part.replace(path)


def _check_size(path: Path, entry: WeightEntry) -> None:
    size = path.stat().st_size
    if size != entry.size:
        raise _other(path, entry, f"has {size} bytes instead of the {entry.size} of")


def _check_hash(path: Path, entry: WeightEntry, found: str) -> None:
    if found != entry.sha256:
        raise _other(
            path, entry, f"has the SHA-256 {found[:12]}... instead of the {entry.sha256[:12]}... of"
        )


def _other(path: Path, entry: WeightEntry, how: str) -> ModelError:
    return ModelError(f"{path}: the file {how} weight {entry.name!r}; {_way_out(entry)}.")


def _unreadable(path: Path, entry: WeightEntry, error: OSError) -> ModelError:
    return ModelError(
        f"{path}: weight {entry.name!r} cannot be read ({error.strerror}); {_way_out(entry)}."
    )


def _way_out(entry: WeightEntry) -> str:
    if entry.bundled and entry.file:
        return "install sdr2hdr again"
    if entry.file:
        return f"put the right file there or correct {entry.manifest}"
    return f"delete it and run `sdr2hdr weights pull {entry.name}`"
