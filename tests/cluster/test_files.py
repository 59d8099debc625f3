"""The cache of a machine that does not see the driver's files."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ray")

from sdr2hdr.cluster import files
from sdr2hdr.cluster.files import Needed, place
from sdr2hdr.cluster.home import PIECE, Home
from sdr2hdr.errors import InputError


class Elsewhere:
    """The driver's machine: what is read of its files, although this machine does not see them under their names."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.read = folder, list[tuple[str, int]]()
        self.piece = SimpleNamespace(remote=self._piece)

    def has(self, name: str, data: bytes) -> Needed:
        path = self.folder / name
        path.write_bytes(data)
        needed = Needed(Path("/nowhere") / name, Needed.at(path).found)
        return needed

    def _piece(self, path: Path, offset: int) -> bytes:
        self.read.append((path.name, offset))
        here = self.folder / path.name
        return Home(frozenset([here])).piece(here, offset)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    monkeypatch.setattr(files, "answer", lambda found: found)
    monkeypatch.setenv("SDR2HDR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "elsewhere").mkdir()
    return Elsewhere(tmp_path / "elsewhere")


def cached(suffix: str = "") -> list[Path]:
    return sorted(p for p in files.cache_folder().glob(f"*{suffix}") if p.name != "lock")


def test_a_file_comes_in_pieces_and_once(elsewhere: Elsewhere) -> None:
    data = os.urandom(2 * PIECE + 5)
    film = elsewhere.has("film.mkv", data)
    path = place(film, elsewhere)
    assert path.read_bytes() == data and path.suffix == ".mkv"
    assert elsewhere.read == [("film.mkv", offset) for offset in (0, PIECE, 2 * PIECE)]
    assert place(film, elsewhere) == path
    assert len(elsewhere.read) == 3


def test_a_file_that_is_seen_is_read_where_it_is(tmp_path: Path, elsewhere: Elsewhere) -> None:
    (tmp_path / "film.mkv").write_bytes(b"film")
    assert place(Needed.at(tmp_path / "film.mkv"), elsewhere) == tmp_path / "film.mkv"
    assert not elsewhere.read
    # under the same name lies something else
    other = Needed(tmp_path / "film.mkv", elsewhere.has("film.mkv", b"muck").found)
    assert place(other, elsewhere).read_bytes() == b"muck"


def test_what_was_not_used_for_longest_makes_room(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDR2HDR_CLUSTER_CACHE", str(2500 / 2**30))
    first, second, third = (elsewhere.has(f"{n}.mkv", bytes([n]) * 1000) for n in range(3))
    for age, film in ((300, first), (200, second), (100, first)):
        path = place(film, elsewhere)
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    place(third, elsewhere)
    assert {path.read_bytes()[0] for path in cached()} == {0, 2}


@pytest.mark.parametrize(("most", "words"), [("1e-7", "GiB"), ("much", "not a number")])
def test_a_file_that_the_cache_cannot_hold_is_not_fetched(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, most: str, words: str
) -> None:
    kept = place(elsewhere.has("kept.mkv", b"kept"), elsewhere)
    monkeypatch.setenv("SDR2HDR_CLUSTER_CACHE", most)
    with pytest.raises(InputError, match=words):
        place(elsewhere.has("film.mkv", bytes(1000)), elsewhere)
    assert cached() == [kept]


def test_a_file_that_changes_while_it_is_sent_is_not_kept(elsewhere: Elsewhere) -> None:
    film = elsewhere.has("film.mkv", b"film")
    elsewhere.has("film.mkv", b"muck")
    with pytest.raises(InputError, match="changed while it was sent"):
        place(film, elsewhere)
    assert not cached()


def test_home_gives_files_of_the_film_alone(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("secret")
    with pytest.raises(PermissionError):
        Home(frozenset([tmp_path / "film.mkv"])).piece(tmp_path / "other.txt", 0)
