"""What is measured is what is shipped: ``evaluate`` scores the frames that ``convert`` hands to its encoder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from handed import frames_handed
from media_makers import make_clip, plane_shapes

from sdr2hdr import convert
from sdr2hdr.color.grade import BRIGHTNESS
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.color.yuv import to_yuv
from sdr2hdr.evaluation.films import converted, measure
from sdr2hdr.evaluation.strips import pairings
from sdr2hdr.evaluation.val import converter
from sdr2hdr.evaluation.worst import Worst
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.measures import choose
from sdr2hdr.weights.opened import open_model

SIZE, FRAMES, CUT = (96, 64), 26, 14


def two_scenes(index: int) -> list[np.ndarray]:
    """A dim place that drifts to the right, then a bright one."""
    later = index >= CUT
    rng = np.random.default_rng(int(later))
    planes = []
    for height, width in plane_shapes("yuv420p", SIZE):
        blocks = np.kron(rng.uniform(0, 90, (height // 4, width // 4)), np.ones((4, 4)))
        planes.append(
            np.roll(blocks + (130 if later else 30), index, axis=1).round().astype(np.uint8)
        )
    return planes


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An SDR film of two scenes, and a master of the same frames."""
    folder = tmp_path_factory.mktemp("films")
    tags = {"color_range": 1, "colorspace": 1, "color_primaries": 1, "color_trc": 1}
    source = make_clip(
        folder / "sdr.mkv",
        codec="ffv1",
        pix_fmt="yuv420p",
        size=SIZE,
        frames=FRAMES,
        picture=two_scenes,
        **tags,
    )
    tags = {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": 16}
    truth = make_clip(
        folder / "hdr.mkv", codec="ffv1", pix_fmt="yuv420p10le", size=SIZE, frames=FRAMES,
        picture=lambda n: [(4 * p.astype(np.uint16)) for p in two_scenes(n)], **tags,
    )  # fmt: skip
    return source, truth


@pytest.mark.parametrize("model", ["look", "wmnet"])
def test_evaluate_measures_the_frames_that_convert_encodes(
    films: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    source, truth = films
    out = tmp_path / "out.mkv"
    handed = frames_handed(
        monkeypatch, lambda: convert(source, out, model=model, preset="ultrafast", chunk_frames=8)
    )

    (pair,) = pairings(source, truth)
    begins = list(pair.strip.scenes())
    assert begins == [0, CUT, FRAMES]
    codes = list(converted(pair.strip, begins, model))
    assert len(codes) == len(handed) == FRAMES
    for frame, (planes, pts) in zip(codes, handed, strict=True):
        wanted = to_yuv(frame, seed=pts, peak_code=pq_code(1000.0))
        for a, b in zip(planes, wanted, strict=True):
            apart = (a.to(torch.int32) - b.to(torch.int32)).abs()
            # a conversion steadies planes and maps single pixels by a table: tests/render/test_stream.py
            assert apart.float().mean() < 0.1
            assert (apart > 1).float().mean() < 0.02

    scores = list(measure([pair], [model], choose(["psnr"]).measures, Worst(0)))
    assert pair.truth is not None
    assert [s.values["psnr"] for s in scores] == [
        psnr(*c) for c in zip(codes, pair.truth.frames(), strict=True)
    ]
    # a limit leaves the frames as they are, also in the scene that it cuts
    few = list(measure([pair], [model], choose(["psnr"]).measures, Worst(0), limit=CUT + 3))
    assert few == scores[: CUT + 3]


def test_a_scene_of_the_val_set_is_rendered_as_a_film_of_it(films: tuple[Path, Path]) -> None:
    (pair,) = pairings(films[0], None)
    frames = list(pair.strip.frames())
    whole = torch.stack(list(converted(pair.strip, [0, FRAMES], "wmnet")))
    convert = converter(open_model("wmnet"))
    assert torch.equal(convert(torch.stack(frames), BRIGHTNESS, pair.strip.qp(0)), whole)
