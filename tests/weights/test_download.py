"""Downloads: resumed, bounded, and refused where the manifest's rules say so."""

import random
from pathlib import Path
from typing import Any

import pytest

from sdr2hdr.errors import ModelError
from sdr2hdr.weights.download import from_url

DATA = random.Random(1).randbytes(300_000)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "a.part"


def test_a_file_arrives_and_progress_is_told(server: Any, part: Path) -> None:
    server.files["/a"] = DATA
    told: list[tuple[int, int]] = []
    from_url(f"{server.url}/a", part, len(DATA), lambda had, size: told.append((had, size)))
    assert part.read_bytes() == DATA
    assert told[-1] == (len(DATA), len(DATA))
    assert told == sorted(told)


def test_a_cut_transfer_goes_on_where_it_broke(server: Any, part: Path) -> None:
    server.files["/a"] = DATA
    server.cut = [100_000, 50_000]
    from_url(f"{server.url}/a", part, len(DATA))
    assert part.read_bytes() == DATA
    assert server.gets == ["", "bytes=100000-", "bytes=150000-"]
    assert server.sent == len(DATA)


def test_a_part_of_an_earlier_run_is_used(server: Any, part: Path) -> None:
    server.files["/a"] = DATA
    part.write_bytes(DATA[:200_000])
    from_url(f"{server.url}/a", part, len(DATA))
    assert part.read_bytes() == DATA
    assert server.sent == 100_000


def test_a_whole_part_asks_for_nothing(server: Any, part: Path) -> None:
    part.write_bytes(DATA)
    from_url(f"{server.url}/a", part, len(DATA))
    assert server.gets == []


def test_a_server_without_ranges_sends_all_again(server: Any, part: Path) -> None:
    server.files["/a"] = DATA
    server.ranges = False
    server.cut = [100_000]
    from_url(f"{server.url}/a", part, len(DATA))
    assert part.read_bytes() == DATA


def test_a_part_that_is_too_long_is_thrown_away(server: Any, part: Path) -> None:
    server.files["/a"] = DATA
    part.write_bytes(DATA + b"more")
    from_url(f"{server.url}/a", part, len(DATA))
    assert part.read_bytes() == DATA
    assert server.gets == [""]


def test_a_part_longer_than_the_servers_file_is_thrown_away(server: Any, part: Path) -> None:
    server.files["/a"] = DATA[:1000]
    part.write_bytes(DATA[:2000])
    with pytest.raises(ModelError, match=f"1000 bytes where the weight has {len(DATA)}"):
        from_url(f"{server.url}/a", part, len(DATA))
    assert not part.exists()


def test_a_wrong_length_is_refused_before_the_body(server: Any, part: Path) -> None:
    server.files["/a"] = DATA
    with pytest.raises(ModelError, match="300000 bytes where the weight has 1000"):
        from_url(f"{server.url}/a", part, 1000)
    assert not part.exists()


def test_reading_stops_at_the_size(server: Any, part: Path) -> None:
    server.files["/a"] = DATA * 200  # 60 MB, its length not told
    server.lengths = False
    with pytest.raises(ModelError, match="more than the 1000 bytes"):
        from_url(f"{server.url}/a", part, 1000)
    assert not part.exists()
    assert server.sent < len(DATA) * 100  # what the sockets' buffers took, not all


def test_a_connection_that_breaks_every_time_ends(server: Any, part: Path) -> None:
    server.files["/a"] = DATA
    server.cut = [1000] * 50
    with pytest.raises(ModelError, match="broke again and again"):
        from_url(f"{server.url}/a", part, len(DATA))
    assert 0 < part.stat().st_size < len(DATA)  # the next run goes on from there
    server.cut = []
    from_url(f"{server.url}/a", part, len(DATA))
    assert part.read_bytes() == DATA


def test_a_missing_page_is_named(server: Any, part: Path) -> None:
    with pytest.raises(ModelError, match=r"/nothing: .*404"):
        from_url(f"{server.url}/nothing", part, 3)


def test_a_server_that_is_not_there_is_named(part: Path) -> None:
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9/a: the download failed \(.*refused"):
        from_url("http://127.0.0.1:9/a", part, 3)


def test_redirects_are_followed_on_this_machine_only(server: Any, part: Path) -> None:
    server.files["/b"] = b"abc"
    server.redirects = {"/a": f"{server.url}/b", "/out": "http://example.org/b"}
    from_url(f"{server.url}/a", part, 3)
    assert part.read_bytes() == b"abc"
    part.unlink()
    with pytest.raises(ModelError, match=r"http://example\.org/b, which is not https"):
        from_url(f"{server.url}/out", part, 3)


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/hostname"])
def test_other_addresses_are_refused(url: str, part: Path) -> None:
    with pytest.raises(ModelError, match="only https"):
        from_url(url, part, 3)


def test_a_folder_that_cannot_be_written_is_named(server: Any, tmp_path: Path) -> None:
    server.files["/a"] = b"abc"
    with pytest.raises(ModelError, match="cannot be written"):
        from_url(f"{server.url}/a", tmp_path / "gone" / "a.part", 3)
