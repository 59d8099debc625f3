"""An option is declared once: the command line, both kinds of TOML file and Python follow from its field."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import pytest

from sdr2hdr.batch.overrides import read_overrides
from sdr2hdr.cli.batch import batch
from sdr2hdr.cli.config import defaults
from sdr2hdr.cli.convert import convert
from sdr2hdr.cli.main import main
from sdr2hdr.cli.options import ConversionOption
from sdr2hdr.cli.preview import preview
from sdr2hdr.errors import InputError, UsageError
from sdr2hdr.jobs.settings import Settings
from sdr2hdr.models import registry
from sdr2hdr.options import DEFAULTS, Option, Options, by_key, declared

WRONG: list[tuple[str, Any, str]] = [
    ("peak", 9000, "A peak of 9000 nits is out of range; give --peak from 400 to 4000."),
    ("peak", 600.5, "--peak takes a whole number, not 600.5."),
    ("peak", 600.0, "--peak takes a whole number, not 600."),
    ("peak", True, "--peak takes a whole number, not True."),
    ("peak", "600", "--peak takes a whole number, not '600'."),
    ("crf", float("nan"), "A CRF of nan is out of range; give --crf from 0 to 51."),
    ("crf", float("inf"), "A CRF of inf is out of range; give --crf from 0 to 51."),
    (
        "codec",
        "vp9",
        "There is no codec 'vp9'; give --codec hevc, av1, prores, ffv1, dnxhr, exr, png16 or tiff16.",
    ),
    ("input_range", "tv", "There is no range 'tv'; give --input-range limited or full."),
    ("tile", 3, "A tile of 3 pixels is out of range; give --tile 64 or more."),
    ("strict", 1, "--strict takes true or false, not 1."),
    ("model", ["wmnet"], "--model takes text, not ['wmnet']."),
    ("scenes", "cuts\0.json", "--scenes is given text with a NUL character in it; leave that out."),
    ("peak", 10**5000, "A peak of 10^5000 nits is out of range; give --peak from 400 to 4000."),
]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    WRONG,
    ids=[f"{n} {str(v)[:9]}" for n, v, _ in WRONG[:-1]] + ["huge"],
)
def test_a_wrong_value_is_refused_in_one_sentence(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as e:
        Options(**{name: value})
    assert str(e.value) == sentence
    with pytest.raises(UsageError):
        DEFAULTS.changed(**{name: value})


def test_whole_numbers_are_floats_and_paths_are_text() -> None:
    found = Options(crf=14, scenes=Path("cuts.json"), aux_sdr=Path("a.mkv"))  # type: ignore[arg-type]
    assert (found.crf, found.scenes, found.aux_sdr) == (14.0, "cuts.json", "a.mkv")
    assert isinstance(found.crf, float)


def test_a_word_that_is_not_an_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="peek"):
        DEFAULTS.changed(peek=600)


COMMANDS = {"convert": convert, "batch": batch, "preview": preview}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_options_that_are_declared_for_it(name: str) -> None:
    shown = {p.known.name: p for p in COMMANDS[name].params if isinstance(p, ConversionOption)}
    assert list(shown) == [o.name for o in declared() if name in o.about.commands]
    for option in declared():
        if name in option.about.commands:
            assert shown[option.name].default == option.default
            assert option.flag in shown[option.name].opts
            assert shown[option.name].name == option.name


def example(option: Option) -> Any:
    """A value that is allowed, is not the default, and does not mean the same as it (as x265 and yuv420p10 do)."""
    if option.about.choices:
        usual = (option.default, "x265", "svtav1", "software", "yuv420p10")
        value: Any = next(c for c in option.about.choices if c not in usual)
        return value
    if option.many:
        return ("other", "one more")
    least = option.about.least or 0
    return {bool: True, int: int(least) + 1, float: least + 0.6, str: "other"}[option.type]


def toml(value: Any) -> str:
    return json.dumps(value)  # of these values the same


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "sdr2hdr.toml"


@pytest.mark.parametrize("option", declared(), ids=lambda o: o.name)
def test_each_way_to_set_an_option_gives_the_same_value(option: Option, config: Path) -> None:
    value = example(option)
    words = [option.flag] if option.type is bool else [option.flag, str(value)]
    if option.many:
        words = [word for each in value for word in (option.flag, each)]
    command = COMMANDS[option.about.commands[0]]
    given = command.make_context(
        "x", [*words, "in.mkv", "out.mkv"], help_option_names=["-h", "--help"]
    ).params[option.name]
    assert (given, type(given)) == (value, tuple if option.many else option.type)
    config.write_text(f"{option.key} = {toml(value)}\n")
    if option.about.per_folder:
        assert read_overrides(config.parent) == {option.name: value}
    else:
        with pytest.raises(InputError, match="cannot be set for a folder"):
            read_overrides(config.parent)
    config.write_text(f"[convert]\n{option.key} = {toml(value)}\n")
    if "convert" in option.about.commands and option.about.saved:
        assert defaults(convert, "convert", COMMANDS) == {"convert": {option.name: value}}
    else:
        with pytest.raises(InputError, match=option.key):
            defaults(convert, "convert", COMMANDS)


@pytest.mark.parametrize(
    "line", ["peak = 600.5", "peak = 600.0", "workers = 2.0", 'crf = "14"', "codec = 1"]
)
def test_toml_values_are_never_taken_for_another_type(
    line: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(f"[convert]\n{line}\n")
    assert main(["convert", "in.mkv", "out.mkv"]) == 3
    err = capsys.readouterr().err
    assert str(config) in err and "does not fit" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "line", ["jobs = 1.5", "jobs = true", 'include = "*.mkv"\njobs = "2"', "dry-run = 1"]
)
def test_nor_are_those_of_other_options(line: str, config: Path) -> None:
    config.write_text(f"[batch]\n{line}\n")
    with pytest.raises(InputError, match="does not fit"):
        defaults(batch, "batch", COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--peak", "600.5"], "--peak takes a whole number, not '600.5'."),
        (["--peak", "9000"], "A peak of 9000 nits is out of range; give --peak from 400 to 4000."),
        (
            ["--codec", "vp9"],
            "There is no codec 'vp9'; give --codec hevc, av1, prores, ffv1, dnxhr, exr, png16 or tiff16.",
        ),
        (["--container", "avi"], "There is no container 'avi'; give --container mkv, mp4 or mov."),
        (["--workers", "0"], "A worker count of 0 is out of range; give --workers 1 or more."),
    ],
)
@pytest.mark.parametrize("command", ["convert", "batch"])
def test_the_command_line_ends_with_2_and_one_sentence(
    command: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "in", "out.mkv", *words]) == 2
    assert capsys.readouterr().err == f"Error: {said}\n"


def test_settings_hold_every_option_that_decides_the_picture_and_no_other() -> None:
    """One that was added and forgotten would let frames of two settings mix in a film."""
    spec = registry.spec("didnet")  # which restores an SDR picture, too
    plain = Settings.of(DEFAULTS, spec, "")
    for option in declared():
        if option.name in ("model", "weights", "device", "exposures", "tile", "look"):
            continue  # resolved from elsewhere: the spec, the weight's hash, this machine, the frames, the plan's tile, its knobs
        other = Settings.of(DEFAULTS.changed(**{option.name: example(option)}), spec, "")
        if option.about.decides == "picture":
            assert other != plain, option.name
        elif option.name != "aux_sdr":  # which decides whether chunks hold a second picture
            assert other == plain, option.name


def test_settings_are_resolved() -> None:
    found = Settings.of(
        Options(codec="av1", scenes="cuts.json", tile=512, exposures="1,1/4", device="cpu"),
        registry.spec("hdrvdiff"),
        "ab",
    )
    assert (found.crf, found.preset, found.scenes) == (22.0, "6", str(Path("cuts.json").absolute()))
    assert (found.model, found.times, found.tile, found.aux) == (
        "hdrvdiff",
        (1.0, 0.25),
        None,
        False,
    )
    assert found.encoder == "svtav1" and dataclasses.replace(found, peak=600).peak == 600


def test_a_new_option_reaches_every_way_from_its_field_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sdr2hdr import options

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class More(Options):
        audio_track: tuple[int, ...] = options.option(
            (), "Sound tracks to keep.", least=1, noun="track"
        )  # type: ignore[assignment]

    options.declared.cache_clear()
    options.by_key.cache_clear()
    monkeypatch.setattr(options, "Options", More)
    try:
        assert More(audio_track=[2, 3]).audio_track == (2, 3)  # type: ignore[arg-type]
        with pytest.raises(
            UsageError, match="A track of 0 is out of range; give --audio-track 1 or more"
        ):
            More(audio_track=(0,))
        command = click.Command("x", params=[ConversionOption(by_key()["audio-track"])])
        assert command.make_context("x", ["--audio-track", "2", "--audio-track", "3"]).params == {
            "audio_track": (2, 3)
        }
    finally:
        options.declared.cache_clear()
        options.by_key.cache_clear()
