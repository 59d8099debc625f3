"""The container image gets what it needs, and no more."""

import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent


def copied() -> list[str]:
    """What the Dockerfile copies from the repository."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return [name for line in lines if line.startswith("COPY ") for name in shlex.split(line)[1:-1]]


def test_all_that_is_copied_is_there_and_sent_to_the_builder() -> None:
    sent = {line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert sent == {f"!{name.removeprefix('./')}" for name in copied()}
    assert all((ROOT / name).exists() for name in copied())
