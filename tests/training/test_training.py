"""The training room on a tiny corpus of made-up scenes."""

import errno
import hashlib
import json
import sys
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import OpenEXR
import pytest
import pywt
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from filelock import FileLock

from sdr2hdr.cli.commands import cli
from sdr2hdr.data import camera
from sdr2hdr.data.clips import ClipMaker, to_planes
from sdr2hdr.data.grading import LOOKS, Master, Mix, grade, render_sdr
from sdr2hdr.data.staging import restage
from sdr2hdr.data.stills import stills
from sdr2hdr.data.store import Sampler, claim, make_clips, read_clip, write_clip
from sdr2hdr.errors import InputError, ModelError, OutputError
from sdr2hdr.evaluation.val import converter
from sdr2hdr.media.transcode import through_codec
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.models import registry
from sdr2hdr.models.fmstfnet.fourier import at_place
from sdr2hdr.training import curves, masking
from sdr2hdr.training.export import enter, export
from sdr2hdr.training.loop import Report, Trainer, fresh, read_checkpoint
from sdr2hdr.training.losses import (
    clean_loss,
    damage,
    gaussian_ssim,
    grid_loss,
    perceptual_loss,
    pyramid_loss,
)
from sdr2hdr.training.perceptual import features
from sdr2hdr.training.recipe import RECIPES, Stage, read_recipe
from sdr2hdr.training.tasks import TASKS
from sdr2hdr.weights.manifest import read_manifest
from sdr2hdr.weights.opened import load_model

RECIPE = """
name = "tiny"
model = "wmnet"
warmup = 2
select_every = 2
[clips]
count = 4
frames = 2
height = 48
width = 64
select = 2
[config]
base = "look"
attention = "tokens"
blocks = 3
[[stages]]
task = "masked"
steps = 2
batch = 2
frames = 1
patch = 32
[[stages]]
steps = 3
batch = 2
frames = 1
patch = 32
[[stages]]
steps = 2
batch = 2
frames = 2
patch = 32
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    entries = []
    for i in (0, 1, 2, 3, 13):  # 13 is set aside by its name
        y, x = np.mgrid[0:128, 0:256] / 128.0
        light = np.exp(2 * np.sin(3 * x + i) * np.cos(5 * y))[..., None] * np.array(
            [1.0, 0.8 - 0.1 * i, 0.5 + 0.1 * i]
        )
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": light.astype(np.float32)}).write(str(folder / f"scene{i}.exr"))
        entries.append(
            {
                "file": f"scene{i}.exr",
                "split": "val" if i == 3 else "train",
                "projection": "equirectangular" if i % 2 else "perspective",
                "primaries": "bt709",
                "white_is_one": False,
                "tag": "outdoor day",
            }
        )
    (folder / "manifest.json").write_text(json.dumps({"stills": entries}))
    return folder


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def maker(corpus: Path, split: str = "train") -> ClipMaker:
    return ClipMaker(corpus, split, size=(48, 64), frames=2, seed=5)


def made(corpus: Path, folder: Path) -> Path:
    """A folder of training and select clips."""
    for split, count in (("train", 4), ("select", 2)):
        make_clips(maker(corpus, split), folder / "clips" / split, range(count))
    return folder / "clips"


def test_a_clip_follows_from_its_number_and_seed_alone(corpus: Path, tmp_path: Path) -> None:
    assert make_clips(maker(corpus), tmp_path / "a", range(4)) == 4
    make_clips(maker(corpus), tmp_path / "b", range(3, 4))
    a, b = (read_clip(tmp_path / d / "000003.safetensors") for d in "ab")
    assert torch.equal(a.codes, b.codes) and all(
        torch.equal(p, q) for p, q in zip(a.planes, b.planes, strict=True)
    )
    assert (a.scene, a.look, a.qp) == (b.scene, b.look, b.qp)
    assert make_clips(maker(corpus), tmp_path / "a", range(4)) == 0


def test_looks_are_drawn_in_the_shares_asked_for(corpus: Path) -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(Mix(graded=0.5, grades=0.2).look(rng) for _ in range(4000))
    assert abs(drawn["graded"] / 4000 - 0.5) < 0.03 and abs(drawn["grades"] / 4000 - 0.2) < 0.03
    assert set(drawn) == {*LOOKS, "grades"}
    only = ClipMaker(
        corpus, "train", size=(48, 64), frames=1, seed=5, mix=Mix(graded=1.0, pairs=0.0)
    )
    assert {only.train_clip(n).look for n in range(8)} == {"graded"}


def test_restaged_scenes_are_new_light_as_much_of_it_and_never_val_or_select(corpus: Path) -> None:
    rng = np.random.default_rng(2)
    light, other = torch.rand(2, 3, 48, 64) + 0.1, torch.rand(2, 3, 48, 64)
    for _ in range(20):
        changed = restage(light, lambda: other, rng)
        assert (
            changed.shape == light.shape and torch.isfinite(changed).all() and (changed >= 0).all()
        )
    makers = [
        ClipMaker(corpus, s, size=(48, 64), frames=2, seed=5, mix=Mix(restaged=1.0))
        for s in ("train", "select", "val")
    ]
    plain = [maker(corpus, s) for s in ("train", "select", "val")]
    cells = [
        (m.train_clip(0).codes, p.train_clip(0).codes) for m, p in zip(makers, plain, strict=True)
    ]
    assert [torch.equal(*c) for c in cells] == [False, True, True]


def test_no_scene_is_in_two_splits(corpus: Path) -> None:
    train, select, val = (
        {s.name for s in stills(corpus, split)} for split in ("train", "select", "val")
    )
    assert (
        val == {"scene3"} and select and not train & val and not train & select and not select & val
    )
    made = {maker(corpus).train_clip(n).scene for n in range(12)}
    assert made <= train | {"chart"}
    assert {cell[0].name for cell in maker(corpus, "val").val_clips()} == val


def test_val_clips_of_one_scene_and_look_differ_in_damage_only(corpus: Path) -> None:
    m = maker(corpus, "val")
    cells = [c for c in m.val_clips() if c[1] == "graded"]
    clips = [m.val_clip(*c) for c in cells]
    assert all(torch.equal(c.codes, clips[0].codes) for c in clips)
    y = [c.planes[0].float() for c in clips]
    errors = [(p - y[0]).abs().mean().item() for p in y]
    assert errors == sorted(errors) and errors[-1] > 1.0


def test_codec_damage_grows_with_qp_for_both_codecs() -> None:
    rng = np.random.default_rng(0)
    rgb = torch.from_numpy(rng.random((2, 3, 64, 64))).float()
    planes = to_planes(rgb, rng)
    for codec in ("libx264", "libx265"):
        errors = []
        for qp in (10, 22, 42):
            damaged = through_codec(planes, codec, qp)
            assert [p.shape for p in damaged] == [p.shape for p in planes]
            errors.append((damaged[0].float() - planes[0].float()).square().mean().item())
        assert errors[0] < errors[1] < errors[2]


def undone(look: str, seed: int, codes: list[float]) -> list[float]:
    """Nits of a grey ramp at which a drawn look gives the SDR codes."""
    nits = torch.logspace(-2, 3, 2000)
    sdr = render_sdr(
        Master(nits.expand(1, 3, 1, 2000).contiguous(), 1000.0), look, np.random.default_rng(seed)
    )[0, 1, 0]
    return [
        nits[int(torch.searchsorted(sdr.contiguous(), c).clamp(max=1999))].item() for c in codes
    ]


def test_the_hdr_that_undoes_the_looks_surrounds_graded_television() -> None:
    codes, graded = [0.25, 0.5, 0.75], [8.25, 60.0, 190.0]
    drawn = np.array(
        [undone(look, seed, codes) for look in LOOKS if look != "camera" for seed in range(12)]
    )
    for column, wanted in zip(drawn.T, graded, strict=True):
        assert np.percentile(column, 10) < wanted < np.percentile(column, 90)
        assert 0.75 < np.median(column) / wanted < 1.35
    camera_ = np.median([undone("camera", seed, [0.5])[0] for seed in range(12)])
    assert camera_ == pytest.approx(203 * 0.5**2.4, rel=0.15)


@pytest.mark.parametrize("look", LOOKS)
def test_looks_are_monotonic_on_greys_and_stay_grey(look: str) -> None:
    nits = torch.logspace(-2, 3, 300).expand(1, 3, 1, 300).contiguous()
    sdr = render_sdr(Master(nits, 1000.0), look, np.random.default_rng(2))[0, :, 0]
    assert (sdr[1].diff() >= -1e-3).all()
    assert (sdr.amax(0) - sdr.amin(0)).max() < 0.02


def test_masters_keep_to_their_peak(corpus: Path) -> None:
    light = torch.rand(1, 3, 32, 32) * 50
    for seed in range(10):
        master = grade(
            light,
            LOOKS[seed % len(LOOKS)],
            np.random.default_rng(seed),
            night=False,
            white_is_one=False,
        )
        assert master.nits.min() >= 0 and master.nits.max() <= master.peak * 1.0001


def test_panorama_views_of_a_plain_sky_are_plain() -> None:
    views = camera.panorama_views(
        torch.full((3, 64, 128), 0.3), (32, 48), 3, np.random.default_rng(1)
    )
    assert torch.allclose(views, torch.full_like(views, 0.3), atol=1e-4)


def test_training_resumes_exactly(corpus: Path, recipe_file: Path, tmp_path: Path) -> None:
    recipe = read_recipe(recipe_file)
    clips = made(corpus, tmp_path)
    straight = Trainer(recipe, clips, tmp_path / "straight")
    straight.run(lambda *_: None, every=2)
    first = Trainer(recipe, clips, tmp_path / "resumed")
    for _ in range(
        5
    ):  # past the begin of the mapping stage, where everything but the encoder began anew
        first.train_step()
        if first.step == 4:
            first.select()
    first.save()
    second = Trainer(recipe, clips, tmp_path / "resumed")
    assert second.resume() and second.step == 5
    second.run(lambda *_: None, every=2)
    for a, b in zip(straight.average, second.average, strict=True):
        assert torch.equal(a, b)
    assert straight.best_psnr == second.best_psnr > 0
    assert len((tmp_path / "straight" / "loss.csv").read_text().splitlines()) == 4


def test_loss_csv_goes_on_where_the_training_does(
    corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    recipe, clips = read_recipe(recipe_file), made(corpus, tmp_path)
    straight, resumed = (Trainer(recipe, clips, tmp_path / name) for name in ("whole", "cut"))
    straight.run(lambda _: None, every=2)
    for _ in range(2):
        resumed.train_step()
    resumed.save()
    lines = (tmp_path / "whole" / "loss.csv").read_text().splitlines()
    (tmp_path / "cut" / "loss.csv").write_text("\n".join([*lines[:2], "6,-0."]))  # cut by a stop
    again = Trainer(recipe, clips, tmp_path / "cut")
    assert again.resume()
    again.run(lambda _: curves.draw(tmp_path / "cut"), every=2)
    rows = [
        [line.split(",") for line in (tmp_path / name / "loss.csv").read_text().splitlines()]
        for name in ("whole", "cut")
    ]
    assert [r[:2] + r[3:] for r in rows[0]] == [r[:2] + r[3:] for r in rows[1]]


def test_select_clips_are_measured_at_their_steps_whenever_reports_are_due(
    corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    recipe = replace(read_recipe(recipe_file), select_every=3)
    reports: list[Report] = []
    Trainer(recipe, made(corpus, tmp_path), tmp_path / "out").run(reports.append, every=5)
    assert [r.step for r in reports if r.psnr is not None] == [3, 6, 7]


def test_a_training_that_diverges_ends_and_keeps_its_checkpoint(
    corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    trainer = Trainer(read_recipe(recipe_file), made(corpus, tmp_path), tmp_path / "out")
    trainer.train_step()
    trainer.save()
    before = trainer.checkpoint.read_bytes()
    trainer.master[0].view(-1)[0] = float("nan")
    with pytest.raises(InputError, match=r"diverged by step 2.*lower its learning_rate"):
        trainer.run(lambda _: None, every=2, save_every=2)
    assert trainer.checkpoint.read_bytes() == before


def test_clips_of_another_recipe_and_damaged_clips_are_named(
    corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    recipe, clips = read_recipe(recipe_file), made(corpus, tmp_path)
    *_, last = recipe.stages
    for more in ({"frames": 3}, {"patch": 56}):
        with pytest.raises(
            InputError, match=r"000000.* has 2 frames of 64x48, and this recipe takes"
        ):
            Trainer(replace(recipe, stages=(replace(last, **more),)), clips, tmp_path / "out")
    claim(tmp_path / "new", recipe.clips.kind)
    claim(tmp_path / "new", replace(recipe.clips, count=9, select=0).kind)
    with pytest.raises(InputError, match="clips of other settings"):
        claim(tmp_path / "new", replace(recipe.clips, seed=9).kind)
    spoilt = clips / "train" / "000001.safetensors"
    whole = spoilt.read_bytes()
    for data in (whole[:5000], b""):
        spoilt.write_bytes(data)
        with pytest.raises(InputError, match=r"000001\.safetensors is damaged; delete it"):
            Trainer(recipe, clips, tmp_path / "out")


def test_a_file_that_is_no_checkpoint_is_named(recipe_file: Path, tmp_path: Path) -> None:
    recipe, path = read_recipe(recipe_file), tmp_path / "checkpoint.pt"
    contents: tuple[object, ...] = (torch.zeros(3), {"recipe": repr(recipe)}, {"step": {1}}, print)
    for content in contents:
        torch.save(content, path)
        with pytest.raises(InputError, match=r"checkpoint.*; name a folder") as said:
            read_checkpoint(path, recipe)
        assert "weights_only" not in str(said.value)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        read_checkpoint(path, recipe)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_said_of_checkpoints_clips_and_losses(
    corpus: Path, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(read_recipe(recipe_file), made(corpus, tmp_path), tmp_path / "out")
    (tmp_path / "out" / "loss.csv").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"loss\.csv cannot be written \(No space left"):
        curves.add(tmp_path / "out", (1, 0.5, 0.1, None))

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"checkpoint\.pt cannot be written \(No space left"):
        trainer.save()
    clip = read_clip(tmp_path / "clips" / "train" / "000000.safetensors")
    with pytest.raises(OutputError, match=r"x\.safetensors cannot be written \(No space left"):
        write_clip(clip, tmp_path / "x.safetensors")
    assert not list(tmp_path.rglob("*.part"))


def test_train_says_what_stands_in_its_way_before_it_makes_clips(
    corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["train", str(recipe_file), "--corpus", str(corpus), "--out"]
    for more, error, why in (
        ([str(out), "--device", "foo"], ModelError, "There is no device 'foo'"),
        ([str(out), "--device", "meta"], ModelError, "is not supported"),
        ([str(recipe_file)], OutputError, "is not a folder"),
    ):
        result = CliRunner().invoke(cli, [*words, *more])
        assert isinstance(result.exception, error) and why in str(result.exception)
    assert not out.exists()
    out.mkdir()
    with FileLock(out / "lock"):
        result = CliRunner().invoke(cli, [*words, str(out)])
    assert isinstance(result.exception, OutputError) and "Another training" in str(result.exception)
    assert not (out / "clips").exists()
    recipe_file.write_text(RECIPE.replace("warmup = 2", 'warmup = 2\nfrozen = "raeder."'))
    result = CliRunner().invoke(cli, [*words, str(out)])
    assert "freezes 'raeder.'" in str(result.exception)


def test_select_clips_are_scored_as_a_conversion_renders_them(
    corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    trainer = Trainer(read_recipe(recipe_file), made(corpus, tmp_path), tmp_path / "out")
    convert = converter(trainer.averaged_model(), device="cpu")
    clips = [read_clip(p) for p in sorted((tmp_path / "clips" / "select").glob("*.safetensors"))]
    scores = [  # of two frames, the one with a frame after it
        psnr(convert(c.sdr(), c.brightness, c.known_qp)[0], c.hdr()[0]) for c in clips
    ]
    assert trainer.select() == sum(scores) / len(scores)


def test_training_lowers_the_loss(corpus: Path, recipe_file: Path, tmp_path: Path) -> None:
    recipe = read_recipe(recipe_file)
    trainer = Trainer(recipe, made(corpus, tmp_path), tmp_path / "out")
    trainer.learning_rate = lambda: 1e-3  # type: ignore[method-assign]
    trainer.step = 2  # past phase I
    batch = Sampler(tmp_path / "clips" / "train", 0).batch(0, 2, 1, 32, 64)
    trainer.sampler.batch = lambda *_, **__: batch  # type: ignore[method-assign]
    losses = [trainer.train_step() for _ in range(25)]
    assert losses[-1] < 0.7 * losses[0]


def test_export_writes_what_the_checkpoint_held(
    corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(recipe_file)
    trainer = Trainer(recipe, made(corpus, tmp_path), tmp_path / "out")
    trainer.train_step()
    trainer.save()
    entry = export(
        trainer.checkpoint, recipe, tmp_path, data="made up", commit="0000000", scores={"psnr": 1.0}
    )
    assert entry.size == (tmp_path / "tiny.safetensors").stat().st_size
    model = load_model("wmnet", weights=tmp_path / "tiny.safetensors")
    for p, a in zip(model.parameters(), trainer.average, strict=True):
        assert torch.allclose(p, a, rtol=1e-3, atol=1e-6)  # half precision
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("count = 4", "count = 5"))
    with pytest.raises(InputError, match="recipe"):
        export(trainer.checkpoint, read_recipe(other), tmp_path, data="", commit="", scores={})


def test_export_never_replaces_a_better_weight(
    corpus: Path, recipe_file: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(recipe_file)
    run = tmp_path / "out"
    trainer = Trainer(recipe, made(corpus, tmp_path), run)
    trainer.save()
    mine = tmp_path / "mine"
    words = [
        "weights",
        "export",
        str(run),
        str(recipe_file),
        "--out",
        str(mine),
        "--corpus",
        str(corpus),
        "--every",
        "40",
        "--data",
        "made up",
    ]
    first = CliRunner().invoke(cli, words)
    assert first.exit_code == 0, first.output
    entry = read_manifest(mine / "weights.toml")[0]
    assert not entry.default  # which only one weight of a model can be
    assert entry.sha256 == hashlib.sha256((mine / "tiny.safetensors").read_bytes()).hexdigest()
    psnr = entry.scores["psnr"]
    assert isinstance(psnr, float)
    enter(replace(entry, scores={"psnr": psnr + 1}), mine / "weights.toml")
    kept = (mine / "tiny.safetensors").stat()
    second = CliRunner().invoke(cli, words)
    assert isinstance(second.exception, InputError) and "worse" in str(second.exception)
    assert (mine / "tiny.safetensors").stat() == kept and sorted(
        p.name for p in mine.iterdir()
    ) == [
        "tiny.safetensors",
        "weights.toml",
    ]
    assert CliRunner().invoke(cli, [*words, "--worse"]).exit_code == 0
    assert read_manifest(mine / "weights.toml")[0].scores["psnr"] == psnr


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("select_every = 2", "selekt = 2"), "selekt"),
        (("count = 4", "clipps = 4"), "clipps"),
        (("count = 4", "count = 0"), "clips.count"),
        (("width = 64", "width = 63"), "clips.width"),
        (("warmup = 2", "warmup = -2"), "warmup"),
        (("warmup = 2", "warmup = 'two'"), "warmup"),
        (("patch = 32", "patch = 56"), "more than a clip has"),
        (('task = "masked"', 'task = "guess"'), "task. cannot be .guess"),
        (("patch = 32", "patch = 33"), "multiple of 8"),
        (("steps = 3", "steps = 0"), "steps. must be a whole number >= 1"),
        (('name = "tiny"', ""), "name"),
        (('"tiny"', '"../tiny"'), "a name is made of"),
        (('"tiny"', '"My look"'), "a name is made of"),
        (("warmup = 2", "learning_rate = inf"), "learning_rate"),
        (("[[stages]]", "[[stages"), "must be TOML"),
    ],
)
def test_bad_recipes_are_refused(tmp_path: Path, change: tuple[str, str], word: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(InputError, match=word):
        read_recipe(path)


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json"):
        stills(tmp_path, "train")
    (tmp_path / "manifest.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="cannot be read"):
        stills(tmp_path, "train")


def test_wavelets_are_those_of_pywavelets() -> None:
    picture = torch.rand(2, 3, 32, 48)
    wanted = pywt.wavedec2(picture.numpy(), "haar", level=3, axes=(-2, -1))[0]
    band = masking.low_band(picture)
    assert np.allclose(band.numpy(), wanted, atol=1e-5)
    zeros = [None] * 3
    back = pywt.waverec2([wanted, *[(z, z, z) for z in zeros]], "haar", axes=(-2, -1))
    assert np.allclose(masking.from_low_band(band).numpy(), back, atol=1e-5)


def test_the_masking_curriculum_rises_from_none_to_half() -> None:
    shares = [masking.curriculum(s, 100) for s in range(100)]
    assert (
        shares[0] == 0.0
        and shares[-1] == 0.5
        and shares == sorted(shares)
        and len(set(shares)) == 51
    )


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5])
def test_masking_hides_exactly_its_share_and_the_same_in_all_colours(ratio: float) -> None:
    picture = torch.rand(3, 3, 64, 64) + 0.1
    seen = masking.masked(picture, ratio, torch.Generator().manual_seed(1))
    hidden = (seen == 0).float()
    assert torch.equal(hidden[:, 0], hidden[:, 1]) and torch.equal(hidden[:, 0], hidden[:, 2])
    assert hidden.mean(dim=(1, 2, 3)) == pytest.approx(torch.full((3,), ratio))
    kept = seen != 0
    means = (
        torch.nn.functional.avg_pool2d(picture, 8).repeat_interleave(8, -1).repeat_interleave(8, -2)
    )
    assert torch.allclose(seen[kept], means[kept], atol=1e-5)


def test_the_ssim_of_the_loss_is_the_known_one() -> None:
    a = torch.rand(1, 3, 48, 48, dtype=torch.float64)
    b = (a + 0.1 * torch.rand(1, 3, 48, 48, dtype=torch.float64)).clamp(0, 1)
    assert gaussian_ssim(a, a).item() == pytest.approx(1.0)
    # on flat pictures, away from the border, only the luminance term is left
    flat = [torch.full((1, 1, 41, 41), v, dtype=torch.float64) for v in (0.4, 0.6)]
    assert 0 < gaussian_ssim(a, b).item() < 1
    c1 = 0.01**2
    wanted = (2 * 0.24 + c1) / (0.16 + 0.36 + c1)
    inner = gaussian_ssim(
        *(F.pad(f, (200, 200, 200, 200), value=f.max().item()) for f in flat)
    ).item()
    assert inner == pytest.approx(wanted, abs=0.01)


def test_a_val_scene_listed_for_training_is_refused(corpus: Path, tmp_path: Path) -> None:
    entries = json.loads((corpus / "manifest.json").read_text())["stills"]
    entries.append(
        next(e for e in entries if e["split"] == "val") | {"split": "train", "file": "./scene3.exr"}
    )
    (tmp_path / "manifest.json").write_text(json.dumps({"stills": entries}))
    with pytest.raises(InputError, match=r"scene3\.exr for training and for val"):
        stills(tmp_path, "train")


def test_a_patchs_place_is_where_it_lies_in_the_thumbnail(corpus: Path, tmp_path: Path) -> None:
    clips = made(corpus, tmp_path)
    errors = torch.zeros(5)
    for step in range(16):  # with and without flips and transposition
        batch = Sampler(clips / "train", 0).batch(step, 4, 1, 32, 64)
        sdr, thumbs, place = batch.sdr, batch.thumbs, batch.place
        top, left, bottom, right = place.T
        others = [
            (1 - bottom, left, 1 - top, right),
            (top, 1 - right, bottom, 1 - left),
            (left, top, right, bottom),
        ]
        places = [
            place,
            *(torch.stack(p, 1) for p in others),
            torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(4, 4),
        ]
        errors += torch.stack(
            [(at_place(thumbs[:, 0], p, (32, 32)) - sdr[:, 0]).abs().mean() for p in places]
        )
    assert errors[0] < 0.6 * errors[1:].min(), errors


def test_the_pyramid_loss_sees_detail_and_not_brightness() -> None:
    truth = torch.rand(1, 1, 3, 32, 32)
    assert pyramid_loss(torch.full_like(truth, 0.2)) < 1e-6
    assert pyramid_loss(truth) > 0.1


def test_the_perceptual_loss_is_the_distance_of_the_named_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = features("look")
    a, b = torch.rand(1, 2, 3, 32, 32), torch.rand(1, 2, 3, 32, 32)
    assert [f.shape[1] for f in look(a[0])] == [32, 64, 96]
    by_hand = sum((x - y).abs().mean() for x, y in zip(look(a[0]), look(b[0]), strict=True)) / 3
    assert perceptual_loss(look, a, b).item() == pytest.approx(float(by_hand), rel=1e-5)
    assert not any(p.requires_grad for p in look.parameters())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r'vgg19.*perceptual = "look"'):
        features("vgg19")


def test_vgg19_is_read_where_torchvision_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    places = {
        0: (64, 3),
        2: (64, 64),
        5: (128, 64),
        7: (128, 128),
        10: (256, 128),
    }  # of torchvision's features
    places |= {12: (256, 256), 14: (256, 256), 16: (256, 256), 19: (512, 256)}
    weights = {f"features.{i}.weight": torch.randn(*s, 3, 3) * 0.05 for i, s in places.items()}
    weights |= {f"features.{i}.bias": torch.zeros(s[0]) for i, s in places.items()}
    torch.save(weights, tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth")
    found = features("vgg19")(torch.rand(1, 3, 16, 16))
    assert [tuple(f.shape[1:]) for f in found] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]


def test_fmstfnet_trains_from_clips_and_keeps_its_look(corpus: Path, tmp_path: Path) -> None:
    text = RECIPE.replace(
        '"wmnet"', '"fmstfnet"\nfrozen = "look."\npyramid_weight = 1\nperceptual_weight = 0.1'
    )
    text = text.replace(
        'attention = "tokens"\nblocks = 3', "channels = 16\nhigh = [16, 16]\nblocks = 1"
    )
    first, second = text.index("[[stages]]"), text.index("[[stages]]", text.index("[[stages]]") + 1)
    path = tmp_path / "tiny.toml"
    path.write_text(text[:first] + text[second:])
    look = {k: v.detach().float() for k, v in load_model("look-base").named_parameters()}
    trainer = Trainer(read_recipe(path), made(corpus, tmp_path), tmp_path / "run", start=[look])
    before = {k: v.clone() for k, v in trainer._named(trainer.master).items()}
    trainer.run(lambda _: None, every=1)
    after = trainer._named(trainer.master)
    assert all(torch.equal(after[k], look[k]) for k in look)
    assert not torch.equal(after["conv_last.2.weight"], before["conv_last.2.weight"])
    assert trainer.best_psnr > 10


def test_damage_counts_by_pictures_as_psnr_does() -> None:
    error = torch.stack([torch.full((1, 3, 8, 8), 0.1), torch.full((1, 3, 8, 8), 0.001)])
    assert damage(error, 0.0).item() == pytest.approx((np.log(1e-2) + np.log(1e-6)) / 2, rel=1e-5)
    assert damage(torch.zeros(1, 1, 3, 8, 8), 1e-4).item() == pytest.approx(np.log(1e-4), rel=1e-5)


def test_the_clean_loss_knows_damage_alone() -> None:
    look = load_model("look-base")
    clean, thumbs = torch.rand(2, 2, 3, 16, 16), torch.rand(2, 2, 3, 64, 64)
    with torch.inference_mode():
        mapped, _ = look(clean, {}, thumbs=thumbs)
        damaged, _ = look((clean + 0.1 * torch.randn_like(clean)).clamp(0, 1), {}, thumbs=thumbs)
    least = damage(torch.zeros_like(clean), 1e-4)
    found, worse = (clean_loss(look, x, clean, thumbs, torch.ones(2)) for x in (mapped, damaged))
    assert found.item() == pytest.approx(least.item(), abs=1e-4)
    assert worse > least + 0.5


def test_the_grid_loss_sees_blocks_at_their_place_and_asks_for_no_texture() -> None:
    torch.manual_seed(0)
    clean = 0.5 + 0.01 * torch.rand(1, 2, 3, 32, 32)
    steps = 0.02 * torch.rand(1, 2, 1, 5, 5).repeat_interleave(8, -1).repeat_interleave(8, -2)
    blocky = (clean + steps[..., :32, :32]).requires_grad_()
    assert grid_loss(clean, clean) == 0
    assert grid_loss(clean + steps[..., 4:36, 4:36], clean) < 0.5 * grid_loss(blocky, clean)
    grid_loss(blocky, clean).backward()
    changed = blocky.grad.abs().sum((0, 1, 2)) > 0
    at_border = torch.arange(32).add(1) % 8 < 2
    at_border[[0, -1]] = False
    assert changed.any() and not changed[~at_border][:, ~at_border].any()


def test_patches_begin_at_the_corners_of_blocks(corpus: Path, tmp_path: Path) -> None:
    folder = made(corpus, tmp_path / "clips") / "train"
    places = {
        (draw.top, draw.left)
        for step in range(20)
        for draw in Sampler(folder, 1, grid=8).draws(step, 4, 1, 32, 0)
    }
    assert len(places) > 2 and all(n % 8 == 0 for place in places for n in place)


def test_an_area_of_a_clip_is_cut_from_the_whole(corpus: Path) -> None:
    clip = maker(corpus).train_clip(1)
    for y, x in ((0, 0), (2, 30), (7, 13), (16, 32)):
        area = (slice(y, y + 32), slice(x, x + 32))
        for read in (clip.sdr, clip.undamaged, clip.hdr):
            assert torch.equal(read(slice(0, 1), area), read(slice(0, 1))[..., *area])


def test_strong_compression_is_drawn_more_often(corpus: Path, tmp_path: Path) -> None:
    folder = made(corpus, tmp_path / "clips") / "train"
    paths = sorted(folder.glob("*.safetensors"))
    for i, path in enumerate(paths):  # half of them weakly compressed, and black to be known by
        clip = read_clip(path)
        weak = i < len(paths) // 2
        planes = tuple(
            torch.full_like(p, v)
            for p, v in zip(clip.planes, (16 if weak else 235, 128, 128), strict=True)
        )
        write_clip(replace(clip, planes=planes, qp=20 if weak else 40), path)
    sampler = Sampler(folder, 1)
    shares = [
        sum(
            sampler.batch(step, 20, 1, 32, 0, strong_from=least)
            .sdr.mean((1, 2, 3, 4))
            .lt(0.5)
            .sum()
            for step in range(10)
        )
        for least in (0, 32)
    ]
    assert 70 <= shares[0] <= 130 and 30 <= shares[1] <= 70  # of 200: a half, and a half of a half


@pytest.mark.parametrize(
    ("model", "config"),
    [("kpnet", {"blocks": 3, "base": "bt2408"}), ("wmnet-fast", {}), ("wmnet", {}), ("look", {})],
)
def test_a_clean_weight_without_the_look_base_is_refused(
    recipe_file: Path, model: str, config: dict[str, object]
) -> None:
    recipe = read_recipe(recipe_file)
    stages = (replace(recipe.stages[1], frames=5),)
    recipe = replace(recipe, model=model, config=config, clean_weight=1.0, stages=stages)
    with pytest.raises(InputError, match="clean_weight, which needs the base look"):
        fresh(recipe, ())


@pytest.mark.parametrize(
    ("model", "frames", "said"),
    [("kpnet", 1, "restoration, which model kpnet cannot do"), ("didnet", 2, "sees at once, 7")],
)
def test_a_restoration_that_cannot_be_is_refused(
    recipe_file: Path, model: str, frames: int, said: str
) -> None:
    recipe = read_recipe(recipe_file)
    stages = (replace(recipe.stages[1], task="restoration", frames=frames),)
    with pytest.raises(InputError, match=said):
        fresh(replace(recipe, model=model, config={}, stages=stages), ())


def test_keys_that_came_later_leave_older_checkpoints_theirs(recipe_file: Path) -> None:
    recipe = read_recipe(recipe_file)
    assert "clean_weight" not in repr(recipe) and "clean_weight=2.0" in repr(
        replace(recipe, clean_weight=2.0)
    )


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("wmnet", "repair"),
        ("wmnet-alone", "mapping"),
        ("wmnet-fast", "repair"),
        ("kpnet-repair", "repair"),
    ],
)
def test_networks_that_repair_train_from_clips_and_keep_the_look(
    corpus: Path, tmp_path: Path, name: str, task: Literal["repair", "mapping"]
) -> None:
    sizes = {
        "wmnet": {"channels": 8, "blocks": 3, "first_blocks": 1},
        "wmnet-alone": {"channels": 8, "blocks": 3},
        "wmnet-fast": {"channels": 8, "deep": 8},
        "kpnet-repair": {"channels": 8},
    }
    recipe = read_recipe(RECIPES / f"{name}.toml")
    clips = replace(recipe.clips, count=2, height=48, width=64, select=0)
    stages = tuple(replace(s, task=task, steps=3, batch=2, patch=32) for s in recipe.stages)
    config = {**registry.configuration(recipe.model, recipe.config), **sizes[name]}
    recipe = replace(recipe, clips=clips, stages=stages, config=config, warmup=1, start="look")
    scenes = ClipMaker(corpus, "train", size=(48, 64), frames=clips.frames, seed=5)
    make_clips(scenes, tmp_path / "clips" / "train", range(2))
    look = {k: v.detach().float() for k, v in load_model("look").named_parameters()}
    trainer = Trainer(recipe, tmp_path / "clips", tmp_path / "run", start=[look])
    before = {k: v.clone() for k, v in trainer._named(trainer.master).items()}
    trainer.run(lambda _: None, every=1)
    after = trainer._named(trainer.master)
    assert all(torch.equal(after[k], look[k]) for k in look)
    heads = [k for k in after if k.split(".")[0] in ("conv_last", "leave")]
    assert all(before[k].abs().max() == 0 < after[k].abs().max() for k in heads if "weight" in k)


def test_recipes_models_and_training_know_the_same_tasks() -> None:
    named = next(f.type for f in fields(Stage) if f.name == "task")
    known = {name for model in registry.names() for name in registry.spec(model).tasks}
    assert set(get_args(named)) == set(TASKS) == known


@pytest.mark.parametrize("name", ["kpnet", "kpnet-light", "didnet", "didnet-tiny"])
def test_networks_for_compressed_sdr_train_from_clips_and_keep_their_look(
    corpus: Path, tmp_path: Path, name: str
) -> None:
    recipe = read_recipe(RECIPES / f"{name}.toml")
    sizes = {"channels": 16} | ({"offset_channels": 8} if name.startswith("didnet") else {})
    clips = replace(recipe.clips, count=2, height=48, width=64, select=1)
    stages = tuple(replace(s, steps=3, batch=2, patch=32) for s in recipe.stages)
    recipe = replace(
        recipe,
        clips=clips,
        stages=stages,
        config=registry.configuration(recipe.model, recipe.config) | sizes,
        warmup=1,
        select_every=2,
    )
    for split, count in (("train", 2), ("select", 1)):
        scenes = ClipMaker(corpus, split, size=(48, 64), frames=clips.frames, seed=5)
        make_clips(scenes, tmp_path / "clips" / split, range(count))
    look = {k: v.detach().float() for k, v in load_model("look-base").named_parameters()}
    trainer = Trainer(recipe, tmp_path / "clips", tmp_path / "run", start=[look])
    trainer.run(lambda _: None, every=1)
    after = trainer._named(trainer.master)
    assert all(torch.equal(after[k], look[k]) for k in look)
    assert after["conv_last.weight"].abs().max() > 0  # it began as zeros
    assert trainer.best_psnr > 10
