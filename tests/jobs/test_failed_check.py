"""A file that fails its check is not delivered; what took long to make is kept, and is said."""

from pathlib import Path
from typing import NoReturn

import pytest
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.errors import OutputError
from sdr2hdr.jobs import finishing


def test_a_failed_check_removes_the_file_and_keeps_the_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "clip.mkv", size=(96, 64), frames=4)
    out = tmp_path / "out.mkv"

    def refuse(path: Path, _expected: object) -> NoReturn:
        raise OutputError(f"The finished file {path} fails its check: sound stream 0 ends at 2 s, not at 1 s.")

    with monkeypatch.context() as patched:
        patched.setattr(finishing, "check", refuse)
        with pytest.raises(
            OutputError, match=r"ends at 2 s.* It was removed; .* are kept in (\S+), from where"
        ) as error:
            convert(clip, out, "bt2408", preset="ultrafast")
    folder = next(path for path in tmp_path.iterdir() if path not in (clip, out))
    assert str(folder) in str(error.value) and not out.exists()
    assert not list(folder.glob("assembled*"))
    assert convert(clip, out, "bt2408", preset="ultrafast").resumed_chunks == 1
    assert sorted(tmp_path.iterdir()) == [clip, out]
