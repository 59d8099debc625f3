"""``reproduce``: a paper's training and evaluation from its data sets to its table, on made-up copies of them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from exposed_makers import cinematic, deephdrvideo
from frame_makers import RECIPE, write_pairs, write_septuplets

from sdr2hdr.cli.main import main
from sdr2hdr.metrics.measures import MEASURES
from sdr2hdr.training.papers import measured, papers, rehearsal, runs
from sdr2hdr.training.recipe import RECIPES, read_recipe, recipe_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """HDRTV4K-Scene with two training scenes and one test scene; the long scenes are missing."""
    folder = tmp_path / "data/HDRTV4KScene"
    for part, scenes in (("train", ("abp1_bamboo", "ugc2_sunroom")), ("test", ("abp1_dancing",))):
        names = [f"{scene}/{n:03d}" for scene in scenes for n in range(2)]
        write_pairs(folder, f"{part}_scene_sdr", f"{part}_scene_hdr", names, (136, 144))
    return folder.parent


@pytest.fixture
def command(data: Path, tmp_path: Path) -> list[str]:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.replace("select = 1", "select = 0\nexact = true\nflips = false"))
    words = ["reproduce", "wmnet", "--data", data, "--out", tmp_path / "out", "--recipe", recipe]
    return list(map(str, words))


def test_every_paper_recipe_has_its_tables() -> None:
    found = papers()
    for name, paper in found.items():
        for table in paper.tables:
            assert set(table.measures) <= set(MEASURES), name
            assert paper.ours in table.rows or "own row" in table.note
    for path in RECIPES.glob("*-paper.toml"):
        assert found[read_recipe(path).model].recipe == path.stem


def test_from_a_data_set_to_the_papers_table(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "Table I, on HDRTV4KScene" in shown.out and "36.23" in shown.out
    assert "HDRTV4KLong" in " ".join(shown.err.split())
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert (results["steps"], results["of"]) == (3, 3)
    first, second = results["tables"]
    assert first["frames"] == 2 and 5 < first["ours"]["psnr"] < 60
    assert first["paper"]["de_itp"] == 10.78
    assert second["ours"] == {} and "no folder HDRTV4KLong" in second["notes"][0]
    patches = {p.name for p in (tmp_path / "out/patches/sdr").iterdir()}
    assert {p.split("_y")[0] for p in patches} == {"abp1_bamboo", "ugc2_sunroom"}
    # again: nothing is trained or cut anew, and the results are the same
    before = (tmp_path / "out/checkpoint.pt").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "out/checkpoint.pt").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "out/results.json").read_text()) == results
    # with the data set elsewhere the patches and clips would be another's
    (tmp_path / "data").rename(tmp_path / "moved")
    capsys.readouterr()
    assert main([str(tmp_path / "moved") if w.endswith("/data") else w for w in command]) == 3
    assert "out was begun with" in " ".join(capsys.readouterr().err.split())


def _without(part: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for side in ("sdr", "hdr"):
            (folder / f"{part}_scene_{side}").rename(folder.parent / f"{part}_{side}")

    return spoil


def _halved(folder: Path) -> None:
    (folder / "test_scene_hdr/abp1_dancing/001.png").unlink()


def _frames_alone(folder: Path) -> None:
    alone = folder.parent / "alone"
    (folder / "test_scene_sdr").rename(alone)
    shutil.rmtree(folder)
    alone.rename(folder)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda f: f.rename(f.with_name("other")), "holds no folder HDRTV4KScene"),
    "another layout": (
        lambda f: [p.rename(p.with_name(p.name[::-1])) for p in list(f.iterdir())],
        "holds no PNG frames",
    ),
    "frames without HDR": (_frames_alone, "is of another layout than HDRTV4KScene"),
    "no test part": (_without("test"), "holds no frames for tests"),
    "no training part": (_without("train"), "holds no frames for training"),
    "half a scene": (_halved, "has no frame of the same name"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_damaged_data_set_is_one_sentence_before_anything_is_written(
    what: str,
    command: list[str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil, said = BAD[what]
    spoil(data / "HDRTV4KScene")
    assert main(command) == 3
    error = " ".join(capsys.readouterr().err.split())
    assert said in error and error.startswith("Error:") and error.count(". ") == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train hdrvdiff-paper --corpus", "reproduce hdrvdiff --data"])
def test_half_downloaded_septuplets_are_found_before_a_download(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fetched: list[object] = []  # the recipe starts from a file of the hub
    monkeypatch.setattr("sdr2hdr.weights.download.from_hub", lambda *a: fetched.append(a))
    monkeypatch.setattr(
        "sdr2hdr.training.perceptual.features", lambda _: None
    )  # as if VGG19 were there
    folder, out = write_septuplets(tmp_path / "vimeo_septuplet"), tmp_path / "out"
    (folder / "sequences/00001/0002/im5.png").unlink()
    assert main([*command.split(), str(folder), "--out", str(out)]) == 3
    assert "1 of 2 septuplets are incomplete" in " ".join(capsys.readouterr().err.split())
    assert not fetched and not out.exists()


def test_compressed_sdr_of_one_qp_is_not_taken_for_every_qp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "HDRTV1K/train_lq").mkdir(parents=True)
    assert main(["reproduce", "kpnet", "--data", str(tmp_path)]) == 3
    assert "holds SDR of one QP" in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test parts of the papers' data sets."""
    folder = tmp_path_factory.mktemp("sets")
    film = [f"film/{n:04d}" for n in range(1, 8)]
    for name, sdr, frames in (
        ("HDRTV4KScene", "test_scene_sdr", ["abp1_dancing/000", "abp1_dancing/001"]),
        ("HDRTV4KLong", "test_video_scene_sdr", ["scene01/01", "scene01/02"]),
        ("HDRTV1K", "test_sdr", ["001", "002"]),
        ("HDRTV1K-films", "test_sdr", film),
        ("FMSTF-films", "test_sdr", film[:2]),
    ):
        write_pairs(folder / name, sdr, sdr.replace("sdr", "hdr"), frames, (64, 64))
    deephdrvideo(folder / "dynamic_RGB_data_2exp_release")
    deephdrvideo(folder / "dynamic_RGB_data_3exp_release")
    cinematic(folder / "HDR_Synthetic_Test_Dataset", (1.0, 4.0))
    cinematic(folder / "HDR_Synthetic_Test_Dataset")
    return folder


FRAMES = {
    "wmnet": [2, 2],
    "didnet": [1, 1, 1, 1, 28],
    "kpnet": [2, 2, 2, 2],
    "fmstfnet": [2],
    "hdrvdiff": [2, 2, 1, 1],
}


@pytest.mark.parametrize("name", FRAMES)
def test_every_table_of_a_paper_is_measured_on_its_own_frames(name: str, sets: Path) -> None:
    """With a static mapping as the weight: of seven frames the middle one counts, of two exposures only scenes with two."""
    tables = papers()[name].tables
    found = list(measured(tables, sets, Path("bt2408"), device="cpu"))
    assert [m.frames for m in found] == FRAMES[name]
    for m in found:
        absent = {note.split()[0] for note in m.notes if note != m.table.note}
        wanted = set(m.table.measures) - absent - {"ms_ssim"}  # too small a picture
        assert wanted and wanted <= set(m.values)
    if name in ("didnet", "kpnet"):  # the higher the QP, the worse
        psnr = [m.values["psnr"] for m in found if "psnr" in m.values]
        assert len(psnr) == 4 and psnr[0] > psnr[-1]


def test_kpnet_has_a_weight_for_each_qp_of_its_table() -> None:
    paper = papers()["kpnet"]
    found = runs(paper, read_recipe(recipe_path(Path(paper.recipe))))
    assert [run.recipe.clips.qps for run in found] == [(32,), (37,), (42,), (47,)]
    assert all(run.tables[0].qps == run.recipe.clips.qps for run in found)
    assert len({run.recipe.name for run in found} | {run.name for run in found}) == 8


@pytest.mark.parametrize("steps", [1, 20, 10**9])
def test_a_rehearsal_keeps_the_shares_of_stages_and_halvings(steps: int) -> None:
    whole = read_recipe(recipe_path(Path("wmnet-paper")))
    cut = rehearsal(whole, steps)
    if steps > whole.steps:
        assert cut == whole
        return
    assert cut.steps == max(steps, len(whole.stages))
    assert cut.clips.count <= sum(s.steps * s.batch for s in cut.stages)
    same = [replace(s, steps=1) for s in cut.stages]
    assert same == [replace(s, steps=1) for s in whole.stages]
