"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from sdr2hdr.errors import OutputError
from sdr2hdr.writing import check_free, whole_file, write_whole


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
def test_an_error_leaves_what_was_there(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), whole_file(path) as part:
        part.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    path, other = tmp_path / "a.txt", tmp_path / "other.txt"
    other.write_text("mine")
    with whole_file(path) as part:
        name = part
    path.unlink()
    name.symlink_to(other)
    write_whole(path, b"new", overwrite=False)
    assert (path.read_text(), other.read_text()) == ("new", "mine")


def test_names_that_cannot_be_taken(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    for name, words in (
        (".", "is a folder"),
        ("there", "exists"),
        ("no/a", "does not exist"),
        ("a\0", "NUL"),
    ):
        with pytest.raises(OutputError, match=words):
            check_free(tmp_path / name, overwrite=False)
    check_free(tmp_path / "there", overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / ("a" * 300), b"", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_film_is_never_written(tmp_path: Path, overwrite: bool) -> None:
    film, link = tmp_path / "film.mkv", tmp_path / "link.toml"
    film.write_text("film")
    link.symlink_to(film)
    for path in (film, link):
        with pytest.raises(OutputError, match="never written"):
            check_free(path, overwrite, film)
    check_free(tmp_path / "other.toml", overwrite, film)
