"""The facts of each file of a batch: ``report.json``, which the next run reads, and ``report.csv``."""

import csv
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from sdr2hdr.codecs import CONTAINERS
from sdr2hdr.errors import InputError
from sdr2hdr.reading import open_regular
from sdr2hdr.text import csv_cell
from sdr2hdr.writing import whole_file

Status = Literal["planned", "converting", "done", "unchanged", "left out", "failed", "waiting"]
FINISHED = ("done", "unchanged")
COLUMNS = (
    "source",
    "output",
    "status",
    "cause",
    "model",
    "seconds",
    "frames",
    "max_cll",
    "max_fall",
    "bytes",
    "lost",
)


@dataclass
class Row:
    """One file of a batch. ``source`` and ``output`` are relative to the two folders, with ``/`` between their parts.

    ``status`` is ``planned``, ``converting``, ``done``, ``unchanged`` (done by an earlier run), ``left out`` (nothing to do),
    ``failed`` or ``waiting`` (not begun, or stopped); ``cause`` a sentence for the last three. ``seconds`` is the conversion's
    time, ``length`` the film's. ``bytes`` is the output's size, ``max_cll`` and ``max_fall`` in nits. ``ours`` says
    that a file under the output's name was made by a batch, which may replace it.
    """

    source: str
    output: str = ""
    status: Status = "planned"
    cause: str = ""
    model: str = ""
    seconds: float = 0.0
    frames: int | None = None
    length: float | None = None
    width: int = 0
    height: int = 0
    max_cll: int | None = None
    max_fall: int | None = None
    bytes: int | None = None
    lost: str = ""
    resumed: bool = False
    ours: bool = False
    exit_code: int = 0
    fingerprint: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def megapixels(self) -> float:
        """All pixels of all frames, in millions; time and size are estimated from it."""
        return (self.frames or 0) * self.width * self.height / 1e6


def read_rows(folder: Path) -> dict[str, Row]:
    """The rows of an earlier batch, by source.

    A row counts only if a batch could have written it: every field has its type, paths stay within the two folders, and the
    output's name follows from its source's. Other rows are ignored, so files under their outputs' names are not replaced.
    """
    path = folder / "report.json"
    try:
        if path.is_symlink():
            return {}
        with open_regular(path, "a report") as f:
            data = json.loads(f.read(), parse_constant=_refuse)
        entries = [*data["files"], *data["earlier"]]
    except (InputError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    rows = {}
    for entry in entries:
        with suppress(msgspec.ValidationError):
            row = msgspec.convert(entry, Row)
            if _within(row.source) and (not row.output or _is_named_after(row.output, row.source)):
                rows[row.source] = row
    return rows


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _within(name: str) -> bool:
    """Whether a path is relative and normal, without ``..``."""
    path = Path(name)
    return (
        not path.anchor
        and ".." not in path.parts
        and path.as_posix() == name != "."
        and "\0" not in name
    )


def _is_named_after(output: str, source: str) -> bool:
    """Whether a batch may have given this output to this source (see ``plan.py``)."""
    stem, dot, ending = output.rpartition(".")
    if not dot or ending not in CONTAINERS:
        return False
    number = stem.removeprefix(f"{source}-")
    return stem in (str(PurePosixPath(source).with_suffix("")), source) or (
        number != stem and number.isdecimal()
    )


def leads_out(folder: Path, output: str) -> bool:
    """Whether a link would redirect an output to another path."""
    path = folder / output
    return path.is_symlink() or path.parent.resolve() != folder.resolve() / Path(output).parent


def write_rows(folder: Path, rows: Sequence[Row], earlier: Sequence[Row]) -> None:
    """Write both reports, each whole or not at all. ``earlier`` are files of earlier runs outside this one."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    writer.writerows([csv_cell(getattr(row, name)) for name in COLUMNS] for row in rows)
    data = {"files": [asdict(row) for row in rows], "earlier": [asdict(row) for row in earlier]}
    for name, text in (
        ("report.json", json.dumps(data, indent=1)),
        ("report.csv", table.getvalue()),
    ):
        with whole_file(folder / name) as part:
            part.write_bytes(text.encode(errors="surrogateescape"))  # names need not be UTF-8
