"""Training on finished masters: folders of paired frames and HDR films."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from frame_makers import RECIPE, write_frames
from media_makers import make_clip, plane_shapes

from sdr2hdr.cli.main import main
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.data.footage import FilmMaker, PairedMaker, open_corpus, shots
from sdr2hdr.data.splits import set_aside
from sdr2hdr.data.store import read_clip
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import png_of
from sdr2hdr.training.loop import Trainer
from sdr2hdr.training.recipe import read_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def write_film(
    path: Path, *, frames: int = 12, transfer: int = 16, size: tuple[int, int] = (96, 64)
) -> Path:
    """A lossless HDR10 (or, by its transfer, HLG or SDR) film of two blocky places, the second from half way on."""
    shapes = plane_shapes("yuv420p10le", size)

    def picture(index: int) -> list[np.ndarray]:
        rng = np.random.default_rng(index >= frames // 2)
        coarse = [rng.integers(100, 800, (-(-h // 8), -(-w // 8))) for h, w in shapes]
        coarse[1:] = [c // 4 + 400 for c in coarse[1:]]
        return [
            c.repeat(8, 0).repeat(8, 1)[:h, :w].astype(np.uint16)
            for c, (h, w) in zip(coarse, shapes, strict=True)
        ]

    return make_clip(
        path, codec="ffv1", pix_fmt="yuv420p10le", size=size, frames=frames, picture=picture,
        color_range=1, colorspace=9, color_primaries=9, color_trc=transfer,
    )  # fmt: skip


def paired(folder: Path, split: str = "train", **changes: object) -> PairedMaker:
    options: dict[str, object] = {"size": (32, 32), "frames": 2, "seed": 4, **changes}
    return PairedMaker(folder, split, **options)  # type: ignore[arg-type]


def test_a_paired_clip_is_the_frames_window_and_follows_from_its_number(tmp_path: Path) -> None:
    write_frames(tmp_path / "set")
    first, second = paired(tmp_path / "set"), paired(tmp_path / "set")
    undamaged = 0
    for n in range(12):
        clip, again = first.train_clip(n), second.train_clip(n)
        assert torch.equal(clip.codes, again.codes) and torch.equal(clip.planes[0], again.planes[0])
        assert clip.sdr().shape == clip.hdr().shape == (2, 3, 32, 32)
        # luma is not subsampled: where the master is 0.6 of the SDR, so is the clip's
        weights = torch.tensor([0.2126, 0.7152, 0.0722])[:, None, None]
        luma = [(x * weights).sum(1) for x in (clip.undamaged(), clip.hdr())]
        assert (luma[1] - 0.6 * luma[0]).abs().max() < 0.01
        same = torch.equal(clip.planes[0], clip.clean[0])
        assert same == (clip.qp == 0)
        undamaged += same
    assert 0 < undamaged < 12
    assert not torch.equal(
        paired(tmp_path / "set", seed=5).train_clip(0).codes, first.train_clip(0).codes
    )


def test_no_scene_is_both_trained_on_and_chosen_on() -> None:
    names = [f"scene{i}" for i in range(200)]
    train, held = set(set_aside(names, "train")), set(set_aside(names, "select"))
    assert train | held == set(names) and not train & held and 10 < len(held) < 45
    alone = next(n for n in names if n in held)
    assert set_aside([alone], "train") == [alone] and set_aside([alone], "select") == []


def test_patches_of_one_scene_stay_together(tmp_path: Path) -> None:
    write_frames(tmp_path / "set", scenes=20, frames=2, size=(48, 80))
    assert (
        main(
            [
                "dataset",
                "crop",
                str(tmp_path / "set"),
                str(tmp_path / "p"),
                "--size",
                "32",
                "--step",
                "24",
            ]
        )
        == 0
    )
    parts = [
        {s.name.split("_y")[0] for s in paired(tmp_path / "p", part).material} for part in ("train", "select")
    ]  # fmt: skip
    assert parts[0] and parts[1] and not parts[0] & parts[1]


@pytest.mark.parametrize("cropped", [False, True])
def test_from_paired_frames_to_a_checkpoint_on_listed_scenes_alone(
    cropped: bool, tmp_path: Path, recipe: Path
) -> None:
    data, listed = write_frames(tmp_path / "set"), tmp_path / "scenes.json"
    assert main(["dataset", "scenes", str(data), str(listed), "--least", "2"]) == 0
    parts = {s["name"]: s["part"] for s in json.loads(listed.read_text())["scenes"]}
    assert set(parts.values()) == {"train", "test"}
    if cropped:  # all parts: the list alone keeps the test scenes out
        words = ["dataset", "crop", str(data), str(tmp_path / "p"), "--size", "32", "--step", "40"]
        assert main([*words, "--scenes", str(listed), "--part", "all"]) == 0
        data = tmp_path / "p"
    words = [
        "train",
        str(recipe),
        "--corpus",
        str(data),
        "--scenes",
        str(listed),
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(words) == 0
    made = [
        read_clip(p).scene.split("_y")[0] for p in (tmp_path / "run/clips").rglob("*.safetensors")
    ]
    assert made and {parts[name] for name in made} == {"train"}
    trainer = Trainer(read_recipe(recipe), tmp_path / "run/clips", tmp_path / "run")
    assert trainer.resume() and trainer.step == 3


def test_films_give_their_own_light_and_a_drawn_look(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv")
    assert [len(s.pts) for s in shots(film)] == [6, 6]
    makers = [FilmMaker([film], "train", size=(32, 48), frames=2, seed=1) for _ in range(2)]
    for n in range(4):
        clip, again = (m.train_clip(n) for m in makers)
        assert torch.equal(clip.codes, again.codes) and torch.equal(clip.planes[0], again.planes[0])
        assert clip.hdr().shape == (2, 3, 32, 48) and pq_eotf(clip.hdr()).max() < 1001
        assert clip.scene in {"film_000", "film_001"} and clip.look != "paired"


@pytest.mark.parametrize("transfer", [16, 18])
def test_from_an_hdr_film_to_a_checkpoint(transfer: int, tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films/a.mkv", transfer=transfer)
    assert (
        main(
            [
                "train",
                str(recipe),
                "--corpus",
                str(tmp_path / "films"),
                "--out",
                str(tmp_path / "run"),
            ]
        )
        == 0
    )
    assert (tmp_path / "run/checkpoint.pt").exists()


def unlisted(folder: Path) -> None:
    write_frames(folder)
    names = [f"{n:03d}" for n in range(3)]
    scene = {"folder": "s000", "frames": names}
    scenes = [{**scene, "name": "a", "part": "test"}, {**scene, "name": "b", "part": "train"}]
    data = {"scenes": scenes, "seed": 0, "least": 2, "dropped": 0}
    (folder.parent / "list.json").write_text(json.dumps(data))


def film(**changes: int) -> Callable[[Path], object]:
    return lambda f: (f.mkdir(), write_film(f / "a.mkv", **changes))


def frames_and(spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda f: (write_frames(f), spoil(f))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda f: f.mkdir(), "is no training corpus"),
    "missing": (lambda f: None, "cannot be read|No such file"),
    "unpaired": (
        frames_and(lambda f: (f / "hdr/s001/001.png").unlink()),
        "has no frame of the same name",
    ),
    "unreadable": (
        frames_and(lambda f: (f / "sdr/s001/001.png").write_bytes(b"GIF")),
        "is not a PNG",
    ),
    "sizes": (
        frames_and(
            lambda f: (f / "hdr/s001/001.png").write_bytes(
                png_of(torch.zeros(3, 8, 8, dtype=torch.int32))
            )
        ),
        "scale one or take both out",
    ),
    "sizes within a scene": (
        frames_and(
            lambda f: [
                (f / side / "s001/001.png").write_bytes(png_of(torch.zeros(3, 40, 40, dtype=kind)))
                for side, kind in (("sdr", torch.uint8), ("hdr", torch.int32))
            ]
        ),
        "of the same scene is 112x80",
    ),
    "small": (
        lambda f: write_frames(f, size=(24, 24)),
        "24x24, smaller than the recipe's clips of 32x32",
    ),
    "short": (lambda f: write_frames(f, frames=1), "has 2 frames, the longest has 1"),
    "sdr film": (film(transfer=1), "is SDR, and training needs an HDR master"),
    "small film": (film(size=(32, 16)), "32x16, smaller than"),
    "short film": (film(frames=1), "has 2 frames, the longest has 1"),
    "broken film": (lambda f: (f.mkdir(), (f / "a.mp4").write_bytes(b"nothing")), r"a\.mp4"),
    "in two parts": (unlisted, r"in a \(test\) and in b \(train\)"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_corpus_is_one_sentence_and_nothing_is_written(
    what: str, tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, said = BAD[what]
    spoil(tmp_path / "set")
    listed = ["--scenes", str(tmp_path / "list.json")] if (tmp_path / "list.json").exists() else []
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    assert (
        main(
            [
                "train",
                str(recipe),
                "--corpus",
                str(tmp_path / "set"),
                "--out",
                str(tmp_path / "run"),
                *listed,
            ]
        )
        == 3
    )
    error = " ".join(capsys.readouterr().err.split())
    assert error.startswith("Error:") and error.count("Error:") == 1
    assert re.search(said, error)
    assert {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")} == before


CHANGES = {
    "unknown key": ("warmup = 1", "warmpu = 1", "the key 'warmpu' is unknown"),
    "impossible size": ("patch = 32", "patch = 40", "more than a clip has"),
    "unknown model": ('"wmnet"', '"wnet"', "There is no model 'wnet'"),
    "bad configuration": ("blocks = 3", "blocks = 4", "blocks is a multiple of 3"),
    "unknown configuration": ("blocks = 3", "blokcs = 3", "blokcs"),
    "nothing to train": ('"wmnet"', '"bt2408"', "trains nothing"),
    "no masking": ('"wmnet"', '"look"', "blocks|masked stage"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_bad_recipe_is_one_sentence_before_anything_is_written(
    what: str, tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, said = CHANGES[what]
    recipe.write_text(RECIPE.replace(old, new))
    write_frames(tmp_path / "set")
    assert (
        main(
            [
                "train",
                str(recipe),
                "--corpus",
                str(tmp_path / "set"),
                "--out",
                str(tmp_path / "run"),
            ]
        )
        != 0
    )
    error = " ".join(capsys.readouterr().err.split())
    assert error.count("Error:") == 1 and re.search(said, error)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_or_start_of_another_model_is_refused_before_clips_are_made(
    tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = write_frames(tmp_path / "set"), tmp_path / "run"
    words = ["train", str(recipe), "--corpus", str(data), "--out", str(run)]
    assert main(words) == 0
    kept = (run / "checkpoint.pt").read_bytes()
    other = RECIPE.replace('"wmnet"', '"kpnet"').replace('task = "masked"\n', "")
    config = '[config]\nbase = "bt2408"\n'  # without a look reader nothing of the weight look fits
    recipe.write_text(
        other[: other.index("[config]")] + config + other[other.index("[[stages]]") :]
    )
    assert main([*words, "--clips", str(tmp_path / "new")]) == 3
    assert "belongs to another recipe" in " ".join(capsys.readouterr().err.split())
    assert (run / "checkpoint.pt").read_bytes() == kept and not (tmp_path / "new").exists()
    (run / "checkpoint.pt").write_bytes(kept[:100])
    assert main([*words, "--clips", str(tmp_path / "new")]) == 3
    assert "cannot be read as a checkpoint" in " ".join(capsys.readouterr().err.split())
    words = [
        "train",
        str(recipe),
        "--corpus",
        str(data),
        "--out",
        str(tmp_path / "third"),
        "--start",
        "look",
    ]
    assert main(words) == 3
    assert "No tensor of the starting weight fits" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "third").exists()


def test_what_a_folder_holds_decides_how_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    path = write_film(tmp_path / "films/a.mkv")
    for where in (path, path.parent):
        assert isinstance(open_corpus(where, "train", size=(32, 32), frames=2, seed=0), FilmMaker)
    with pytest.raises(InputError, match="A list of scenes is for folders of paired frames"):
        open_corpus(path, "train", size=(32, 32), frames=2, seed=0, listed=tmp_path / "list.json")
