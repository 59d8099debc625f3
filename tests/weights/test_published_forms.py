"""A published form is not filled with a weight of our own form, whichever command asks for it."""

from pathlib import Path

import pytest
from frame_makers import RECIPE, write_frames
from media_makers import make_clip

from sdr2hdr.cli.main import main
from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.weights.opened import load_model
from sdr2hdr.weights.save import save_weights
from sdr2hdr.weights.starting import starting_tensors

WITH_A_FORM = [name for name in registry.names() if registry.spec(name).published is not None]


@pytest.fixture
def mislabelled(tmp_path: Path) -> Path:
    """The bundled weight in a file that says it is of the published form."""
    path = tmp_path / "mislabelled.safetensors"
    config = registry.configuration("wmnet", "published")
    save_weights(path, "wmnet", load_model("wmnet").state_dict(), config)
    return path


def told(capsys: pytest.CaptureFixture[str]) -> str:
    text = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in text and "bug" not in text
    return text


@pytest.mark.parametrize("name", WITH_A_FORM)
def test_no_published_form_starts_from_a_weight_of_ours(name: str) -> None:
    assert registry.stands_alone(name, "published") and not registry.stands_alone(name)
    with pytest.raises(
        ModelError, match=rf"^{name} is a weight of our own form of {name}, [^.]*\.$"
    ):
        starting_tensors(name, alone=True)
    assert starting_tensors(name)


def test_a_published_form_starts_from_its_own(weight: Path) -> None:
    [found] = starting_tensors(str(weight), alone=True)
    assert found.keys() == load_model(str(weight)).state_dict().keys()


def test_a_source_can_be_for_a_part_of_a_network() -> None:
    whole, part = starting_tensors("wmnet-fast", "first.=wmnet-fast")
    assert part.keys() == {f"first.{name}" for name in whole}
    assert all(part[f"first.{name}"].equal(t) for name, t in whole.items())
    with pytest.raises(ModelError, match="nothing"):
        starting_tensors("first.=nothing")


@pytest.mark.parametrize("name", ["wmnet", "hdrvdiff"])
def test_train_refuses_before_it_downloads_or_writes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[object] = []  # HDR-V-Diff's recipe starts from a file of the hub
    monkeypatch.setattr("sdr2hdr.weights.download.from_hub", lambda *a: fetched.append(a))
    out = tmp_path / "run"
    words = ["train", f"{name}-paper", "--corpus", str(tmp_path), "--out", str(out)]
    assert main([*words, "--start", name]) == 5
    assert f"{name} is a weight of our own form of {name}" in told(capsys)
    assert not fetched and not out.exists()


def test_reproduce_refuses_before_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "tiny.toml", tmp_path / "out"
    text = RECIPE.replace('base = "bt2408"', 'form = "published"')
    recipe.write_text(text.replace("warmup = 1", 'start = "wmnet"'))
    words = ["reproduce", "wmnet", "--data", tmp_path, "--out", out, "--recipe", recipe]
    assert main(list(map(str, words))) == 5
    assert "wmnet is a weight of our own form of wmnet" in told(capsys)
    assert not out.exists()


def test_convert_and_evaluate_refuse_it_in_a_sentence(
    mislabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, target = make_clip(tmp_path / "film.mp4", frames=2, size=(96, 64)), tmp_path / "out.mkv"
    assert (
        main(["convert", str(film), str(target), "--weights", str(mislabelled), "--model", "wmnet"])
        == 5
    )
    assert "its tensors are of our own form of wmnet" in told(capsys) and not target.exists()
    pairs = write_frames(tmp_path / "pairs", scenes=1, frames=2)
    assert main(["evaluate", str(pairs), "--models", str(mislabelled), "--metrics", "psnr"]) == 5
    assert "its tensors are of our own form of wmnet" in told(capsys)
