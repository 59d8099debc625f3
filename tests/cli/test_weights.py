"""``sdr2hdr weights``: the manifest's words, the files' checks, the import."""

import hashlib
import json
import tomllib
from pathlib import Path

import pytest
import torch

from sdr2hdr.cli.main import main
from sdr2hdr.models import registry
from sdr2hdr.weights import manifest
from sdr2hdr.weights.importers import PUBLISHED
from sdr2hdr.weights.opened import load_model

DATA = b"not really a weight"
Said = pytest.CaptureFixture[str]

TABLE = """
[mine]
model = "wmnet"
source = "{source}"
sha256 = "{sha256}"
size = {size}
licence = "CC0 [bold]"
data = "noise"
recipe = "none"
commit = "unknown"
scores = {{ psnr = 31.5 }}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One weight of the user's own, a local file."""
    for name in ("HF_HUB_OFFLINE", "SDR2HDR_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDR2HDR_OFFLINE", "")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("SDR2HDR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "mine.safetensors"
    path.write_bytes(DATA)
    write(f"file:{path}")
    return path


def write(source: str) -> None:
    path = manifest.user_manifest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        TABLE.format(source=source, sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA))
    )


def test_list_shows_the_users_weights(mine: Path, capsys: Said) -> None:
    assert main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert "mine" in out
    assert "CC0 [bold]" in out
    assert main(["weights", "list", "--json"]) == 0
    facts = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert facts["mine"]["path"] == str(mine)
    assert facts["mine"]["present"] is True


def test_show_tells_all(mine: Path, capsys: Said) -> None:
    assert main(["weights", "show", "mine"]) == 0
    out = capsys.readouterr().out
    assert all(
        word in out for word in (hashlib.sha256(DATA).hexdigest(), "psnr: 31.5", "noise", str(mine))
    )
    assert main(["weights", "show", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"] == {"psnr": 31.5}


def test_show_names_the_known_ones(mine: Path, capsys: Said) -> None:
    assert main(["weights", "show", "yours"]) == 5
    err = capsys.readouterr().err
    assert "'yours'" in err
    assert "mine" in err


@pytest.mark.parametrize("command", ["path", "pull"])
def test_a_local_weight_is_checked_and_its_path_printed(
    mine: Path, capsys: Said, command: str
) -> None:
    assert main(["weights", command, "mine"]) == 0
    assert capsys.readouterr().out == f"{mine}\n"
    mine.write_bytes(DATA[:-1] + b"T")
    assert main(["weights", command, "mine"]) == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert "SHA-256" in said.err


def test_verify_names_the_spoilt(mine: Path, capsys: Said) -> None:
    assert main(["weights", "verify"]) == 0
    assert "mine: good" in capsys.readouterr().out
    mine.write_bytes(DATA[:-1] + b"T")
    for args in (["weights", "verify"], ["weights", "verify", "mine"]):
        assert main(args) == 5
        said = capsys.readouterr()
        assert "SHA-256" in said.out
        assert said.err.startswith("Error: ")
        assert "mine" in said.err


def test_what_is_not_downloaded_is_said(mine: Path, capsys: Said) -> None:
    write("https://example.org/mine.safetensors")
    assert main(["weights", "verify"]) == 0
    assert "mine: not downloaded" in capsys.readouterr().out
    for command in ("path", "verify"):
        assert main(["weights", command, "mine"]) == 5
        said = capsys.readouterr()
        assert "is not downloaded yet; run `sdr2hdr weights pull mine`" in said.out + said.err
    assert main(["weights", "list"]) == 0
    assert "not downloaded" in capsys.readouterr().out


def test_pull_offline_says_so(mine: Path, capsys: Said) -> None:
    write("https://example.org/mine.safetensors")
    assert main(["weights", "pull", "mine", "--offline"]) == 5
    assert "offline" in capsys.readouterr().err


def test_import_says_the_licence_first_and_gives_a_table_to_paste(
    mine: Path, capsys: Said, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    state = registry.build("wmnet", PUBLISHED["wmnet"].config).state_dict()
    torch.save({"params": state, "iter": 7}, tmp_path / "stage2.pth")
    assert main(["weights", "import", "wmnet", str(tmp_path / "stage2.pth")]) == 0
    said = capsys.readouterr()
    new = tmp_path / "stage2.safetensors"
    assert said.err.startswith("Licence: ")
    assert "CC BY-NC" in said.err
    assert "Left out, as the network has no use for it: iter" in said.err
    assert said.err.index("Licence") < said.err.index("Written")
    assert (
        tomllib.loads(said.out)["wmnet-published"]["sha256"]
        == hashlib.sha256(new.read_bytes()).hexdigest()
    )
    manifest.user_manifest().write_text(said.out)
    assert all(
        torch.equal(t, state[k]) for k, t in load_model("wmnet-published").state_dict().items()
    )
    assert main(["weights", "show", str(new)]) == 0
    assert "wmnet" in capsys.readouterr().out


def test_import_refuses_with_the_licence_said_and_nothing_written(
    mine: Path, capsys: Said, tmp_path: Path
) -> None:
    assert main(["weights", "import", "bt2408", "a.pth"]) == 5
    assert "wmnet" in capsys.readouterr().err
    out = tmp_path / "new.safetensors"
    assert main(["weights", "import", "wmnet", str(tmp_path / "gone.pth"), "-o", str(out)]) == 5
    assert "gone.pth" in capsys.readouterr().err
    assert not out.exists()
