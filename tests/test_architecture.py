"""Imports run down the table of docs/architecture.md only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sdr2hdr"
MAY_IMPORT = {
    "color": set(),
    "media": {"color"},
    "scenes": {"color"},
    "models": {"color"},
    "weights": {"models"},
    "render": {"models", "color"},
    "jobs": {"render", "media", "scenes", "weights", "models", "color"},
    "metrics": {"color"},
    "views": {"color", "metrics"},
    "evaluation": {"jobs", "data", "metrics", "views", "media", "render", "weights", "models", "color"},
    "data": {"media", "scenes", "models", "color"},
    "training": {"data", "evaluation", "models", "metrics", "color", "render", "weights"},
    "batch": {"convert", "jobs", "media", "weights"},
    "cli": {
        "batch",
        "convert",
        "preview",
        "split",
        "compare",
        "doctor",
        "views",
        "color",
        "media",
        "scenes",
        "models",
        "weights",
        "render",
        "jobs",
        "metrics",
        "data",
        "evaluation",
        "training",
    },
}
OWNERS = {"av": {"media"}, "click": {"cli"}, "rich": {"cli"}}


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


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_rooms_import_down_the_table(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            if (
                parts[0] == "sdr2hdr"
                and len(parts) > 1
                and parts[1] not in (room, "errors", "reading", "text", "__version__")
            ):
                assert parts[1] in MAY_IMPORT[room], f"{path.relative_to(PACKAGE)} imports {name}"
            for owned, owners in OWNERS.items():
                assert parts[0] != owned or room in owners, f"{path.relative_to(PACKAGE)} imports {name}"


def test_importing_the_package_loads_neither_torch_nor_av() -> None:
    code = "import sys, sdr2hdr; print([m for m in ('torch', 'av', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_librarys_three_functions_are_there() -> None:
    from sdr2hdr import convert, detect_scenes, load_model

    assert all(callable(f) for f in (convert, detect_scenes, load_model))
