"""Outside tools that judge our files; a test that lacks its judge is skipped with the reason, except in CI."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

DEBIAN = "Debian: ffmpeg, mediainfo, mkvtoolnix, chromium, vlc-bin, vlc-plugin-base, x265, svt-av1"
"""Where the tools are."""


def need(tool: str) -> str:
    """Path of an outside tool; skips the test where it is missing, or fails it if ``CI`` is true."""
    path = shutil.which(tool)
    if path is None:
        reason = f"{tool} is not installed ({DEBIAN})"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def ffprobe(path: Path, *args: str) -> dict[str, Any]:
    """What ffprobe says of a file, as JSON."""
    cmd = [need("ffprobe"), "-v", "error", "-of", "json", *args, str(path)]
    return dict(json.loads(subprocess.run(cmd, check=True, capture_output=True, text=True).stdout))


def mediainfo(path: Path, kind: str = "Video") -> dict[str, Any]:
    """Mediainfo's first track of that kind as a flat dictionary."""
    out = subprocess.run(
        [need("mediainfo"), "--Output=JSON", str(path)], check=True, capture_output=True, text=True
    )
    tracks = json.loads(out.stdout)["media"]["track"]
    return dict(next(t for t in tracks if t["@type"] == kind))
