"""Data sets of alternating exposures: made-up copies of their layouts are read, converted and refused as the real ones are."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from exposed_makers import SIZE, cinematic, deephdrvideo, hdrvideo, ldr, light, real_hdrv
from frame_makers import RECIPE, write_septuplets
from torch import Tensor

from sdr2hdr.cli.main import main
from sdr2hdr.color.mulaw import mu_law
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.data.alternating import exposed_scenes
from sdr2hdr.data.exposures import shoot
from sdr2hdr.data.footage import open_corpus
from sdr2hdr.data.response import read_response
from sdr2hdr.data.vimeo import VimeoMaker, inverse_camera_curve
from sdr2hdr.errors import InputError


def scene_of(folder: Path, stream: int | None = None):  # type: ignore[no-untyped-def]
    found = exposed_scenes(folder, stream)
    assert found is not None and len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("layout", "stops", "judged"),
    [
        (deephdrvideo, (0, 3, 0, 3), (1, 2)),
        (cinematic, (0, 2, 4, 0, 2), (2,)),
        (hdrvideo, (0, 3, 0), ()),
        (real_hdrv, (3, 0, 3, 0), (0, 1, 2, 3)),
    ],
)
def test_frames_exposures_and_truth_of_a_layout(
    layout: object, stops: tuple[int, ...], judged: tuple[int, ...], tmp_path: Path
) -> None:
    scene = scene_of(layout(tmp_path / "set"))  # type: ignore[operator]
    assert scene.stops == stops and scene.judged == judged
    assert len(list(scene.hdr())) == len(judged)


@pytest.mark.parametrize("layout", [deephdrvideo, cinematic, real_hdrv])
def test_frame_and_truth_meet_at_the_scale_of_the_set(layout: object, tmp_path: Path) -> None:
    """A frame whose light is not cut off, over its exposure and times SDR white, is the truth's light."""
    scene = scene_of(layout(tmp_path / "set"))  # type: ignore[operator]
    frames = list(scene.sdr())
    for number, codes in zip(scene.judged, scene.hdr(), strict=True):
        nits = convert(pq_eotf(codes), "bt2020", "bt709")
        seen = frames[number].pow(2.2) / scene.exposures[number] * 203.0
        whole = frames[number] < 0.99
        assert whole.any()
        assert (seen - nits)[whole].abs().max() < 12.0  # a mantissa of 8 bits: 4 to 8 nits of 1000
        # the papers' tone mapping of their own values is ours of these nits
        value = torch.from_numpy(light(number)).permute(2, 0, 1)
        toned = torch.log1p(5000 * value) / math.log1p(5000)
        assert (mu_law(nits) - toned)[value > 0.05].abs().max() < 0.01


def test_the_exposures_are_those_of_simulated_shots(tmp_path: Path) -> None:
    """The simulated camera, with a set's exposures and its truth, takes the set's frames."""
    scene = scene_of(real_hdrv(tmp_path / "set"))
    codes = torch.stack(list(scene.hdr()))[None]
    shot = shoot(codes, scene.exposures[:2], 0, torch.Generator().manual_seed(1))
    error = (shot.frames[0] - torch.stack(list(scene.sdr()))).abs()
    assert error.mean() < 0.02


def test_one_stream_of_real_hdrv(tmp_path: Path) -> None:
    scene = scene_of(real_hdrv(tmp_path / "set"), 1)
    assert scene.stops == (3.0,) * 4 and all(p.parent.name == "Input_1" for p in scene.frames)


def test_evaluate_judges_the_frames_that_have_a_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = deephdrvideo(tmp_path / "set")
    command = ["evaluate", str(folder), "--models", "bt2408", "--metrics", "psnr_t", "--json"]
    assert main(command) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert [(s["scene"], s["frame"]) for s in scores] == [("bench", 1), ("bench", 2)]
    assert all(math.isfinite(s["values"]["psnr_t"]) for s in scores)


BAD = {
    "frame": (
        deephdrvideo,
        lambda f: (f / "bench/2.tif").unlink(),
        "1 of 4 files of a scene are missing",
    ),
    "exposures": (
        deephdrvideo,
        lambda f: (f / "bench/Exposures.txt").write_text("1\nnan"),
        "Exposures.txt is no list of exposures",
    ),
    "outside": (
        deephdrvideo,
        lambda f: (f / "scene_all.txt").write_text("../../etc\n"),
        "names no file of the data set",
    ),
    "empty": (cinematic, lambda f: (f / "scenes_3expo.txt").write_text("\n"), "is empty"),
    "list": (cinematic, lambda f: next(f.rglob("img_list.txt")).unlink(), "img_list.txt"),
    "picture": (
        real_hdrv,
        lambda f: (f / "s1/Input_1/frame_00.tif").write_bytes(b"II*\0rubbish"),
        "frame_00.tif cannot be read as a picture",
    ),
    "stream": (
        real_hdrv,
        lambda f: (f / "s1/Input_0/frame_00.tif").unlink(),
        "has 3 short and 4 long exposures",
    ),
    "truth": (
        real_hdrv,
        lambda f: (f / "s1/GT/GT_frame_01.hdr").unlink(),
        "1 of 4 files of a scene",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_an_incomplete_set_is_one_sentence(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, spoil, said = BAD[what]
    spoil(layout(tmp_path / "set"))
    assert main(["evaluate", str(tmp_path / "set"), "--models", "bt2408"]) == 3
    error = capsys.readouterr().err
    assert said in " ".join(error.split()) and error.strip().startswith("Error:")


def test_a_camera_response_needs_scipy_and_is_applied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hdrvideo(tmp_path / "set")
    scipy = pytest.importorskip("scipy.io")
    curve = np.linspace(0, 1, 65536)[:, None].repeat(3, 1) ** 2
    scipy.savemat(folder / "BaslerCRF.mat", {"BaslerCRF": curve})
    frame = next(scene_of(folder).sdr())
    wanted = torch.from_numpy(ldr(0, 1.0)).permute(2, 0, 1).pow(2 / 2.2)
    assert (frame - wanted).abs().max() < 1e-3
    (folder / "BaslerCRF.mat").write_bytes(b"no")
    with pytest.raises(InputError, match="is no camera response"):
        read_response(folder / "BaslerCRF.mat")


# --- Vimeo-90K


def clip_light(codes: Tensor) -> Tensor:
    return convert(pq_eotf(codes), "bt2020", "bt709") / 1000.0


def test_a_septuplet_becomes_light_of_one_camera_curve_and_exposure(tmp_path: Path) -> None:
    folder = write_septuplets(tmp_path / "vimeo", SIZE)
    maker = open_corpus(folder, "train", size=SIZE, frames=5, seed=3)
    assert isinstance(maker, VimeoMaker) and maker.scenes == 2
    for number in range(6):
        clip, again = maker.train_clip(number), maker.train_clip(number)
        assert torch.equal(clip.codes, again.codes)
        made = clip_light(clip.hdr())
        assert made.shape == (5, 3, *SIZE) and made.max() <= 1.001
        # light rises with the code, by the same curve in all frames and channels
        codes, order = clip.sdr().flatten().sort()
        values = made.flatten()[order]
        inside = (codes > 0.1) & (values < 0.99)
        assert (values[inside].diff() > -2e-3).all()
    names = {maker.train_clip(n).scene for n in range(12)}
    assert names == {"00001_0001", "00001_0002"}
    assert open_corpus(folder, "select", size=SIZE, frames=5, seed=3).scenes == 1


def test_the_camera_curve_is_undone() -> None:
    x = torch.linspace(0, 1, 101)
    for n, sigma in ((0.4, 0.4), (0.65, 0.6), (0.9, 0.8)):
        y = (1 + sigma) * x**n / (x**n + sigma)
        assert torch.allclose(inverse_camera_curve(y, n, sigma), x, atol=1e-4)


def test_half_downloaded_septuplets_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_septuplets(tmp_path / "vimeo", SIZE)
    (folder / "sequences/00001/0002/im5.png").unlink()
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    command = ["train", str(recipe), "--corpus", str(folder), "--out", str(tmp_path / "run")]
    assert main(command) == 3
    assert "1 of 2 septuplets are incomplete" in " ".join(capsys.readouterr().err.split())
    (folder / "sep_trainlist.txt").write_text("../x\n")
    assert main(command) == 3
    assert "is no septuplet" in " ".join(capsys.readouterr().err.split())
    (folder / "sep_trainlist.txt").unlink()
    assert main(command) == 3
    assert "sep_trainlist.txt" in capsys.readouterr().err
