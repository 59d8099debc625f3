"""Exposures that the frames tell of themselves, in the EXIF data of an MJPEG film."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judges import ffprobe
from media_makers import counted_pictures, exif, make_jpeg_clip
from numpy.typing import NDArray

from sdr2hdr import convert
from sdr2hdr import preview as module
from sdr2hdr.errors import InputError
from sdr2hdr.jobs.exposures import read_from_frames
from sdr2hdr.jobs.plan import survey
from sdr2hdr.media.source import Source
from sdr2hdr.preview import preview
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.opened import open_model

LONG, SHORT = exif((1, 50)), exif((1, 200))
FLAT = np.full((64, 64), 90, np.uint8)


def shot(index: int) -> NDArray[np.uint8]:
    """A texture before a resting camera whose exposure goes 1, 1/4, 1, ...; a part is too bright for the long one."""
    light = np.kron(np.random.default_rng(0).uniform(0.02, 0.5, (8, 8)), np.ones((8, 8)))
    light[:, 40:] = 2.0  # 406 nits
    return np.asarray(
        (255 * (light * (1.0, 0.25)[index % 2]).clip(0, 1) ** (1 / 2.2)).round(), np.uint8
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "clip.mov"
    return make_jpeg_clip(path, [shot(i) for i in range(8)], [LONG, SHORT] * 4)


def told(path: Path) -> tuple[tuple[float, ...], str | None]:
    source = Source(path)
    return read_from_frames(source, lambda _: None)


@pytest.mark.parametrize("ending", ["avi", "mov", "mkv", "mp4"])
def test_pictures_know_what_their_exif_data_tells(ending: str, tmp_path: Path) -> None:
    data = [
        exif((1, 50), 100),
        exif((1, 50), 800),
        exif((3, 10)),
        None,
        exif(None, 100),
        exif((0, 1)),
        exif((1, 0)),
    ]
    film = make_jpeg_clip(tmp_path / f"film.{ending}", [FLAT] * len(data), data)
    source = Source(film)
    found = [p.exposure for p in source.pictures()]
    assert found == [Fraction(2), Fraction(16), Fraction(30), None, None, None, None]


def test_ffprobe_reads_the_same_times(clip: Path) -> None:
    frames = ffprobe(clip, "-show_frames")["frames"]
    tags = [
        {k.rpartition("/")[2]: v for k, v in frame["tags"].items()}["ExposureTime"]
        for frame in frames
    ]
    assert [Fraction(*map(int, tag.replace(":", ",").split(","))) for tag in tags] == [
        Fraction(1, 50),
        Fraction(1, 200),
    ] * 4


def test_a_cycle_is_found_with_the_longest_exposure_as_1(tmp_path: Path) -> None:
    data = [exif((1, 800)), exif((1, 50)), exif((1, 200))]
    times, said = told(make_jpeg_clip(tmp_path / "three.avi", [FLAT] * 7, [*data, *data, data[0]]))
    assert times == (1 / 16, 1.0, 1 / 4) and "1/16,1,1/4" in str(said)
    times, said = told(
        make_jpeg_clip(
            tmp_path / "iso.avi", [FLAT] * 4, [exif((1, 50), 1600), exif((1, 50), 100)] * 2
        )
    )
    assert times == (1.0, 1 / 16)
    odd = [exif((1, n)) for n in (50, 200, 60, 200, 50, 240)]
    times, said = told(make_jpeg_clip(tmp_path / "odd.avi", [FLAT] * 6, odd))
    assert times == pytest.approx([50 / n for n in (50, 200, 60, 200, 50, 240)])


def test_what_does_not_alternate_is_ordinary_sdr(tmp_path: Path) -> None:
    assert told(make_jpeg_clip(tmp_path / "same.avi", [FLAT] * 5, [LONG] * 5)) == ((), None)
    automatic = [
        exif((1, n)) for n in (100, 105, 111, 117, 140, 150)
    ]  # the camera follows the light
    assert told(make_jpeg_clip(tmp_path / "automatic.avi", [FLAT] * 6, automatic)) == ((), None)
    assert told(make_jpeg_clip(tmp_path / "one.avi", [FLAT], [LONG])) == ((), None)


def test_films_that_tell_nothing_cost_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_jpeg_clip(tmp_path / "film.mov", [FLAT] * 30, [None] * 30)
    taken = counted_pictures(monkeypatch)
    assert told(film) == ((), None) and len(taken) == 1


def test_a_frame_that_tells_nothing_among_others_is_said(tmp_path: Path) -> None:
    times, said = told(
        make_jpeg_clip(tmp_path / "gap.avi", [FLAT] * 5, [LONG, SHORT, LONG, None, LONG])
    )
    assert times == () and "Frame 4 does not tell its exposure" in str(said)


def test_a_film_is_converted_by_the_exposures_it_tells(
    clip: Path, weights: str, tmp_path: Path
) -> None:
    codes, notes = [], []
    for name, exposures in (("told", None), ("given", "1,1/4"), ("ordinary", "1")):
        out = tmp_path / f"{name}.mkv"
        report = convert(
            clip,
            out,
            "hdrvdiff",
            weights=weights,
            exposures=exposures,
            preset="ultrafast",
            crf=4.0,
            scenes="none",
        )
        codes.append(torch.stack([p.codes() for p in Source(out, hdr=True).pictures()]))
        notes.append(" ".join(report.notes))
    assert torch.equal(codes[0], codes[1]) and not torch.allclose(codes[0], codes[2], atol=0.02)
    assert "read from the frames' EXIF data: 1,1/4" in notes[0]
    assert not any("EXIF" in note or "alternate" in note for note in notes[1:])
    report = convert(
        clip, tmp_path / "static.mkv", "bt2408", preset="ultrafast"
    )  # knows none, and does not look for them
    assert not any("EXIF" in note for note in report.notes)


def test_times_that_the_brightness_does_not_follow_are_doubted(
    weights: str, tmp_path: Path
) -> None:
    film = make_jpeg_clip(tmp_path / "flat.mov", [FLAT] * 6, [LONG, SHORT] * 3)
    options = {"weights": weights, "preset": "ultrafast", "scenes": "none"}
    report = convert(film, tmp_path / "out.mkv", "hdrvdiff", **options)  # type: ignore[arg-type]
    assert any("does not alternate as their EXIF data says" in note for note in report.notes)


@pytest.mark.parametrize("exposures", [None, "1,1/4"])
def test_a_preview_knows_the_exposures_of_its_frame(
    clip: Path, weights: str, exposures: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    rendered = module._rendered

    def kept(source: Source, moment: module.Moment, *told: Any) -> torch.Tensor:
        seen[moment.frame] = rendered(source, moment, *told)
        return seen[moment.frame]

    monkeypatch.setattr(module, "_rendered", kept)
    at = [Fraction(3, 25), Fraction(4, 25)]
    preview(clip, tmp_path, at=at, models=("hdrvdiff",), weights=weights, exposures=exposures)
    source = Source(clip)
    found = survey(source, "auto", lambda *_: None, (1.0, 0.25))
    frames = [p.rgb() for p in source.pictures()]
    loaded = open_model("hdrvdiff", weights)
    renderer = Renderer(
        loaded.model,
        loaded.spec,
        (64, 64),
        device="cpu",
        precision="float32",
        exposures=(1.0, 0.25),
    )
    whole = list(renderer.run(iter(frames), Run(0, 8, 0, 8), renderer.new_states()))
    assert found.cuts == () and sorted(seen) == [3, 4]
    for frame, codes in seen.items():
        assert torch.allclose(codes, whole[frame], atol=1e-4)
        assert (
            0.6 < float(codes[:, :, 48].mean()) < 0.68
        )  # 406 nits, which only the short exposure shows


def test_a_preview_refuses_what_a_conversion_refuses(
    clip: Path, weights: str, tmp_path: Path
) -> None:
    times = tmp_path / "times.txt"
    times.write_text("1\n0.25\n")
    with pytest.raises(InputError, match=r"names 2 exposures, but .* has 8 frames"):
        preview(clip, tmp_path / "out", models=("hdrvdiff",), weights=weights, exposures=str(times))
    with pytest.raises(InputError, match=r"has no picture at 0:00:09.000, it ends at"):
        preview(
            clip,
            tmp_path / "out",
            at=[Fraction(9)],
            models=("hdrvdiff",),
            weights=weights,
            exposures="1,1/4",
        )
