"""``weights.toml``: the weights, their sources, and their sizes and hashes."""

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import platformdirs
from msgspec import Meta

from sdr2hdr.errors import InputError, ModelError
from sdr2hdr.reading import read_toml
from sdr2hdr.typed import typed

BUNDLED = Path(__file__).with_name("weights.toml")
FILES = Path(__file__).with_name("files")

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAMES = "a name is made of a-z, 0-9, dots, dashes and underscores"
_PART = (
    r"[A-Za-z0-9_-][A-Za-z0-9._-]*"  # of a path on the hub: neither empty nor starting with a dot
)
_OPTIONAL = ("config", "scores", "default")  # left out of a table if there is nothing to say
_HUB = re.compile(
    rf"hf:(?P<repo>{_PART}/{_PART})@(?P<revision>{_PART})/(?P<file>(?:{_PART}/)*{_PART}\.safetensors)"
)


@dataclass(frozen=True)
class HubFile:
    """A file on the Hugging Face hub at one revision."""

    repo: str
    revision: str
    file: str


Text = Annotated[str, Meta(pattern=r"\S")]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A weight's table in a manifest. ``size`` is in bytes, ``sha256`` 64 lower-case hex digits.

    ``config`` goes to the model's constructor; ``scores`` is what was measured, by name.
    """

    model: Text
    source: Text
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(gt=0)]
    licence: Text
    data: Text
    recipe: Text
    commit: Text
    config: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class WeightEntry(Facts):
    """One weight: its facts, its name, and the ``manifest`` that names it."""

    name: str
    manifest: Path

    @property
    def file(self) -> Path | None:
        """The local file that ``source`` names, or None if the weight has to be downloaded."""
        if not self.source.startswith("file:"):
            return None
        return (FILES if self.bundled else self.manifest.parent) / self.source.removeprefix("file:")

    @property
    def hub(self) -> HubFile | None:
        """The hub file that ``source`` names, if it names one."""
        match = _HUB.fullmatch(self.source)
        return HubFile(**match.groupdict()) if match else None

    @property
    def bundled(self) -> bool:
        """Whether the entry comes with sdr2hdr."""
        return self.manifest == BUNDLED

    def facts(self) -> dict[str, Any]:
        """The entry as plain JSON values, its name first."""
        return asdict(self) | {"manifest": str(self.manifest)}

    def to_toml(self) -> str:
        """The entry as a table for a ``weights.toml``."""
        import tomlkit  # to write alone

        table = {f.name: getattr(self, f.name) for f in fields(Facts)}
        return tomlkit.dumps(
            {self.name: {k: _one_line(v) for k, v in table.items() if v or k not in _OPTIONAL}}
        )


def hub_file(source: str) -> HubFile:
    """The file of the hub that a source names; raises ModelError if it names none."""
    match = _HUB.fullmatch(source)
    if match is None:
        raise ModelError(
            f"{source} names no file of the hub; write hf:owner/repo@revision/path/NAME.safetensors."
        )
    return HubFile(**match.groupdict())


def allowed_url(url: str) -> bool:
    """Whether a file may be fetched from there: https, or plain http from this very machine (for tests and mirrors)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")


def user_manifest() -> Path:
    """The user's own manifest, which need not exist; ``SDR2HDR_WEIGHTS`` names another file."""
    named = os.environ.get("SDR2HDR_WEIGHTS")
    return Path(named) if named else platformdirs.user_config_path("sdr2hdr") / "weights.toml"


def read_manifest(path: Path) -> list[WeightEntry]:
    """The entries of one manifest, in its order; raises ModelError naming file, entry and key."""
    try:
        tables = read_toml(path, "a list of weights")
    except InputError as e:
        raise ModelError(f"{e} docs/weights.md shows the form.") from e
    return [_entry(path, name, table) for name, table in tables.items()]


def entries() -> dict[str, WeightEntry]:
    """All weights by name: the bundled ones, then the user's. A name or a default given twice raises ModelError."""
    own = user_manifest()
    if not own.exists() and os.environ.get("SDR2HDR_WEIGHTS"):
        raise ModelError(
            f"{own}: SDR2HDR_WEIGHTS names this file, which does not exist; correct or unset it."
        )
    return _merge([*read_manifest(BUNDLED), *(read_manifest(own) if own.exists() else [])])


def find(name: str) -> WeightEntry:
    """The weight of that name; raises ModelError naming the known ones."""
    known = entries()
    try:
        return known[name]
    except KeyError:
        raise ModelError(
            f"There is no weight {name!r}; known are: {', '.join(known) or 'none yet'}."
        ) from None


def default_for(model: str) -> WeightEntry | None:
    """The weight that a model uses when none is named, if it has one."""
    return next((e for e in entries().values() if e.model == model and e.default), None)


def _merge(found: Iterable[WeightEntry]) -> dict[str, WeightEntry]:
    merged: dict[str, WeightEntry] = {}
    defaults: dict[str, WeightEntry] = {}
    for entry in found:
        if first := merged.get(entry.name):
            raise _bad(
                entry.manifest,
                entry.name,
                f"{first.manifest} has a weight of this name; choose another name",
            )
        merged[entry.name] = entry
        if entry.default:
            if first := defaults.get(entry.model):
                reason = f"'default': {first.name} is the default of model {entry.model} already; leave it out"
                raise _bad(entry.manifest, entry.name, reason)
            defaults[entry.model] = entry
    return merged


def _entry(path: Path, name: str, table: Any) -> WeightEntry:
    """Checks every key of one table; nothing is guessed and nothing is ignored."""
    if not NAME.fullmatch(name):
        raise _bad(path, name, NAMES)
    if not isinstance(table, dict):
        raise _bad(path, name, "a weight is a table, written as [name]")
    try:
        facts = typed(table, Facts)
    except ValueError as e:
        raise _bad(path, name, str(e)) from e
    for key, value in (("config", facts.config), ("scores", facts.scores)):
        if not _is_json(value):
            raise _bad(
                path,
                name,
                f"{key!r} must be a table of text, numbers, true or false, and lists of these",
            )
    _check_source(path, name, facts.source)
    return WeightEntry(name=name, manifest=path, **vars(facts))


def _check_source(path: Path, name: str, source: str) -> None:
    kind, _, rest = source.partition(":")
    if kind == "file":
        # a bundled file is a plain name; a user's may lie anywhere
        good = rest.endswith(".safetensors") and (path != BUNDLED or Path(rest).name == rest)
    elif kind == "hf":
        good = _HUB.fullmatch(source) is not None
    else:
        good = allowed_url(source)
    if not good:
        raise _bad(
            path,
            name,
            "'source' must be file:NAME.safetensors, hf:owner/repo@revision/path/NAME.safetensors or https://...",
        )


def _bad(path: Path, name: str, reason: str) -> ModelError:
    return ModelError(f"{path}: weight {name!r}: {reason}.")


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_json(v) for v in value.values())
    if isinstance(value, list):
        return all(_is_json(v) for v in value)
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _one_line(value: Any) -> Any:
    """A table in braces, so that an entry is a single table."""
    import tomlkit

    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    table.update({k: _one_line(v) for k, v in value.items()})
    return table
