"""The layouts of published data sets: made-up copies of a few small frames are read, split and refused as the real ones are."""

import json
from pathlib import Path

import pytest
import torch
from frame_makers import RECIPE, write_pairs

from sdr2hdr.cli.main import main
from sdr2hdr.data.damage import Damage
from sdr2hdr.data.footage import PairedMaker
from sdr2hdr.data.paired import paired_scenes, sides, with_compressed
from sdr2hdr.data.scene_list import ListedScene, SceneList, select
from sdr2hdr.data.store import Sampler, read_clip, write_clip
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import read_codes
from sdr2hdr.training.recipe import read_recipe


def hdrtv1k(folder: Path) -> Path:
    """HDRTV1K: unrelated frames, numbered, in four folders."""
    for part, count in (("train", 4), ("test", 2)):
        write_pairs(folder, f"{part}_sdr", f"{part}_hdr", [f"{n:03d}" for n in range(count)])
    return folder


def hdrtv4k_scene(folder: Path) -> Path:
    """HDRTV4K-Scene of WMNet's authors: a folder for each scene in four folders."""
    for part, scenes in (("train", ("abp1_bamboo", "ugc2_sunroom")), ("test", ("abp1_dancing",))):
        names = [f"{scene}/{n:03d}" for scene in scenes for n in range(3)]
        write_pairs(folder, f"{part}_scene_sdr", f"{part}_scene_hdr", names)
    return folder


def hdrtv4k_long(folder: Path) -> Path:
    """HDRTV4K-LongScene: test scenes only."""
    names = [f"scene{s:02d}/{n:02d}" for s in (1, 2) for n in range(1, 5)]
    write_pairs(folder, "test_video_scene_sdr", "test_video_scene_hdr", names)
    return folder


PAIRED = {
    hdrtv1k: {"train": [(".", 4)], "test": [(".", 2)]},
    hdrtv4k_scene: {
        "train": [("abp1_bamboo", 3), ("ugc2_sunroom", 3)],
        "test": [("abp1_dancing", 3)],
    },
    hdrtv4k_long: {"test": [("scene01", 4), ("scene02", 4)]},
}


@pytest.mark.parametrize("layout", PAIRED, ids=lambda f: f.__name__)
def test_the_parts_of_a_data_set_are_told_by_its_folders(layout: object, tmp_path: Path) -> None:
    folder = layout(tmp_path / "set")  # type: ignore[operator]
    for part, scenes in PAIRED[layout].items():  # type: ignore[index]
        found = paired_scenes(*sides(folder, part))
        assert [(s.name, len(s)) for s in found] == scenes


def test_training_reads_the_training_scenes_and_evaluation_the_test_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hdrtv4k_scene(tmp_path / "HDRTV4KScene")
    maker = PairedMaker(folder, "train", size=(32, 32), frames=2, exact=True)
    assert {s.name for s in maker.material} == {"abp1_bamboo", "ugc2_sunroom"}
    assert main(["evaluate", str(folder), "--models", "bt2408", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {s["scene"] for s in scores} == {"abp1_dancing"} and len(scores) == 3


def test_half_a_data_set_is_refused_with_the_folder_that_is_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hdrtv1k(tmp_path / "set")
    (folder / "train_hdr").rename(tmp_path / "elsewhere")
    assert len(paired_scenes(*sides(folder, "test"))) == 1
    with pytest.raises(InputError, match="holds train_sdr without its partner"):
        sides(folder, "train")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    command = ["train", str(recipe), "--corpus", str(folder), "--out", str(tmp_path / "run")]
    assert main(command) == 3
    assert capsys.readouterr().err.count("\n") <= 3


def test_exact_clips_are_the_frames_themselves(tmp_path: Path) -> None:
    folder = hdrtv4k_scene(tmp_path / "set")
    maker = PairedMaker(folder, "train", size=(32, 48), frames=3, exact=True)
    for number in range(6):
        clip = maker.train_clip(number)
        write_clip(clip, tmp_path / "clip.safetensors")
        clip = read_clip(tmp_path / "clip.safetensors")
        frames = [
            torch.stack([read_codes(folder / f"train_scene_{s}/{clip.scene}/{n:03d}.png") for n in range(3)])
            for s in ("sdr", "hdr")
        ]  # fmt: skip
        windows = frames[0].unfold(-2, 32, 2).unfold(-2, 48, 2)  # T,3,y,x,32,48 at even places
        here = (windows - clip.sdr()[:, :, None, None]).abs().amax((0, 1, 4, 5)) < 1e-6
        assert here.any()
        y, x = (int(i) * 2 for i in here.nonzero()[0])
        hdr = frames[1][..., y : y + 32, x : x + 48]
        assert torch.allclose(clip.hdr(), hdr, atol=1e-6) and clip.qp == 0
        area = (slice(3, 20), slice(5, 40))
        assert torch.equal(clip.sdr(slice(1, 2), area), clip.sdr()[1:2, :, 3:20, 5:40])
    assert not PairedMaker(folder, "select", size=(32, 48), frames=3, exact=True).scenes


def test_exact_clips_go_through_the_codec_that_the_recipe_names(tmp_path: Path) -> None:
    folder = hdrtv4k_scene(tmp_path / "set")
    damage = Damage(undamaged=0.0, qps=(37,), codec="libx265")
    maker = PairedMaker(folder, "train", size=(32, 32), frames=2, exact=True, damage=damage)
    clip = maker.train_clip(0)
    assert clip.qp == 37 and clip.planes[1].shape == (2, 16, 16)
    error = (clip.sdr() - clip.undamaged()).abs()
    assert 0.001 < error.mean() < 0.1


def test_compressed_frames_of_a_data_set_are_the_sdr_of_exact_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_pairs(
        tmp_path / "set", "train_sdr", "train_hdr", [f"film/{n}" for n in range(3)], (64, 64)
    )
    command = ["dataset", "compress", str(folder / "train_sdr"), str(folder / "train_lq")]
    assert main([*command, "--qp", "37", "--films"]) == 0
    damage = Damage(undamaged=0.0, qps=(37,), codec="libx265")
    maker = PairedMaker(folder, "train", size=(64, 64), frames=3, exact=True, damage=damage)
    clip = maker.train_clip(0)
    frames = [
        torch.stack([read_codes(folder / f"train_{side}/film/{n}.png") for n in range(3)])
        for side in ("lq", "sdr", "hdr")
    ]
    assert clip.qp == 37 and torch.equal(clip.sdr(), frames[0])
    assert torch.equal(clip.undamaged(), frames[1]) and not torch.equal(frames[0], frames[1])
    assert torch.allclose(clip.hdr(), frames[2], atol=1e-6)
    # patches and lists of scenes keep them
    assert main(["dataset", "crop", str(folder), str(tmp_path / "patches"), "--size", "32"]) == 0
    patch = read_codes(tmp_path / "patches/lq/film_y0000_x0032/1.png")
    assert torch.equal(patch, frames[0][1, :, :32, 32:])
    listed = SceneList((ListedScene("it", "film", ("0", "2"), "train"),), 0, 1, 0)
    sdr, hdr = sides(folder, "train")
    (chosen,) = select(with_compressed(paired_scenes(sdr, hdr), sdr), listed, "train")
    assert [p.stem for p in chosen.compressed] == ["0", "2"]
    (folder / "train_lq/film/1.png").unlink()
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.replace("select = 1", "select = 0\nexact = true"))
    words = ["train", str(recipe), "--corpus", str(folder), "--out", str(tmp_path / "run")]
    assert main(words) == 3
    assert "has no frame of the same name in" in " ".join(capsys.readouterr().err.split())


def test_patches_lie_as_in_the_frames_if_the_recipe_wants_no_flips(tmp_path: Path) -> None:
    folder = hdrtv4k_scene(tmp_path / "set")
    maker = PairedMaker(folder, "train", size=(32, 32), frames=2, exact=True)
    (tmp_path / "clips").mkdir()
    write_clip(maker.train_clip(0), tmp_path / "clips/0.safetensors")
    clip = read_clip(tmp_path / "clips/0.safetensors")
    for step in range(3):
        plain = Sampler(tmp_path / "clips", 0, flips=False).batch(step, 4, 2, 32, 0)
        assert all(torch.equal(p, clip.sdr()) for p in plain.sdr)
    turned = Sampler(tmp_path / "clips", 0).batch(0, 8, 2, 32, 0)
    assert not all(torch.equal(p, clip.sdr()) for p in turned.sdr)


def test_a_recipe_of_exact_frames_refuses_a_corpus_of_stills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.replace("select = 1", "select = 0\nexact = true\nflips = false"))
    assert read_recipe(recipe).clips.exact
    (tmp_path / "stills").mkdir()
    command = [
        "train", str(recipe), "--corpus", str(tmp_path / "stills"), "--out", str(tmp_path / "run")
    ]  # fmt: skip
    assert main(command) == 3
    assert "takes paired frames as they are" in " ".join(capsys.readouterr().err.split())
    folder = hdrtv4k_scene(tmp_path / "set")
    assert main([*command[:3], str(folder), *command[4:]]) == 0
    assert len(list((tmp_path / "run/clips/train").iterdir())) == 3
