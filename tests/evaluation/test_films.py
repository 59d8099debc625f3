"""``sdr2hdr evaluate``: films and folders measured against a truth."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from media_makers import make_clip
from torch import Tensor

from sdr2hdr.cli.main import main
from sdr2hdr.color.tonemap import bt2408
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.errors import InputError
from sdr2hdr.evaluation.films import measure
from sdr2hdr.evaluation.strips import pairings
from sdr2hdr.evaluation.worst import Worst
from sdr2hdr.media.png import png_of
from sdr2hdr.metrics.measures import choose

SIZE = (64, 48)
HDR10 = {
    "pix_fmt": "yuv444p10le",
    "color_range": 1,
    "colorspace": 9,
    "color_primaries": 9,
    "color_trc": 16,
}


def noise(number: int) -> Tensor:
    """A frame of soft noise ``3,H,W``; frames of one film differ a little."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(1, 3, 6, 8, generator=generator) * 0.6 + 0.2 + 0.004 * number
    return torch.nn.functional.interpolate(small, SIZE[::-1], mode="bicubic")[0].clamp(0, 1)


def planes_of(codes: Tensor, kr: float, kb: float, step: int) -> tuple[np.ndarray, ...]:
    """R'G'B' as Y'CbCr of limited range, 4:4:4 (H.273 8.3); a step is 1 in 8 bits, 4 in 10."""
    r, g, b = codes.double()
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    made = (16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr)
    return tuple(
        (step * x).round().numpy().astype(np.uint8 if step == 1 else np.uint16) for x in made
    )


def sdr_film(path: Path, frames: int = 4) -> Path:
    tags = {
        "pix_fmt": "yuv444p",
        "color_range": 1,
        "colorspace": 1,
        "color_primaries": 1,
        "color_trc": 1,
    }
    return make_clip(
        path,
        codec="ffv1",
        size=SIZE,
        frames=frames,
        picture=lambda n: planes_of(noise(n), 0.2126, 0.0722, 1),
        **tags,
    )


def hdr_film(
    path: Path, codes: Callable[[int], Tensor], frames: int = 4, **changes: object
) -> Path:
    """PQ codes as 10-bit BT.2020."""
    tags = {**HDR10, **changes}
    return make_clip(
        path,
        codec="ffv1",
        size=SIZE,
        frames=frames,
        picture=lambda n: planes_of(codes(n), 0.2627, 0.0593, 4),
        **tags,
    )


def graded(number: int) -> Tensor:
    """What the direct mapping makes of the SDR film, its codes a hundredth up."""
    return pq_inverse_eotf(bt2408(noise(number))) + 0.01


def scores(pairs: list, names: str = "psnr,de_itp", **options: object) -> list:
    models = options.pop("models", ("bt2408",))
    return list(measure(pairs, models, choose(names.split(",")).measures, Worst(0), **options))


def test_a_result_is_measured_frame_by_frame(tmp_path: Path) -> None:
    truth = hdr_film(tmp_path / "truth.mkv", graded)
    result = hdr_film(tmp_path / "result.mkv", lambda n: graded(n) + 0.02)
    found = scores(pairings(result, truth))
    assert [(s.model, s.frame) for s in found] == [("result", n) for n in range(4)]
    for s in found:  # an offset of 0.02 on all codes, give or take 10 bits
        assert s.values["psnr"] == pytest.approx(-20 * np.log10(0.02), abs=0.3)
        assert s.values["de_itp"] == pytest.approx(0.02 * 720, rel=0.1)
    assert len(scores(pairings(result, truth), limit=2)) == 2


def test_sdr_is_converted_by_each_model_first(tmp_path: Path) -> None:
    truth = hdr_film(tmp_path / "truth.mkv", graded)
    found = scores(pairings(sdr_film(tmp_path / "sdr.mkv"), truth), models=("bt2408", "bt2446a"))
    assert [s.model for s in found] == ["bt2408"] * 4 + ["bt2446a"] * 4
    assert all(s.values["psnr"] == pytest.approx(40.0, abs=0.5) for s in found[:4])
    assert all(s.values["psnr"] < 35 for s in found[4:])


def test_without_a_truth_what_needs_none_is_measured(tmp_path: Path) -> None:
    found = scores(pairings(sdr_film(tmp_path / "sdr.mkv"), None), "all")
    assert set(found[0].values) == {"blockiness"}
    assert set(found[1].values) == {"blockiness", "flicker", "e_warp"}


def test_hlg_can_be_the_truth(tmp_path: Path) -> None:
    grey = torch.full((3, SIZE[1], SIZE[0]), 0.75)
    truth = hdr_film(tmp_path / "truth.mkv", lambda _: grey, color_trc=18)
    result = hdr_film(
        tmp_path / "result.mkv", lambda _: torch.full_like(grey, 0.5806)
    )  # 203 nits, BT.2408 table 1
    assert all(s.values["de_itp"] < 2.5 for s in scores(pairings(result, truth)))


def frames(folder: Path, names: list[str], bits: int, codes: Callable[[int], Tensor]) -> Path:
    for number, name in enumerate(names):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scaled = (codes(number).clamp(0, 1) * (2**bits - 1)).round()
        path.write_bytes(png_of(scaled.to(torch.uint8 if bits == 8 else torch.int32)))
    return folder


def test_folders_of_frames_are_measured_scene_by_scene(tmp_path: Path) -> None:
    names = [f"{scene}/{n}" for scene in "ab" for n in range(3)]
    frames(tmp_path / "set/sdr", names, 8, noise)
    truth = frames(tmp_path / "set/hdr", names, 16, graded)
    found = scores(pairings(tmp_path / "set", None), "psnr,flicker")
    assert [(s.scene, s.frame) for s in found] == [(scene, n) for scene in "ab" for n in range(3)]
    assert all(s.values["psnr"] == pytest.approx(40.0, abs=0.5) for s in found)
    assert ["flicker" in s.values for s in found] == [False, True, True] * 2
    results = frames(tmp_path / "made", names, 16, lambda n: graded(n) - 0.1)
    values = [s.values["psnr"] for s in scores(pairings(results, truth))]
    assert values == pytest.approx([20.0] * 6, abs=0.05)


@pytest.mark.parametrize("names", [["001", "002", "003"], ["000", "002", "night"]])
def test_frames_right_in_a_folder_have_nothing_to_do_with_one_another(
    tmp_path: Path, names: list[str]
) -> None:
    sdr, hdr = (
        frames(tmp_path / "sdr", names, 8, noise),
        frames(tmp_path / "hdr", names, 16, graded),
    )
    found = scores(pairings(sdr, hdr), "psnr,flicker")
    assert [s.scene for s in found] == names and all(set(s.values) == {"psnr"} for s in found)


def test_a_list_of_scenes_chooses_what_is_measured(tmp_path: Path) -> None:
    names = [f"{scene}/{n}" for scene in "abc" for n in range(2)]
    frames(tmp_path / "set/sdr", names, 8, lambda _: noise(0))
    frames(tmp_path / "set/hdr", names, 16, lambda _: graded(0))
    assert (
        main(
            [
                "dataset",
                "scenes",
                str(tmp_path / "set"),
                str(tmp_path / "list.json"),
                "--least",
                "2",
            ]
        )
        == 0
    )
    found = scores(pairings(tmp_path / "set", None, tmp_path / "list.json", "test"))
    assert len({s.scene for s in found}) == 1 and len(found) == 2


def test_what_does_not_fit_is_said_in_a_sentence(tmp_path: Path) -> None:
    truth = hdr_film(tmp_path / "truth.mkv", graded)
    longer = hdr_film(tmp_path / "longer.mkv", graded, frames=5)
    sdr = sdr_film(tmp_path / "sdr.mkv")
    small = make_clip(tmp_path / "small.mkv", codec="ffv1", size=(32, 24), frames=2, **HDR10)
    empty = tmp_path / "empty"
    empty.mkdir()
    for what, against, said in (
        (truth, longer, "truth has 4 frames, fewer than longer"),
        (longer, truth, "truth has 4 frames, fewer than longer"),
        (truth, sdr, "SDR and cannot be the truth"),
        (truth, small, "64x48, but its truth small is 32x24"),
        (truth, empty, "one is a folder and one is not"),
        (empty, None, "holds no PNG frames"),
        (tmp_path / "none.mkv", truth, "does not exist"),
    ):
        with pytest.raises(InputError, match=said):
            scores(pairings(what, against))


def test_the_command_prints_tables_and_writes_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, sdr = hdr_film(tmp_path / "truth.mkv", graded), sdr_film(tmp_path / "sdr.mkv")
    args = [
        "evaluate",
        str(sdr),
        str(truth),
        "--models",
        "bt2408,bt2446a",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(args) == 0
    assert "bt2446a" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "scores.csv", "scores.json", "worst_bt2408_1.png", "worst_bt2446a_1.png"
    }  # fmt: skip
    assert main([*args, "--json"]) == 4  # the folder holds files
    capsys.readouterr()
    assert (
        main(
            ["evaluate", str(sdr), str(truth), "--models", "bt2408", "--metrics", "psnr", "--json"]
        )
        == 0
    )
    data = json.loads(capsys.readouterr().out)
    assert data["parts"]["All frames"]["summary"]["bt2408"]["mean"]["psnr"] == pytest.approx(
        40, abs=0.5
    )


@pytest.mark.parametrize(
    "args",
    [[], ["--val"], ["a.mkv", "--val", "--corpus", "x"], ["a.mkv", "b.mkv", "--metrics", "psnrr"]],
)
def test_a_wrong_command_line_is_said_so(args: list[str]) -> None:
    assert main(["evaluate", *args]) == 2


def test_the_val_set_of_a_corpus_is_measured_by_look_and_qp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    entries = []
    for name, split in (("one", "train"), ("two", "val")):
        light = np.exp(rng.normal(-1, 1, (16, 32, 3))).repeat(8, 0).repeat(8, 1).astype(np.float32)
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": light}).write(str(tmp_path / f"{name}.exr"))
        entries.append({"file": f"{name}.exr", "split": split, "projection": "equirectangular", "primaries": "bt709",
                        "white_is_one": False, "tag": ""})  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps({"stills": entries}))
    args = [
        "evaluate",
        "--val",
        "--corpus",
        str(tmp_path),
        "--models",
        "bt2408,bt2446a",
        "--every",
        "9",
        "--json",
    ]
    assert main(args) == 0
    data = json.loads(capsys.readouterr().out)
    part = data["parts"]["Simulated val clips"]
    assert part["summary"]["bt2408"]["frames"] == 5 and {s["scene"] for s in data["scores"]} == {
        "two"
    }
    assert {"psnr", "ssim", "de_itp", "flicker", "blockiness"} <= set(
        part["summary"]["bt2408"]["mean"]
    )
    assert set(part["by_qp"]) > {"all"} and len(part["by_look"]) > 2
