"""Exposures as people give them: read, held against the film, and followed from the file to the picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from media_makers import Planes, make_clip, plane_shapes

from sdr2hdr import convert
from sdr2hdr.color.light import LightFacts
from sdr2hdr.errors import InputError, ModelError
from sdr2hdr.jobs.exposures import check_count, doubts, read_exposures
from sdr2hdr.jobs.progress import Progress
from sdr2hdr.scenes.small import brightened

SIZE = (64, 64)


def test_cycles_are_times_or_stops_and_one_is_ordinary_sdr() -> None:
    assert read_exposures("1,1/4") == (1.0, 0.25)
    assert read_exposures("ev:0,-2") == (1.0, 0.25)
    assert read_exposures("4, 1, 0.25") == (4.0, 1.0, 0.25)
    assert read_exposures("1") == read_exposures("ev:0") == read_exposures(None) == ()


def test_a_file_names_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("1\n1/4\n\n0.5\n")
    assert read_exposures(str(path)) == (1.0, 0.25, 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [("1,0", "'0' is no exposure"), ("1,-1/4", "above 0"), ("1,,2", "neither a cycle nor a file"), ("2", "ordinary SDR"),
     ("1,1/0", "neither"), ("nan,1", "neither"), ("ev:0,x", "no exposure"), ("missing.txt", "neither")],
)  # fmt: skip
def test_what_cannot_be_an_exposure_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_exposures(text)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_do_not_fit_are_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("1\n0\n")
    with pytest.raises(InputError, match=r"times.txt, line 2: '0'"):
        read_exposures(str(path))
    path.write_text("\n")
    with pytest.raises(InputError, match="holds no exposures"):
        read_exposures(str(path))
    path.write_text("1\n1/4\n")
    times = read_exposures(str(path))
    for frames in (3, 1):  # fewer lines than frames, and more
        with pytest.raises(
            InputError, match=f"names 2 exposures, but film.mp4 has {frames} frames"
        ):
            check_count(str(path), times, frames, Path("film.mp4"))
    check_count(str(path), times, 2, Path("film.mp4"))


def test_a_cycle_longer_than_the_film_is_refused() -> None:
    with pytest.raises(InputError, match="has 2 frames, too few for the cycle --exposures 4,1,1/4"):
        check_count("4,1,1/4", (4.0, 1.0, 0.25), 2, Path("film.mp4"))
    check_count("1,1/4", (1.0, 0.25), 3, Path("film.mp4"))


def test_brightness_that_does_not_alternate_is_doubted() -> None:
    times = (1.0, 0.25)
    alternating = [0.3, 0.1, 0.31, 0.1, 0.3, 0.09]
    assert doubts(times, alternating, ()) is None
    assert "ordinary SDR" in str(doubts(times, [0.3, 0.3, 0.29, 0.31, 0.3, 0.3], ()))
    assert "begins" in str(doubts(times, alternating[1:], ()))
    assert doubts(times, [0.3, 0.3], (1,)) is None  # a cut lies between: nothing can be said
    assert doubts(times, [0.0, 0.0, 0.0], ()) is None


def test_a_small_frame_is_brightened_as_a_longer_exposure_would() -> None:
    grey = torch.tensor([0.3, 0.5, 0.5]).view(3, 1, 1).expand(3, 36, 64)
    assert torch.allclose(brightened(grey, 2.0)[0], torch.full((36, 64), 0.6), atol=1e-6)
    assert torch.allclose(
        brightened(grey, 4.0),
        torch.tensor([1.0, 0.5, 0.5]).view(3, 1, 1).expand(3, 36, 64),
        atol=1e-6,
    )


def picture(index: int) -> Planes:
    """A texture before a resting camera whose exposure goes 1, 1/4, 1, ...; a part is too bright for the long one."""
    shapes = plane_shapes("yuv420p", SIZE)
    rng = np.random.default_rng(0)
    light = np.kron(rng.uniform(0.02, 0.5, (8, 8)), np.ones((8, 8)))
    light[:, 40:] = 2.0  # 406 nits
    code = (light * (1.0, 0.25)[index % 2]).clip(0, 1) ** (1 / 2.2)
    return [
        (16 + 219 * code).round().astype(np.uint8),
        *(np.full(s, 128, np.uint8) for s in shapes[1:]),
    ]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "clip.mkv"
    return make_clip(path, size=SIZE, frames=8, picture=picture, options={"crf": "1"})


def run(
    clip: Path, out: Path, weights: str, **options: object
) -> tuple[LightFacts, tuple[str, ...], int]:
    given = {"model": "hdrvdiff", "weights": weights, "preset": "ultrafast", "crf": 4.0} | options
    report = convert(clip, out, **given)  # type: ignore[arg-type]
    return report, report.notes, report.scenes  # type: ignore[return-value]


def test_light_beyond_the_long_exposure_comes_from_the_short_one(
    clip: Path, weights: str, tmp_path: Path
) -> None:
    report, notes, scenes = run(clip, tmp_path / "out.mkv", weights, exposures="1,1/4")
    assert scenes == 1  # what alternates is no cut
    assert not any("exposures" in note for note in notes)
    assert 380 < report.measured_max_cll < 440  # type: ignore[attr-defined]


def test_a_cycle_that_begins_wrongly_brings_a_warning_and_a_picture_all_the_same(
    clip: Path, weights: str, tmp_path: Path
) -> None:
    _, notes, _ = run(clip, tmp_path / "out.mkv", weights, exposures="1/4,1", scenes="none")
    assert any("does not alternate as --exposures says" in note for note in notes)
    assert (tmp_path / "out.mkv").exists()


def test_chunks_know_the_exposures_of_their_frames(
    clip: Path, weights: str, tmp_path: Path
) -> None:
    from sdr2hdr.media.source import Source

    seen = []
    for name, length in (("whole", 96), ("parts", 3)):
        run(
            clip, tmp_path / f"{name}.mkv", weights, exposures="1,1/4", chunk_frames=length, crf=0.0
        )
        seen.append(
            torch.stack([p.codes() for p in Source(tmp_path / f"{name}.mkv", hdr=True).pictures()])
        )
    assert float((seen[0] - seen[1]).abs().max()) < 0.01


def test_exposures_that_do_not_fit_end_before_anything_is_rendered(
    clip: Path, weights: str, tmp_path: Path
) -> None:
    times = tmp_path / "times.txt"
    times.write_text("1\n0.25\n")
    stages: list[str] = []

    def note(p: Progress) -> None:
        stages.append(p.stage)

    with pytest.raises(InputError, match=r"names 2 exposures, but .* has 8 frames"):
        run(clip, tmp_path / "out.mkv", weights, exposures=str(times), progress=note)
    assert set(stages) == {"scan"} and not (tmp_path / "out.mkv").exists()


def test_models_without_exposures_say_so(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Model bt2408 knows no exposures; .* hdrvdiff"):
        convert(clip, tmp_path / "out.mkv", "bt2408", exposures="1,1/4")
    assert (
        convert(clip, tmp_path / "out.mkv", "bt2408", exposures="1", preset="ultrafast").frames == 8
    )
