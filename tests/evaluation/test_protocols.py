"""How papers measure: compressed SDR, the middle frame of sets, codes up to 1."""

import json
from pathlib import Path

import pytest
import torch
from frame_makers import write_frames, write_pairs

from sdr2hdr.cli.main import main
from sdr2hdr.evaluation.protocols import compressed, middle_frames
from sdr2hdr.evaluation.strips import pairings
from sdr2hdr.media.png import png_of


def scores(capsys: pytest.CaptureFixture[str], *command: str) -> list[dict[str, object]]:
    assert main(["evaluate", *command, "--json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)["scores"]
    return found


def test_sdr_gets_worse_with_its_qp_and_the_scores_tell_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_frames(tmp_path / "set", scenes=1)
    found = scores(capsys, str(folder), "--models", "bt2408", "--qp", "27,42", "--metrics", "psnr")
    assert [(s["qp"], s["frame"]) for s in found] == [(q, n) for q in (27, 42) for n in range(3)]
    pairs = pairings(folder, None)
    plain = torch.stack(list(pairs[0].strip.frames()))
    errors = [
        (torch.stack(list(pair.strip.frames())) - plain).abs().mean().item()
        for pair in compressed(pairs, (1, 27, 42), intra=True)
    ]
    assert errors[0] < errors[1] < errors[2] and errors[0] < 0.02


def test_unrelated_frames_are_coded_alone(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set", "sdr", "hdr", ["0", "1", "2"])
    (pair,) = compressed(pairings(tmp_path / "set", None), (37,), intra=False)
    together = list(pair.strip.frames())
    write_pairs(tmp_path / "one", "sdr", "hdr", ["0"])
    (alone,) = compressed(pairings(tmp_path / "one", None), (37,), intra=True)
    assert torch.equal(together[0], next(iter(alone.strip.frames())))


def test_of_sets_the_middle_frame_is_judged_and_no_other_set_is_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_frames(tmp_path / "set", scenes=2, frames=7)
    found = scores(
        capsys, str(folder), "--models", "bt2408", "--middle", "3", "--metrics", "psnr"
    )  # fmt: skip
    assert [(s["scene"], s["frame"]) for s in found] == [
        (scene, n) for scene in ("s000", "s001") for n in (1, 4)
    ]
    pair = middle_frames(pairings(folder, None), 3)[0]
    assert list(pair.strip.scenes()) == [0, 3, 6] and len(list(pair.strip.frames())) == 6
    assert pair.truth is not None and len(list(pair.truth.frames())) == 2
    whole = scores(capsys, str(folder), "--models", "bt2408", "--metrics", "psnr")
    values = {(s["scene"], s["frame"]): s["values"] for s in whole}
    assert all(values[s["scene"], s["frame"]] == s["values"] for s in found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--middle", "9"], "it has 3 frames"),
        (["--qp", "60"], "1 to 51"),
        (["--qp", "a"], "whole numbers"),
        (["--intra"], "give --qp as well"),
    ],
)
def test_what_cannot_be_measured_so_is_one_sentence(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_frames(tmp_path / "set", scenes=1)
    assert main(["evaluate", str(folder), "--models", "bt2408", *options]) in (2, 3)
    assert said in " ".join(capsys.readouterr().err.split())


def test_codes_go_up_to_the_peak_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A truth of 4000 nits is only reached if the peak lets it: a table gives white 4000 nits."""
    white = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    code = 0.9026  # PQ of about 4000 nits (ST 2084)
    truth = torch.full((3, 32, 32), round(code * 65535), dtype=torch.int32)
    for side, samples in (("sdr", white), ("hdr", truth)):
        (tmp_path / "set" / side).mkdir(parents=True)
        (tmp_path / "set" / side / "0.png").write_bytes(png_of(samples))
    cube = tmp_path / "bright.cube"
    corners = [f"{code} {code} {code}" if i == 7 else "0 0 0" for i in range(8)]
    cube.write_text("LUT_3D_SIZE 2\n" + "\n".join(corners) + "\n")
    found = [
        scores(
            capsys,
            str(tmp_path / "set"),
            "--models",
            str(cube),
            "--metrics",
            "psnr",
            "--peak",
            peak,
        )[0]["values"]["psnr"]  # type: ignore[index]
        for peak in ("1000", "10000")
    ]
    assert found[0] < 20 < 50 < (found[1] if found[1] is not None else 100)
