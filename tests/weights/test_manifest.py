"""The manifest is read strictly, and what ships keeps to it."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdr2hdr.errors import ModelError
from sdr2hdr.weights import fetch, load_model, manifest
from sdr2hdr.weights.manifest import WeightEntry, allowed_url

List = Callable[..., Path]


def test_an_entry_says_what_its_table_says(listed: List) -> None:
    path = listed(b"abc", config={"base": "none"}, scores={"psnr": 31.5})
    entry = manifest.entries()["small"]
    assert (entry.size, entry.licence, entry.default, entry.manifest) == (3, "CC0", False, path)
    assert (entry.config, entry.scores) == ({"base": "none"}, {"psnr": 31.5})
    # the SHA-256 of "abc", FIPS 180-2 appendix B.1
    assert entry.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert manifest.default_for("wmnet") == manifest.find("wmnet")  # the one that ships
    assert manifest.find("small") == entry


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("colour", "red"),
        ("sha256", "abc"),
        ("sha256", "G" * 64),
        ("sha256", "A" * 64),
        ("size", -1),
        ("size", 0),
        ("size", True),
        ("size", "3"),
        ("licence", ""),
        ("model", 3),
        ("default", 1),
        ("config", 3),
        ("source", "small.safetensors"),
        ("source", "file:small.pth"),
        ("source", "http://example.org/a.safetensors"),
        ("source", "http://localhost@example.org/a.safetensors"),
        ("source", "ftp://example.org/a.safetensors"),
        ("source", "hf:owner/repo/a.safetensors"),
        ("source", "hf:owner/repo@main/../a.safetensors"),
        ("source", "hf:owner/repo@main/a.bin"),
    ],
)
def test_a_wrong_key_is_named_with_entry_and_file(listed: List, key: str, value: Any) -> None:
    path = listed(b"abc", **{key: value})
    with pytest.raises(ModelError) as error:
        manifest.entries()
    assert all(word in str(error.value) for word in (str(path), "'small'", f"'{key}'"))


@pytest.mark.parametrize(
    "key", ["model", "source", "sha256", "size", "licence", "data", "recipe", "commit"]
)
def test_a_missing_key_is_named(listed: List, key: str) -> None:
    path = listed(b"abc")
    path.write_text(
        "\n".join(line for line in path.read_text().splitlines() if not line.startswith(f"{key} ="))
    )
    with pytest.raises(ModelError, match=rf"'small'.*'{key}' is missing"):
        manifest.entries()


@pytest.mark.parametrize("text", ["[small", "small = 3", "[Small]", '["../x"]'])
def test_what_is_no_manifest_is_refused(listed: List, text: str) -> None:
    path = listed(b"abc")
    path.write_text(text)
    with pytest.raises(ModelError, match=r"weights\.toml"):
        manifest.entries()


def test_a_manifest_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SDR2HDR_WEIGHTS", str(tmp_path / "gone.toml"))
    with pytest.raises(ModelError, match=r"gone\.toml"):
        manifest.entries()


def test_a_users_entry_replaces_no_bundled_one(
    listed: List, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = listed(b"abc", default=True)
    bundled = tmp_path / "bundled.toml"
    bundled.write_text(path.read_text())
    monkeypatch.setattr(manifest, "BUNDLED", bundled)
    with pytest.raises(ModelError, match=r"weights\.toml: weight 'small'.*bundled\.toml"):
        manifest.entries()
    path.write_text(path.read_text().replace("[small]", "[mine]"))
    with pytest.raises(ModelError, match=r"'mine'.*'default'.*small"):
        manifest.entries()
    path.write_text(path.read_text().replace("default = true", ""))
    assert list(manifest.entries()) == ["small", "mine"]


def test_a_users_file_lies_beside_the_manifest_or_where_it_says(
    listed: List, tmp_path: Path
) -> None:
    listed(b"abc")
    assert manifest.find("small").file == tmp_path / "small.safetensors"
    listed(b"abc", source="file:/elsewhere/small.safetensors")
    assert manifest.find("small").file == Path("/elsewhere/small.safetensors")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.org/a", True),
        ("http://127.0.0.1:80/a", True),
        ("http://localhost/a", True),
        ("http://example.org/a", False),
        ("http://localhost.example.org/a", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("http://[::1", False),
    ],
)
def test_only_https_and_this_machine_are_fetched(url: str, allowed: bool) -> None:
    assert allowed_url(url) == allowed


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
plain = st.one_of(
    texts,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
tables = st.dictionaries(texts, st.one_of(plain, st.lists(plain)))


@settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no failure
@given(texts, texts, tables, tables, st.booleans())
def test_a_table_reads_back_as_written(
    data: str, recipe: str, config: Any, scores: Any, default: bool
) -> None:
    entry = WeightEntry(
        name="a.b-c", model="wmnet", source="https://example.org/a", sha256="0" * 64, size=7, licence="MIT", data=data,
        recipe=recipe, commit="unknown", manifest=Path("x"), config=config, scores=scores, default=default,
    )  # fmt: skip
    table = tomllib.loads(entry.to_toml())["a.b-c"]
    assert WeightEntry(name="a.b-c", manifest=Path("x"), **table) == entry


def test_what_ships_is_what_the_manifest_says() -> None:
    shipped = manifest.read_manifest(manifest.BUNDLED)
    files = [entry.file for entry in shipped if entry.file]
    assert sorted(manifest.FILES.glob("*")) == sorted(files)
    assert sum(file.stat().st_size for file in files) < 30 * 2**20
    for entry in shipped:
        if entry.file:
            fetch.check(entry.file, entry)
            load_model(entry.name)
