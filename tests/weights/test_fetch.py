"""Only the file that the manifest names is ever used, wherever it comes from."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sdr2hdr.errors import ModelError
from sdr2hdr.weights import fetch, manifest

DATA = random.Random(2).randbytes(100_000)
HUB = "/owner/repo/resolve/v1/sub/a.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

List = Callable[..., Path]


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The few answers of the hub that its client needs for one file."""
    server.headers = {"ETag": '"an-etag"', "X-Repo-Commit": COMMIT}
    server.files[HUB] = DATA
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def left() -> list[str]:
    """The files in the cache, locks aside."""
    return sorted(
        p.name for p in fetch.cache_folder().rglob("*") if p.is_file() and p.suffix != ".lock"
    )


def test_a_local_file_is_checked(listed: List, tmp_path: Path) -> None:
    listed(DATA)
    entry = manifest.find("small")
    with pytest.raises(ModelError, match=r"small\.safetensors.*missing"):
        fetch.locate(entry)
    path = tmp_path / "small.safetensors"
    path.write_bytes(DATA)
    assert fetch.locate(entry) == path
    assert fetch.read(entry) == DATA


@pytest.mark.parametrize("use", [fetch.locate, fetch.read, fetch.pull])
def test_one_flipped_bit_is_found(listed: List, tmp_path: Path, use: Callable[..., Any]) -> None:
    listed(DATA)
    entry = manifest.find("small")
    for at in (0, 50_000, len(DATA) - 1):
        spoilt = bytearray(DATA)
        spoilt[at] ^= 1
        (tmp_path / "small.safetensors").write_bytes(spoilt)
        with pytest.raises(ModelError) as error:
            use(entry)
        found = manifest.find("small").sha256
        assert found[:12] in str(error.value)
        assert "weights.toml" in str(error.value)


@pytest.mark.parametrize("use", [fetch.locate, fetch.read])
def test_the_size_is_looked_at_first(listed: List, tmp_path: Path, use: Callable[..., Any]) -> None:
    listed(DATA)
    (tmp_path / "small.safetensors").write_bytes(DATA + b"!")
    with pytest.raises(ModelError, match=r"100001 bytes instead of the 100000"):
        use(manifest.find("small"))


def test_a_download_is_kept_and_not_repeated(listed: List, server: Any) -> None:
    server.files["/a"] = DATA
    listed(DATA, source=f"{server.url}/a")
    entry = manifest.find("small")
    path = fetch.locate(entry)
    assert path.read_bytes() == DATA
    assert fetch.read(entry) == DATA
    assert len(server.gets) == 1
    assert left() == [path.name]


def test_a_cut_download_goes_on_in_the_next_run(listed: List, server: Any) -> None:
    server.files["/a"] = DATA
    server.cut = [1000] * 5
    listed(DATA, source=f"{server.url}/a")
    entry = manifest.find("small")
    with pytest.raises(ModelError):
        fetch.locate(entry)
    assert not fetch.place(entry).exists()
    assert fetch.locate(entry).read_bytes() == DATA
    assert server.sent == len(DATA)


def test_a_wrong_download_never_gets_the_name(listed: List, server: Any) -> None:
    server.files["/a"] = DATA[:-1] + b"!"
    listed(DATA, source=f"{server.url}/a")
    with pytest.raises(ModelError, match=r"SHA-256 .*instead of"):
        fetch.locate(manifest.find("small"))
    assert left() == []


def test_a_spoilt_copy_in_the_cache_is_refused_and_pull_replaces_it(
    listed: List, server: Any
) -> None:
    server.files["/a"] = DATA
    listed(DATA, source=f"{server.url}/a")
    entry = manifest.find("small")
    fetch.locate(entry).write_bytes(DATA[:-1] + b"!")
    with pytest.raises(ModelError, match="delete it and run `sdr2hdr weights pull small`"):
        fetch.locate(entry)
    assert fetch.pull(entry).read_bytes() == DATA


def test_workers_that_start_together_download_once(listed: List, server: Any) -> None:
    server.files["/a"] = DATA
    listed(DATA, source=f"{server.url}/a")
    entry = manifest.find("small")
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: fetch.locate(entry), range(8)))) == 1
    assert len(server.gets) == 1


@pytest.mark.parametrize("variable", ["SDR2HDR_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize("source", ["{}/a", "hf:owner/repo@v1/sub/a.safetensors"])
def test_offline_use_touches_no_network(
    listed: List, hub: Any, monkeypatch: pytest.MonkeyPatch, variable: str, source: str
) -> None:
    hub.files["/a"] = DATA
    listed(DATA, source=source.format(hub.url))
    entry = manifest.find("small")
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ModelError, match="offline"):
        fetch.locate(entry)
    assert hub.gets == []
    monkeypatch.delenv(variable)
    fetch.locate(entry)
    asked = len(hub.gets)
    monkeypatch.setenv(variable, "1")
    assert fetch.locate(entry).read_bytes() == DATA
    assert len(hub.gets) == asked


def test_a_cache_that_cannot_be_made_is_named(
    listed: List, server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SDR2HDR_CACHE", str(tmp_path / "file"))
    listed(DATA, source=f"{server.url}/a")
    with pytest.raises(ModelError, match="SDR2HDR_CACHE"):
        fetch.locate(manifest.find("small"))


def test_the_hub_brings_a_file_at_its_revision(listed: List, hub: Any) -> None:
    listed(DATA, source="hf:owner/repo@v1/sub/a.safetensors")
    path = fetch.locate(manifest.find("small"))
    assert path.read_bytes() == DATA
    assert left() == [path.name]


def test_the_hubs_client_gets_over_a_cut(listed: List, hub: Any) -> None:
    hub.cut = [60_000]
    listed(DATA, source="hf:owner/repo@v1/sub/a.safetensors")
    assert fetch.locate(manifest.find("small")).read_bytes() == DATA
    assert len(hub.gets) == 2


def test_a_wrong_file_of_the_hub_never_gets_the_name(listed: List, hub: Any) -> None:
    hub.files[HUB] = DATA[:-1] + b"!"
    listed(DATA, source="hf:owner/repo@v1/sub/a.safetensors")
    with pytest.raises(ModelError, match=r"SHA-256 .*instead of"):
        fetch.locate(manifest.find("small"))
    assert left() == []


def test_a_hub_file_of_another_size_is_not_even_begun(listed: List, hub: Any) -> None:
    listed(DATA[:-1], source="hf:owner/repo@v1/sub/a.safetensors")
    with pytest.raises(ModelError, match="100000 bytes where the weight has 99999"):
        fetch.locate(manifest.find("small"))
    assert hub.gets == []


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"])
def test_what_the_hub_lacks_is_one_sentence(
    listed: List, hub: Any, monkeypatch: pytest.MonkeyPatch, endpoint: str | None
) -> None:
    if endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
    listed(DATA, source="hf:owner/repo@v2/a.safetensors")
    with pytest.raises(
        ModelError, match=r"hf:owner/repo@v2/a\.safetensors: the download failed"
    ) as error:
        fetch.locate(manifest.find("small"))
    assert "\n" not in str(error.value)
