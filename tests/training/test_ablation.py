"""Ablations on a tiny recipe: an equal budget, a table, and going on after a stop."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from frame_makers import RECIPE, write_frames, write_pairs

from sdr2hdr.cli.main import main
from sdr2hdr.training import ablation

ROOT = Path(__file__).parents[2]
VARIANTS = """
recipe = "tiny.toml"
[[variants]]
name = "base alone"
untrained = true
[[variants]]
name = "baseline"
tasks = ["mapping"]
config = { experts = false, attention = "none" }
[[variants]]
name = "+ W-MIM"
masking = 0.25
paper = { psnr = 36.5 }
"""


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sdr2hdr.training.ablation", *map(str, words)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The same within this process."""

    def run_here(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["ablation", *map(str, words)])
        ablation.main()

    return run_here


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("room")
    (folder / "tiny.toml").write_text(RECIPE)
    (folder / "variants.toml").write_text(VARIANTS)
    write_frames(folder / "set", scenes=12)  # one of these is set aside to choose on
    words = [
        "train",
        str(folder / "tiny.toml"),
        "--corpus",
        str(folder / "set"),
        "--out",
        str(folder / "run"),
    ]
    assert main(words) == 0
    return folder


def test_variants_have_one_budget_and_a_stopped_ablation_goes_on(
    room: Path, here: Callable[..., None]
) -> None:
    words = (
        room / "variants.toml",
        "--clips",
        room / "run/clips",
        "--out",
        room / "out",
        "--steps",
        3,
    )
    done = run(*words)
    assert done.returncode == 0, done.stderr
    table = (room / "out/ablation.md").read_text()
    rows = {
        line.split(" | ")[0].strip("| "): line
        for line in table.splitlines()
        if line.startswith("| ")
    }
    assert (
        list(rows) == ["variant", "base alone", "baseline", "+ W-MIM"] and "3 steps each" in table
    )
    assert rows["variant"].endswith("| the paper's PSNR dB |") and rows["baseline"].endswith(
        "| - |"
    )
    assert rows["+ W-MIM"].endswith("| 36.5 |")
    kept = {p.parent.name: p.read_text() for p in (room / "out").glob("*/scores.json")}
    for name, text in kept.items():
        recipe = text.split("stages=")[1].split("learning_rate")[0]
        assert sum(int(s.split(",")[0]) for s in recipe.split("steps=")[1:]) == 3, name
    assert "masking=0.25" in kept["w_mim"] and "task='masked'" not in kept["baseline"]
    # as if it had been killed between training and measuring the last
    (room / "out/w_mim/scores.json").unlink()
    before = (room / "out/baseline/checkpoint.pt").stat().st_mtime_ns
    here(*words)
    again = (room / "out/ablation.md").read_text().splitlines()
    assert (
        again[:-1] == table.splitlines()[:-1]
        and (room / "out/baseline/checkpoint.pt").stat().st_mtime_ns == before
    )
    assert again[-1].split(" | ")[3:] == table.splitlines()[-1].split(" | ")[3:]


def test_rows_may_take_over_what_another_trained(room: Path, here: Callable[..., None]) -> None:
    path = room / "shared.toml"
    row = '[[variants]]\nname = "first"\ntasks = ["mapping"]\nscored = false\nsteps = 2\n'
    path.write_text(
        f'recipe = "tiny.toml"\n{row}[[variants]]\nname = "second"\nbefore = "first"\ntasks = ["mapping"]\nuntrained = true\n'
    )
    here(path, "--clips", room / "run/clips", "--out", room / "shared", "--steps", 1)
    table = (room / "shared/ablation.md").read_text()
    assert (
        "\n| second |" in table
        and "\n| first |" not in table
        and "Before them first: 2 steps of mapping." in table
    )
    first, second = (
        torch.load(room / f"shared/{name}/trained.pt", weights_only=True)
        for name in ("first", "second")
    )
    assert (
        first
        and first.keys() == second.keys()
        and all(torch.equal(first[key], second[key]) for key in first)
    )
    path.write_text(f'recipe = "tiny.toml"\n{row}before = "second"\n')
    done = run(path, "--clips", room / "run/clips", "--out", room / "no")
    assert done.returncode == 1 and done.stderr.startswith("Error:"), done.stderr
    assert "is no variant before it" in done.stderr and "Traceback" not in done.stderr


def test_rows_are_measured_on_the_test_part_of_a_data_set(
    room: Path, tmp_path: Path, here: Callable[..., None]
) -> None:
    table = room / "tested.toml"
    table.write_text(
        'recipe = "tiny.toml"\n[[variants]]\nname = "plain"\nuntrained = true\ntasks = ["mapping"]\n'
    )
    test = write_pairs(tmp_path, "test_sdr", "test_hdr", ["s1/0", "s1/1", "s1/2"], (64, 64))
    words = [table, "--clips", room / "run/clips", "--out", tmp_path / "out"]
    here(*words, "--test", test, "--qp", "37,42", "--middle", "3")
    found = json.loads((tmp_path / "out/plain/scores.json").read_text())["scores"]
    table_of = (tmp_path / "out/ablation.md").read_text()
    assert f"the test frames of {test}, QP 37, 42, the middle of 3 frames" in table_of
    # the same as `evaluate` has it
    weight = str(tmp_path / "out/plain/tiny.safetensors")
    given = ["evaluate", str(test), "--models", weight, "--qp", "37,42", "--middle", "3"]
    given += ["--peak", "10000", "--precision", "float32", "--device", "cpu"]
    assert main([*given, "--out", str(tmp_path / "report"), "--worst", "0"]) == 0
    scores = json.loads((tmp_path / "report/scores.json").read_text())["scores"]
    assert len(scores) == 2
    mean = sum(s["values"]["psnr"] for s in scores) / 2
    assert found["psnr"] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('recipe = "tiny.toml"', ""), "is no list of variants"),
        (('name = "baseline"', 'name = "base alone"'), "two variants of one name"),
        (("masking = 0.25", "maskign = 0.25"), "maskign"),
        (("psnr = 36.5", "beauty = 1"), "beauty, which is not measured"),
        (('tasks = ["mapping"]', 'tasks = ["none"]'), "leaves no stage"),
        (("[[variants]]", "[[variants"), "cannot be read"),
    ],
)
def test_bad_variants_are_one_sentence(
    change: tuple[str, str], said: str, room: Path, tmp_path: Path, here: Callable[..., None]
) -> None:
    path = room / f"{tmp_path.name}.toml"
    path.write_text(VARIANTS.replace(*change))
    with pytest.raises(SystemExit) as ended:
        here(path, "--clips", room / "run/clips", "--out", tmp_path / "out", "--steps", 3)
    words = str(ended.value.code)  # a text goes to standard error, and the exit code is 1
    assert words.startswith("Error:") and said in words
    assert not (tmp_path / "out").exists()
