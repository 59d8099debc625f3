"""What a batch knows of each file: ``report.json``, which is also its memory, and ``report.csv``."""

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sdr2hdr.errors import OutputError
from sdr2hdr.text import csv_cell

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
    """One file of a batch. ``source`` and ``output`` are relative to the two folders.

    ``status`` is ``planned``, ``converting``, ``done``, ``unchanged`` (done by an earlier run), ``left out`` (nothing to do),
    ``failed`` or ``waiting`` (not begun, or stopped); ``cause`` a sentence for the last three. ``seconds`` is the conversion's
    time, ``length`` the film's. ``bytes`` is the output's size, ``max_cll`` and ``max_fall`` in nits. ``ours`` says
    that a file under the output's name was made by a batch, which may replace it.
    """

    source: str
    output: str = ""
    status: str = "planned"
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
        """All pixels of all frames, in millions: what time and size are estimated from."""
        return (self.frames or 0) * self.width * self.height / 1e6


def read_rows(folder: Path) -> dict[str, Row]:
    """What an earlier batch wrote of its files, by source; nothing where there is no report that can be read."""
    try:
        data = json.loads((folder / "report.json").read_text())
        known = {f.name for f in fields(Row)}
        rows = [Row(**{k: v for k, v in r.items() if k in known}) for r in [*data["files"], *data["earlier"]]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {row.source: row for row in rows}


def write_rows(folder: Path, rows: Sequence[Row], earlier: Sequence[Row]) -> None:
    """Both reports, each whole or not at all. ``earlier`` are files of earlier runs that this one does not look at."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    writer.writerows([csv_cell(getattr(row, name)) for name in COLUMNS] for row in rows)
    data = {"files": [asdict(row) for row in rows], "earlier": [asdict(row) for row in earlier]}
    for name, text in (("report.json", json.dumps(data, indent=1)), ("report.csv", table.getvalue())):
        part = folder / f".{name}.part"
        try:
            with part.open("wb") as f:
                f.write(text.encode(errors="surrogateescape"))  # names need not be UTF-8
                f.flush()
                os.fsync(f.fileno())
            part.replace(folder / name)
        except OSError as e:
            part.unlink(missing_ok=True)
            raise OutputError(
                f"{folder / name} cannot be written ({e.strerror}); free some space, or check the folder's permissions, "
                "and run the same command again."
            ) from e
