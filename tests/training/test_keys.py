"""The keys of recipes that published training schedules need, and networks that carry more than weights."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import pywt
import torch
from frame_makers import RECIPE, write_frames
from safetensors.torch import load_file
from torch import Tensor

from sdr2hdr.data.damage import Damage
from sdr2hdr.data.footage import open_corpus
from sdr2hdr.data.store import make_clips
from sdr2hdr.errors import InputError, ModelError
from sdr2hdr.media.transcode import through_codec
from sdr2hdr.models import registry
from sdr2hdr.training import masking
from sdr2hdr.training.export import export
from sdr2hdr.training.initial import initialise
from sdr2hdr.training.loop import Trainer, fresh
from sdr2hdr.training.optimiser import Optimiser
from sdr2hdr.training.recipe import Initial, Recipe, Stage, read_recipe
from sdr2hdr.training.schedule import learning_rate
from sdr2hdr.weights.opened import load_model

SMALL = {"channels": 16, "blocks": 3}
BATCH_NORM = "brain.nm_att.bn1."


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips to train on and one to choose on, of paired frames that go through no codec."""
    folder = tmp_path_factory.mktemp("clips")
    corpus = write_frames(folder / "corpus")
    damage = Damage(undamaged=1.0)
    maker = open_corpus(corpus, "train", size=(32, 32), frames=2, seed=0, damage=damage)
    make_clips(maker, folder / "train", range(3))
    make_clips(maker, folder / "select", range(3, 4))
    return folder


def tiny(tmp_path: Path, **changes: Any) -> Recipe:
    """One stage of WMNet as published, small, with changes."""
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    recipe = read_recipe(path)
    usual = {"config": {"form": "published", **SMALL}, "stages": recipe.stages[1:], "warmup": 0}
    return replace(recipe, **{**usual, **changes})


def rates(recipe: Recipe, *steps: int) -> list[float]:
    return [learning_rate(recipe, step) / recipe.learning_rate for step in steps]


def test_a_rate_is_halved_where_the_papers_halve_it(tmp_path: Path) -> None:
    long = tiny(tmp_path, schedule="halved", floor=0.0, stages=(Stage(550_000, 1, 1, 32),))
    kpnet = replace(long, halved_at=(200_000, 300_000, 400_000, 500_000))
    assert rates(kpnet, 0, 199_999, 200_000, 300_000, 549_999) == [1, 1, 0.5, 0.25, 0.0625]
    wmnet = replace(long, halved_every=20_000)
    assert rates(wmnet, 19_999, 20_000, 59_999, 99_999) == [1, 0.5, 0.25, 0.0625]
    didnet = replace(long, halved_at=(100_000,), halved_every=60_000, floor=0.2)
    assert rates(didnet, 99_999, 100_000, 159_999, 160_000, 500_000) == [1, 0.5, 0.5, 0.25, 0.2]
    twice = replace(wmnet, stages=2 * (Stage(100_000, 1, 1, 32),), anew=True)
    assert rates(twice, 99_999, 100_000, 120_000) == [0.0625, 1, 0.5]
    rehearsed = kpnet.cut((replace(kpnet.stages[0], steps=55),))
    assert rates(rehearsed, 19, 20, 50) == [1, 0.5, 0.0625]


def test_a_linear_rate_falls_to_its_floor(tmp_path: Path) -> None:
    linear = tiny(tmp_path, schedule="linear", floor=0.05, stages=(Stage(101, 1, 1, 32),), warmup=1)
    assert rates(linear, 0, 1, 51) == pytest.approx([1, 1, 0.525])
    assert rates(linear, 100)[0] == pytest.approx(0.0595)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("halved_every = 3", 'for the schedule "halved"'),
        ("mean_of_last = 2", "give ema = 0"),
        ('initial = "zeros"', "'initial' cannot be 'zeros'"),
        ("betas = [0.9, 1.0]", "betas"),
        ('precision = "float16"', "'precision' cannot be 'float16'"),
        ("clips = { count = 1, qps = [60] }", "clips.qps"),
    ],
)
def test_keys_out_of_range_are_refused(tmp_path: Path, key: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    text = RECIPE if "clips" not in key else RECIPE.replace("select = 1", "select = 1\nqps = [60]")
    path.write_text(text if "clips" in key else key + "\n" + text)
    with pytest.raises(InputError, match=said.replace("[", r"\[")):
        read_recipe(path)


@pytest.mark.parametrize("name", [n for n in get_args(Initial) if n != "own"])
def test_an_initialisation_has_the_spread_of_its_name(name: Initial) -> None:
    torch.manual_seed(0)
    net = registry.build("wmnet", "published")
    initialise(net, name)
    found = {k: p.std().item() for k, p in net.named_parameters() if k.endswith("weight")}
    fan, both = 64 * 9, 64 * 9 + 64 * 9
    wanted = {
        "torch": 1 / (3 * fan) ** 0.5,
        "msra": (2 / fan) ** 0.5,
        "msra/10": 0.1 * (2 / fan) ** 0.5,
        "xavier": (2 / both) ** 0.5,
    }
    assert found["recon_trunk_res.3.conv1.weight"] == pytest.approx(wanted[name], rel=0.03)
    experts = {"torch": 1 / (9 * 64) ** 0.5, "msra": (2 / 192) ** 0.5, "xavier": (2 / 384) ** 0.5}
    of_three = experts.get(name, experts["torch"])  # a 3-D convolution, which msra/10 leaves alone
    assert found["propagation.fuse.weight"] == pytest.approx(of_three, rel=0.03)


@pytest.mark.parametrize("name", ["own", "msra"])
def test_an_initialisation_leaves_the_reader_of_looks_as_it_came(name: Initial) -> None:
    net = registry.build("wmnet", {"channels": 8, "blocks": 3})
    before = {k: v.clone() for k, v in net.state_dict().items()}
    initialise(net, name)
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert "conv_first.weight" in moved and not any(k.startswith("reader.") for k in moved)


def test_plain_adam_is_what_the_keys_leave(clips: Path, tmp_path: Path) -> None:
    """Without clipping, running mean and warm-up, a step is the textbook's, with the recipe's betas."""
    changes = {"ema": 0.0, "clip_gradient": 0.0, "betas": (0.5, 0.75), "mse_weight": 0.0}
    recipe = tiny(tmp_path, **changes, precision="float32", learning_rate=1e-3, floor=1.0)
    trainer = Trainer(recipe, clips, tmp_path / "run")
    assert {p.dtype for p in trainer.net.parameters()} == {torch.float32}
    gradients: list[list[Tensor]] = []
    masters = [[m.clone() for m in trainer.master]]
    for _ in range(2):
        trainer.train_step()
        gradients.append([m.grad.clone() for m in trainer.master if m.grad is not None])
        masters.append([m.clone() for m in trainer.master])
    trained = [i for i, m in enumerate(trainer.master) if m.grad is not None]
    for k, i in enumerate(trained):
        first, second = (g[k] for g in gradients)
        mean, square = 0.25 * first + 0.5 * second, 0.1875 * first**2 + 0.25 * second**2
        step = 1e-3 * (mean / 0.75) / ((square / 0.4375).sqrt() + 1e-8)
        torch.testing.assert_close(masters[2][i], masters[1][i] - step, rtol=1e-4, atol=1e-7)
    assert all(torch.equal(a, m) for a, m in zip(trainer.average, trainer.master, strict=True))


def test_muon_goes_equally_far_in_all_directions_of_a_convolution(tmp_path: Path) -> None:
    """And as far as 0.2 times the rate in the root mean square; Adam's first step is the rate for every weight."""
    random = torch.Generator().manual_seed(2)
    convolution, last, bias = (torch.zeros(s) for s in ((16, 4, 3, 3), (3, 4, 3, 3), (16,)))
    matrix = torch.randn(16, 36, generator=random)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    gradient = (
        left @ torch.diag(torch.logspace(0, -1, 16)) @ right
    )  # the first is ten times the last
    convolution.grad = gradient.view(convolution.shape)
    last.grad, bias.grad = torch.randn(3, 4, 3, 3, generator=random), torch.ones(16)
    Optimiser(tiny(tmp_path, optimiser="muon"), [convolution, last, bias]).step(1e-3)
    lengths = torch.linalg.svdvals(convolution.flatten(1)) / (1e-3 * 0.2 * 36**0.5)
    assert lengths.min() > 0.6 and lengths.max() < 1.3
    assert (convolution.flatten(1) * gradient).sum() < 0
    torch.testing.assert_close(last, -1e-3 * last.grad.sign(), rtol=1e-3, atol=0.0)
    torch.testing.assert_close(bias, torch.full((16,), -1e-3), rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_a_training_goes_on_as_if_it_had_not_been_stopped(
    clips: Path, tmp_path: Path, optimiser: str
) -> None:
    recipe = tiny(tmp_path, optimiser=optimiser)
    whole, first = (Trainer(recipe, clips, tmp_path / name) for name in ("whole", "first"))
    for _ in range(4):
        whole.train_step()
    for _ in range(2):
        first.train_step()
    first.save()
    second = Trainer(recipe, clips, tmp_path / "first")
    assert second.resume()
    for _ in range(2):
        second.train_step()
    assert all(torch.equal(a, b) for a, b in zip(whole.master, second.master, strict=True))


def test_muon_asks_for_a_pytorch_that_has_it(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(InputError, match=r"install PyTorch 2.9 or newer, or write optimiser"):
        Trainer(tiny(tmp_path, optimiser="muon"), clips, tmp_path / "run")


def test_the_last_weights_are_averaged_and_resumed(clips: Path, tmp_path: Path) -> None:
    stages = (replace(tiny(tmp_path).stages[0], steps=7, frames=1),)
    recipe = tiny(tmp_path, ema=0.0, mean_of_last=2, select_every=2, stages=stages)
    trainer = Trainer(recipe, clips, tmp_path / "run")
    held = {}
    for step in range(1, 6):
        trainer.train_step()
        held[step] = [m.clone() for m in trainer.master]
    for a, x, y in zip(trainer.average, held[2], held[4], strict=True):
        torch.testing.assert_close(a, (x + y) / 2)
    trainer.save()
    again = Trainer(recipe, clips, tmp_path / "run")
    assert again.resume()
    for each in (trainer, again):
        each.train_step()
    assert all(torch.equal(a, b) for a, b in zip(trainer.average, again.average, strict=True))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_running_statistics_are_trained_resumed_exported_and_loaded(
    clips: Path, tmp_path: Path, ema: float
) -> None:
    """KPNet's published attention holds a batch normalisation, which the network cannot do without."""
    stages = (replace(tiny(tmp_path).stages[0], steps=6, frames=1),)
    config = {"form": "published", "channels": 16}
    recipe = tiny(tmp_path, model="kpnet", config=config, stages=stages, ema=ema, name="kp")
    recipe = replace(recipe, select_every=2)
    straight = Trainer(recipe, clips, tmp_path / "straight")
    means = [torch.zeros(8)]
    for _ in range(3):
        straight.train_step()
        means.append(straight.net.state_dict()[f"{BATCH_NORM}running_mean"].clone())
    assert means[1].dtype is torch.float32 and all(
        not torch.equal(a, b) for a, b in pairwise(means)
    )
    named = straight._named(straight.average)
    share = [1 - min(ema, (1 + s) / (10 + s)) for s in range(3)]
    wanted = torch.zeros(8)
    for mean, taken in zip(means[1:], share, strict=True):
        wanted = wanted + taken * (mean - wanted)
    torch.testing.assert_close(named[f"{BATCH_NORM}running_mean"], wanted)
    assert named[f"{BATCH_NORM}num_batches_tracked"] == 9  # three pairs of sizes in each step
    straight.save()
    resumed = Trainer(recipe, clips, tmp_path / "straight")
    assert resumed.resume()
    for trainer in (straight, resumed):
        trainer.run(lambda _: None, every=2)
    both = zip(straight.averaged().items(), resumed.averaged().values(), strict=True)
    assert all(torch.equal(a, b) for (_, a), b in both)
    export(straight.checkpoint, recipe, tmp_path, data="made up", commit="0", scores={})
    held = load_file(tmp_path / "kp.safetensors")
    kept = straight.averaged()
    for key in ("running_mean", "running_var"):
        assert held[BATCH_NORM + key].dtype is torch.float32
        assert torch.equal(held[BATCH_NORM + key], kept[BATCH_NORM + key])
    model = load_model("kpnet", weights=tmp_path / "kp.safetensors")
    frame = torch.rand(1, 1, 3, 32, 32)
    with torch.no_grad():
        of_file, _ = model(frame, {})
        net = registry.build("kpnet", config)
        net.load_state_dict(kept)
        of_training, _ = net(frame, {})
    assert torch.allclose(of_file, of_training, atol=2e-3)  # half precision


def test_sources_add_up_and_the_last_counts(tmp_path: Path) -> None:
    recipe = tiny(tmp_path, config={**SMALL, "base": "look"})
    look = load_model("look-base").state_dict()
    shape = fresh(recipe, ()).state_dict()["conv_last.weight"]
    other = {"conv_last.weight": torch.full_like(shape, 0.5), "look.middle.weight": torch.ones(1)}
    net = fresh(recipe, (look, other)).state_dict()
    assert torch.equal(net["conv_last.weight"], other["conv_last.weight"])
    assert torch.equal(net["look.middle.weight"], look["look.middle.weight"])  # the last that fits
    with pytest.raises(InputError, match="No tensor of the starting weight fits"):
        fresh(recipe, (look, {"else": torch.ones(1)}))


def test_a_list_of_starts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text('start = ["look-base", "wmnet"]\nconfig = "published"\n' + RECIPE.replace(
        '[config]\nblocks = 3\nbase = "bt2408"\n', ""))  # fmt: skip
    recipe = read_recipe(path)
    assert recipe.starts == ("look-base", "wmnet") and recipe.config == "published"
    assert replace(recipe, start="look-base").starts == ("look-base",)
    assert replace(recipe, start="").starts == ()


def test_a_configuration_has_a_name() -> None:
    assert registry.configuration("wmnet")["base"] == "repair"
    named = registry.configuration("wmnet", "published")
    assert (named["base"], named["edges"], named["attention"]) == ("none", "zero", "published")
    assert registry.configuration("wmnet", {"form": "published", "blocks": 3})["blocks"] == 3
    assert registry.spec("wmnet", "published").config == named
    for name, form in (("wmnet", "printed"), ("look", "published")):
        with pytest.raises(ModelError, match=f"Model {name} has no configuration '{form}'"):
            registry.build(name, form)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_intra_pictures_and_positions_in_a_gop(codec: str) -> None:
    generator = torch.Generator().manual_seed(1)
    still = torch.randint(60, 200, (1, 64, 64), generator=generator, dtype=torch.uint8)
    planes = (
        still.repeat(3, 1, 1),
        *(torch.full((3, 32, 32), 128, dtype=torch.uint8) for _ in range(2)),
    )

    def errors(**how: Any) -> list[float]:
        y = through_codec(planes, codec, 37, **how)[0].float() - planes[0].float()
        return [each.square().mean().item() for each in y]

    alone = errors(intra=True)
    assert alone[0] == alone[1] == alone[2]  # equal pictures, coded alike
    assert errors()[0] < alone[0]  # the first picture of a GOP has a lower QP
    assert len(errors(lead=4)) == 3
    moving = tuple(p.clone() for p in planes)
    moving[0][1:] = 255 - moving[0][1:]
    assert not torch.equal(
        through_codec(moving, codec, 37, lead=1)[0][0], through_codec(moving, codec, 37)[0][0]
    )


def test_damage_is_drawn_as_it_always_was() -> None:
    """QP 18 to 47 for stills, and for paired frames three quarters of that, from the same random numbers as before."""
    ours, before = np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(50):
        assert Damage().qp(ours) == int(before.integers(18, 48))
    for _ in range(50):
        qp, damaged = int(before.integers(18, 48)), bool(before.random() >= 0.25)
        assert Damage().qp(ours, 0.25) == (qp if damaged else 0)
    assert {Damage(qps=(32,)).qp(ours) for _ in range(9)} == {32}
    assert {Damage(undamaged=1.0).qp(ours, 0.25) for _ in range(9)} == {0}
    assert 0 not in {Damage(undamaged=0.0).qp(ours, 0.25) for _ in range(40)}


def test_scenes_are_remembered_from_batch_to_batch_and_resumed(clips: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, scene_memory=True, ema=0.0)
    recipe = replace(recipe, stages=(replace(recipe.stages[0], steps=4, frames=1, batch=3),))
    straight = Trainer(recipe, clips, tmp_path / "run")
    assert straight.memories is not None
    straight.train_step()
    known = {k: t.clone() for k, t in straight.memories.held.items()}
    assert known and {len(t) for t in known.values()} == {1}  # one frame of each scene
    assert all(t.shape[1:] == (8, 16, 16) and not t.requires_grad for t in known.values())
    straight.train_step()
    again = set(known) & {k for k, t in straight.memories.held.items() if len(t) == 2}
    assert again and all(torch.equal(straight.memories.held[k][0], known[k][-1]) for k in again)
    straight.save()
    resumed = Trainer(recipe, clips, tmp_path / "run")
    assert resumed.resume()
    for trainer in (straight, resumed):
        trainer.train_step()
    both = zip(straight.master, resumed.master, strict=True)
    assert all(torch.equal(a, b) for a, b in both)
    forgetful = Trainer(replace(recipe, scene_memory=False), clips, tmp_path / "other")
    for _ in range(3):
        forgetful.train_step()
    both = zip(straight.master, forgetful.master, strict=True)
    assert not all(torch.equal(a, b) for a, b in both)
    with pytest.raises(InputError, match="no state to carry"):
        fresh(replace(recipe, config=SMALL), ())


@pytest.mark.parametrize("wavelet", ["haar", "bior4.4", "sym4", "db2"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_bands_are_those_of_pywavelets(wavelet: str, levels: int) -> None:
    picture = torch.rand(1, 3, 64, 128)
    how = {"wavelet": wavelet, "mode": "periodization", "axes": (-2, -1)}
    low, *high = pywt.wavedec2(picture.numpy(), level=levels, **how)
    band = masking.low_band(picture, levels, wavelet)
    assert np.allclose(band.numpy(), low, atol=1e-5)
    alone = pywt.waverec2([low, *((None, None, None) for _ in high)], **how)
    assert np.allclose(masking.from_low_band(band, levels, wavelet).numpy(), alone, atol=1e-5)
    stage = Stage(1, 1, 1, 32, "masked", hides="low", wavelet=wavelet, levels=levels)  # type: ignore[arg-type]
    seen = masking.hidden(picture, 0.5, torch.Generator().manual_seed(0), stage)
    kept, *detail = pywt.wavedec2(seen.numpy(), level=levels, **how)
    for mine, theirs in zip(detail, high, strict=True):  # no high band is touched
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(mine, theirs, strict=True))
    assert (np.abs(kept) < 1e-5).mean() == pytest.approx(0.5)


def test_blocks_of_the_picture_are_hidden_and_nothing_else() -> None:
    picture = torch.rand(2, 3, 32, 32) + 0.1
    stage = Stage(1, 1, 1, 32, "masked", hides="space")
    seen = masking.hidden(picture, 0.25, torch.Generator().manual_seed(0), stage)
    gone = seen == 0
    assert torch.equal(gone[:, 0], gone[:, 2]) and torch.equal(seen[~gone], picture[~gone])
    assert torch.nn.functional.avg_pool2d(gone.float(), 8).unique().tolist() == [0.0, 1.0]
    assert gone.float().mean().item() == pytest.approx(0.25)
