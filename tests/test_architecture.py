"""Imports run down the table of docs/architecture.md only."""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sdr2hdr.jobs import program

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sdr2hdr"


@dataclass(frozen=True)
class Row:
    """A row of the page's table: ``room`` is a folder or a module, ``named`` what it may import directly."""

    room: str
    for_all: bool
    named: tuple[str, ...]


def table() -> dict[str, Row]:
    """The table of rooms in docs/architecture.md, in its order."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows: dict[str, Row] = {}
    for line in page.partition("| room | owns | may import |\n|---|---|---|\n")[2].splitlines():
        if not line.startswith("|"):
            break
        name, owns, named = (cell.strip() for cell in line.strip("|").split("|"))
        room = name.strip("`").removesuffix("/").removesuffix(".py")
        words = named.replace("anything above", ", ".join(rows)).split(",")
        rows[room] = Row(room, "all may use it" in owns, tuple(filter(None, map(str.strip, words))))
    return rows


ROWS = table()
OUTSIDE = {name for row in ROWS.values() for name in row.named} - ROWS.keys()
"""Packages that belong to the rooms whose rows name them."""


def allowed(room: str) -> set[str]:
    """The rooms that a room may import."""
    through = {
        name for named in ROWS[room].named if named in ROWS for name in (named, *allowed(named))
    }
    return {room} | through | {row.room for row in ROWS.values() if row.for_all}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module == "sdr2hdr":
                found |= {f"sdr2hdr.{alias.name}" for alias in node.names}
    return found


def test_every_room_has_a_row() -> None:
    on_disk = {
        p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert on_disk == ROWS.keys()


def test_rows_name_rooms_above_them_alone() -> None:
    seen: set[str] = set()
    for room, row in ROWS.items():
        assert set(row.named) <= seen | OUTSIDE, room
        seen.add(room)


@pytest.mark.parametrize("room", ROWS)
def test_rooms_import_down_the_table(room: str) -> None:
    single = PACKAGE / f"{room}.py"
    for path in [single] if single.exists() else (PACKAGE / room).rglob("*.py"):
        for name in imports(path):
            package, _, below = name.partition(".")
            if package == "sdr2hdr" and below:
                used = below.partition(".")[0]
                assert used in allowed(room) or used not in ROWS, (
                    f"{path.relative_to(PACKAGE)} imports {name}"
                )
            assert package not in OUTSIDE or package in ROWS[room].named, (
                f"{path.relative_to(PACKAGE)} imports {name}"
            )


def test_the_program_that_decides_pixels_is_jobs_and_all_it_imports() -> None:
    """A room that is missing in the key would let a work folder go on with other code."""
    assert set(program.ROOMS) == {room for room in allowed("jobs") if (PACKAGE / room).is_dir()}


def test_importing_the_package_loads_neither_torch_nor_av() -> None:
    code = "import sys, sdr2hdr; print([m for m in ('torch', 'av', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_functions_are_not_hidden_by_their_modules() -> None:
    code = "import sdr2hdr.convert; from sdr2hdr.convert import survey; from sdr2hdr import convert; print(convert.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "convert"


def test_the_librarys_three_functions_are_there() -> None:
    from sdr2hdr import convert, detect_scenes, load_model

    assert all(callable(f) for f in (convert, detect_scenes, load_model))
