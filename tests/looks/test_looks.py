"""Looks by name and as files: what is taken, what wins, and what is refused in one sentence."""

from pathlib import Path

import pytest

from sdr2hdr.errors import InputError, UsageError
from sdr2hdr.jobs.looks import Look
from sdr2hdr.looks import named
from sdr2hdr.looks.file import Numbers, read_look
from sdr2hdr.looks.named import named_looks
from sdr2hdr.models import registry
from sdr2hdr.models.look import tone
from sdr2hdr.options import Options

LOOK = registry.spec("look")
FLAT = "rises = [" + ", ".join(["0.0"] * 11) + "]"
FILM = f"[film]\n{FLAT}\nluminance = 0.5\nchannels = [0.1, 0.3]\ncolour = [1, 1, 1]\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of one's own looks."""
    path = tmp_path / "sdr2hdr-looks.toml"
    monkeypatch.setattr(named, "own_looks", lambda: path)
    return path


def test_every_named_look_sets_knobs_in_their_range_and_says_what_it_is_for() -> None:
    found = named_looks()
    assert {"tv", "film", "phone", "animation", "sdr-like"} <= set(found)
    assert all(look.about.endswith(".") for look in found.values())
    assert found["film"].brightness == 1.5 and found["phone"].brightness == 3.0


def test_options_win_over_a_look_and_a_look_over_the_usual() -> None:
    look = Look.of("animation")
    grade = look.grade(Options(saturation=0.7), LOOK, has_times=False)
    assert (grade.brightness, grade.highlights, grade.saturation) == (2.2, 0.6, 0.7)
    usual = Look.of(None).grade(Options(), LOOK, has_times=False)
    assert (usual.brightness, usual.highlights, usual.saturation) == (2.5, 1.0, 1.0)


def test_a_standard_keeps_its_brightness_unless_one_is_asked_for() -> None:
    standard = registry.spec("bt2408")
    assert Look.of(None).grade(Options(), standard, has_times=False).brightness is None
    assert Look.of("film").grade(Options(), standard, has_times=False).brightness == 1.5


def test_a_brightness_above_the_peak_is_refused() -> None:
    with pytest.raises(UsageError, match="600 nits, above the peak of 500"):
        Look.of(None).grade(Options(brightness=6, peak=500), LOOK, has_times=False)


def test_looks_of_your_own_are_added_and_replace(own: Path) -> None:
    own.write_text('[mine]\nbrightness = 1.8\nabout = "Mine."\n[tv]\nbrightness = 3\n')
    assert named_looks()["mine"].brightness == 1.8
    assert named_looks()["tv"].brightness == 3.0


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[mine]\nbrightness = 100\n", "mine"),
        ('[mine]\nbrightness = "bright"\n', "mine"),
        ("[mine]\ngamma = 2\n", "gamma"),
        ('["a,b"]\nbrightness = 2\n', "choose another"),
        ('["my.toml"]\nbrightness = 2\n', "choose another"),
        ("mine = 3\n", r"in \[mine\], it must be a table, not a whole number;"),
        ('[mine]\nbrightness = "2"\n', "must be a number, not text"),
    ],
)
def test_a_table_of_looks_that_is_wrong_is_named(own: Path, text: str, cause: str) -> None:
    own.write_text(text)
    with pytest.raises(InputError, match=cause) as caught:
        named_looks()
    assert str(own) in str(caught.value)


def test_an_unknown_look_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="tv, film, phone"):
        Look.of("cinema")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "film"),
        (FILM.replace("0.5", "1.5"), "luminance must be from 0 to 1"),
        (FILM.replace("[0.1, 0.3]", "[0.1]"), "channels has 1 numbers, not 2"),
        (FILM.replace("[1, 1, 1]", "[1, nan, 1]"), "colour must be from"),
        ("gamma = 2\n" + FILM, "gamma"),
        ("brightness = 0\n" + FILM, "brightness"),
        ('model = "wmnet"\n' + FILM, "wmnet"),
        (FILM + "[[scenes]]\nfirst = 0\n", "rises"),
    ],
)
def test_a_look_file_that_is_wrong_is_refused_in_one_sentence(
    tmp_path: Path, text: str, cause: str
) -> None:
    path = tmp_path / "film.look.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=cause) as caught:
        read_look(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_look_file_is_for_the_model_look(tmp_path: Path) -> None:
    path = tmp_path / "film.toml"
    path.write_text(FILM)
    with pytest.raises(UsageError, match="--model look"):
        Look.of(str(path)).grade(Options(), registry.spec("wmnet"), has_times=False)


def test_scenes_of_another_film_are_refused_and_the_film_alone_fits_any(tmp_path: Path) -> None:
    path = tmp_path / "film.toml"
    numbers = FILM.removeprefix("[film]\n")
    path.write_text("frames = 20\n" + FILM + f"[[scenes]]\nfirst = 0\n{numbers}")
    look = Look.of(str(path))
    assert len(look.scenes(2.0, (), 20, Path("film.mp4"))) == 1
    with pytest.raises(InputError, match="other scenes than other"):
        look.scenes(2.0, (8,), 20, Path("other.mp4"))
    path.write_text(FILM)
    assert len(Look.of(str(path)).scenes(2.0, (8, 12), 20, Path("other.mp4"))) == 3


def test_numbers_come_back_from_their_names() -> None:
    look = [2.5, *(0.01 * i for i in range(11)), 0.25, 0.5, 0.75, 0.9, 1.0, 1.1]
    assert len(look) == tone.NUMBERS
    assert Numbers.of(look).look(2.5) == pytest.approx(look)
