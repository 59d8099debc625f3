"""Converting on two hosts that share nothing but a network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster import two_hosts
from cluster.conftest import FRAMES
from cluster.two_hosts import ALONE, NAME

pytest.importorskip("ray")


def impossible() -> str:
    """Why this system has no network of its own for a test; empty if it has."""
    try:
        tried = subprocess.run([*ALONE, "ip", "link"], capture_output=True, text=True, check=False)
    except OSError as e:
        return str(e)
    return "" if tried.returncode == 0 else tried.stderr.strip() or "ip is missing"


def test_another_host_fetches_the_film_and_sends_what_it_renders(
    film: Path, options: dict[str, Any], alone: bytes, temporary: Path, tmp_path: Path
) -> None:
    if why := impossible():
        pytest.skip(f"there are no network namespaces here: {why}")
    out, cache = tmp_path / "out.mkv", temporary / "second"
    words = [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    ended = subprocess.run(
        [*ALONE, sys.executable, two_hosts.__file__, film, out, cache, *words, "--json", "-q"],
        stdout=subprocess.PIPE,
        stderr=(temporary / "said").open("w"),
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, (temporary / "said").read_text()
    report = json.loads(ended.stdout[ended.stdout.index("{") :])
    (rendered,) = [note for note in report["notes"] if note.startswith("Rendered on a cluster")]
    assert f": {NAME} {FRAMES} frames at " in rendered and " 0 MiB of chunks" not in rendered
    (fetched,) = (cache / "cluster").glob("*.mkv")
    assert fetched.read_bytes() == film.read_bytes()
    assert out.read_bytes() == alone
