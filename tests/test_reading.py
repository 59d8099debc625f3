"""Small files are read whole or refused with one sentence, and nothing waits for a pipe."""

import os
import socket
from pathlib import Path

import pytest

from sdr2hdr.errors import InputError
from sdr2hdr.reading import LARGEST, MissingFile, read_bytes, read_text, read_toml


def test_text_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfcaf\xc3\xa9\n")
    assert read_text(path, "a list") == "caf\u00e9\n"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_text(path, "a list")


@pytest.mark.parametrize("name", ["nothing", "file/below", "nothing/below"])
def test_what_is_not_there_is_told_apart(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MissingFile, match="does not exist; name a list"):
        read_text(tmp_path / name, "a list")


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader, writer = os.pipe()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    try:
        for path, word in (
            (tmp_path / "fifo", "is a pipe"),
            (Path(f"/dev/fd/{reader}"), "is a pipe"),
            (tmp_path, "a folder"),
            (Path("/dev/zero"), "a device"),
            (tmp_path / "socket", "cannot"),
            (tmp_path / "a\0b", "NUL"),
            (tmp_path / ("a" * 300), "too long"),
        ):
            with pytest.raises(InputError, match=word):
                read_bytes(path, "a list")
    finally:
        listening.close()
        os.close(reader)
        os.close(writer)


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as f:
        f.truncate(LARGEST + 1)
    with pytest.raises(InputError, match="too large"):
        read_bytes(path, "a list")


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 5000, "a = " + "[" * 5000 + "]" * 5000, "a = " + "1" * 6000, "a =", "\0"],
)
def test_toml_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.toml cannot be read as a recipe"):
        read_toml(path, "a recipe")
