"""Every option of a conversion, declared once: type, default, range or choices, help, and who may set it.

The command line (``cli/options.py``), the defaults file (``cli/config.py``), ``sdr2hdr.toml`` in a folder
(``batch/overrides.py``), the keywords of ``convert`` and ``preview``, and the key by which a conversion is resumed
(``jobs/settings.py``) all follow from the fields of :class:`Options`. A new option is one field here, and its use.
"""

import dataclasses
import math
import os
import typing
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, Self, TypeVar

import msgspec

from sdr2hdr.codecs import (
    CODECS,
    CONTAINERS,
    DYNAMIC,
    ENCODERS,
    FORMATS,
    PQ,
    TRANSFERS,
    Wanted,
    either,
    software,
)
from sdr2hdr.color.grade import BRIGHTNESSES, HIGHLIGHTS, SATURATIONS
from sdr2hdr.color.luma import MATRICES
from sdr2hdr.color.names import DISPLAY_PRIMARIES
from sdr2hdr.color.names import TRANSFERS as DISPLAY_TRANSFERS
from sdr2hdr.errors import UsageError

FORMS = ("y4m", "raw")
"""The forms of frames in a pipe, first the usual one."""
AUTO = "auto"

T = TypeVar("T")
Decides = Literal["picture", "file", "run"]
CONVERSIONS = ("convert", "batch")
ENCODED = (*CONVERSIONS, "params")
"""Commands with a quality to encode with."""
EVERYWHERE = ("convert", "batch", "preview", "params")
READING = (*EVERYWHERE, "look", "lut")
"""Commands that read a film as a conversion does."""
KNOBS = ("convert", "batch", "look", "lut", "params")
"""Commands that have the knobs of a grade; ``preview`` takes lists of them."""
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class About:
    """What is known of an option besides its name, type and default.

    ``noun`` and ``unit`` are its words in messages ("A peak of 9000 nits"); ``choices`` the values it may have,
    ``suggestions`` the values that a shell offers, ``least`` and ``most`` its range. ``shown`` is the default in words, where
    None stands for one. ``decides`` says what would be different with another value: the ``picture`` (frames rendered so
    far cannot be used), the output ``file`` alone, or only how the ``run`` goes. ``commands`` have it; ``saved`` options
    may stand in the defaults file, ``per_folder`` options in a folder's ``sdr2hdr.toml``. ``names_file``: its value may
    be the path of a file.
    """

    help: str
    noun: str = ""
    unit: str = ""
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    metavar: str | None = None
    shown: str | None = None
    flags: tuple[str, ...] = ()
    decides: Decides = "picture"
    commands: tuple[str, ...] = CONVERSIONS
    saved: bool = True
    per_folder: bool = True
    names_file: bool = False

    @property
    def range(self) -> str:
        """The range in words; empty without one."""
        if self.least is None:
            return ""
        return (
            f"{self.least:g} or more" if self.most is None else f"{self.least:g} to {self.most:g}"
        )


def option(default: T, help: str, **about: Any) -> T:
    """A field of :class:`Options`; ``about`` are fields of :class:`About`."""
    field: T = dataclasses.field(default=default, metadata={"about": About(help, **about)})
    return field


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a conversion. Raises UsageError for a value that an option cannot have.

    Whole numbers are accepted for floats, paths for text. Nothing else is converted: 600.5 nits are refused, not rounded.
    """

    model: str = option(
        AUTO, "A model or a named weight (`sdr2hdr models` lists them); auto is a network on a fast GPU, else look.",
        commands=ENCODED,
    )  # fmt: skip
    weights: str | None = option(
        None, "Other weights: a named one or a .safetensors file; for --model lut, your colour table (.cube).",
        metavar="NAME|FILE", names_file=True, commands=EVERYWHERE, flags=("--weights", "--lut"),
    )  # fmt: skip
    device: str = option(
        "auto",
        "auto, cpu, cuda or cuda:N.",
        suggestions=("auto", "cpu", "cuda"),
        commands=READING,
    )
    precision: str = option(
        "auto", "Number format of the model's arithmetic.",
        choices=("auto", "float32", "bfloat16", "float16"), commands=EVERYWHERE,
    )  # fmt: skip
    codec: str = option(
        "hevc", "hevc and av1 for watching; prores, ffv1 (lossless) and dnxhr for editing; exr, png16 and tiff16 write a folder.",
        choices=tuple(CODECS),
    )  # fmt: skip
    pix_fmt: str | None = option(
        None, "Chroma subsampling and bit depth of the output.", noun="pixel format", choices=FORMATS,
        shown="yuv420p10; yuv422p10 for prores and dnxhr", commands=ENCODED,
    )  # fmt: skip
    transfer: str = option(
        PQ, "The transfer: PQ (HDR10), HLG, or HLG that receivers of BT.2020 SDR accept (HEVC alone).",
        noun="transfer", choices=tuple(TRANSFERS),
    )  # fmt: skip
    encoder: str = option(
        AUTO, "The encoder: software (auto), or that of an NVIDIA, Intel or AMD GPU (nvenc, qsv, amf).",
        choices=(AUTO, *ENCODERS),
    )  # fmt: skip
    decoder: str = option(
        AUTO, "Decode in software, or on the GPU if it gives the same pictures; auto is software.",
        choices=(AUTO, "software", "hardware"), commands=ENCODED,
    )  # fmt: skip
    container: str | None = option(
        None, "The container.", choices=CONTAINERS, shown="from OUT's ending", decides="file"
    )
    format: str | None = option(
        None, "The form of the frames if OUT is - (the standard output): YUV4MPEG2, or planes alone.",
        noun="form of frames", choices=FORMS, shown="y4m", decides="file", commands=("convert",),
        saved=False, per_folder=False,
    )  # fmt: skip
    crf: float | None = option(
        None,
        "Quality; lower is better.",
        noun="CRF",
        least=0,
        most=51,
        shown="16 for hevc, 22 for av1; the other codecs have none",
        commands=ENCODED,
    )
    preset: str | None = option(
        None, "The encoder's preset.", shown="depends on the encoder", commands=ENCODED
    )
    hdr10plus: bool = option(
        False,
        "Also write HDR10+: how bright each scene is, and how a display of 400 nits shows it.",
    )
    dolby_vision: bool = option(
        False,
        "Also write Dolby Vision 8.1 (HEVC), with the program dovi_tool if it is installed.",
        decides="file",
    )
    peak: int = option(
        1000,
        "Peak luminance written, in nits.",
        unit="nits",
        least=400,
        most=4000,
        commands=READING,
    )
    brightness: float | None = option(
        None, "Brightness of mid-grey, as a multiple of that on an SDR display of 100 nits.",
        least=BRIGHTNESSES[0], most=BRIGHTNESSES[1], shown="2.5; bt2408, bt2446a and lut: their own", commands=KNOBS,
    )  # fmt: skip
    highlights: float | None = option(
        None, "How far highlights rise: 0 is linear, 1 is as learnt.", noun="highlights setting",
        least=HIGHLIGHTS[0], most=HIGHLIGHTS[1], shown="1", commands=KNOBS,
    )  # fmt: skip
    saturation: float | None = option(
        None, "Saturation: 1 is as learnt.",
        least=SATURATIONS[0], most=SATURATIONS[1], shown="1", commands=KNOBS,
    )  # fmt: skip
    look: str | None = option(
        None, "A set of the three above (`sdr2hdr looks` lists them), or the look of a film (`sdr2hdr look`).",
        metavar="NAME|FILE", names_file=True, commands=KNOBS,
    )  # fmt: skip
    look_over: str = option(
        "film", "Read half of a scene's look from the whole film, so that shots match, or read the scene alone.",
        noun="way to read looks", choices=("film", "scene"), commands=READING,
    )  # fmt: skip
    scenes: str = option(
        "auto", "How scenes are found: automatically, not at all (one scene), or from a cut list.",
        metavar="auto|none|FILE", names_file=True, commands=READING,
    )  # fmt: skip
    exposures: str | None = option(
        None, "Alternating exposures (hdrvdiff): 1,1/4 or ev:0,-2, or a file with one exposure per frame.",
        metavar="CYCLE|FILE", shown="read from EXIF", names_file=True, commands=EVERYWHERE,
    )  # fmt: skip
    source_qp: float | None = option(
        None, "How strongly the source was compressed (H.264's QP), for a film that does not say it or was compressed twice.",
        noun="QP of the source", least=1, most=51, shown="as the file says", commands=EVERYWHERE,
    )  # fmt: skip
    input_matrix: str | None = option(
        None, "The source's Y'CbCr matrix, instead of its tag.", noun="matrix", choices=tuple(MATRICES),
        commands=READING,
    )  # fmt: skip
    input_range: str | None = option(
        None,
        "The source's range, instead of its tag.",
        noun="range",
        choices=("limited", "full"),
        commands=READING,
    )
    keep_start: bool = option(
        False, "Keep the times of a recording whose clock does not begin at 0.", commands=EVERYWHERE
    )
    input_transfer: str = option(
        "auto", "Transfer of the display that the source was made for, instead of its tag.",
        noun="transfer", choices=("auto", *DISPLAY_TRANSFERS), commands=READING,
    )  # fmt: skip
    input_primaries: str = option(
        "auto", "Primaries of the display that the source was made for, instead of its tag.",
        noun="set of primaries", choices=("auto", *DISPLAY_PRIMARIES), commands=READING,
    )  # fmt: skip
    audio: str = option(
        "copy", "Codec for sound that OUT cannot hold as it is; copy leaves it out.",
        choices=("copy", "flac", "aac", "opus"), decides="file",
    )  # fmt: skip
    audio_track: tuple[str, ...] = option(
        (), "Audio track to keep, by number (from 1) or by language. May be repeated.",
        metavar="N|LANGUAGE", shown="all", decides="file",
    )  # fmt: skip
    no_audio: bool = option(False, "Keep no audio.", decides="file")
    subtitle_track: tuple[str, ...] = option(
        (), "Subtitle track to keep, by number (from 1) or by language. May be repeated.",
        metavar="N|LANGUAGE", shown="all", decides="file",
    )  # fmt: skip
    strict_streams: bool = option(
        False,
        "Refuse a source with a stream that OUT cannot hold instead of leaving it out.",
        decides="run",
    )
    deinterlace: str = option(
        "auto", "Deinterlace pictures that show combing (auto), none (off), or all with this field first (tff, bff).",
        noun="way to deinterlace", choices=("auto", "off", "tff", "bff"), commands=READING,
    )  # fmt: skip
    deband: str = option(
        "auto", "Smooth the steps of gradients before they are made brighter; strong smooths noisy gradients, too.",
        noun="way to deband", choices=("auto", "off", "strong"), commands=EVERYWHERE,
    )  # fmt: skip
    detelecine: bool = option(
        False,
        "Restore the 23.976 frames per second of film that was telecined to 29.97.",
        commands=READING,
    )
    fps: str | None = option(
        None,
        "Frame rate of numbered pictures (%05d.png, or a folder of them).",
        metavar="N|N/D",
        per_folder=False,
        commands=ENCODED,
    )
    strict: bool = option(
        False,
        "Refuse a damaged source instead of converting the part that decodes.",
        decides="run",
        commands=ENCODED,
    )
    overwrite: bool = option(
        False, "Replace existing files.",
        flags=("-y",), decides="run", commands=READING, saved=False, per_folder=False,
    )  # fmt: skip
    workers: int = option(
        1,
        "Processes that render chunks; with --cluster, on the smallest machine.",
        noun="worker count",
        least=1,
        decides="run",
        per_folder=False,
    )
    cluster: str | None = option(
        None, "Render on a Ray cluster: that of this machine (auto), one on this machine alone (local), or its head's address.",
        metavar="auto|local|HOST:PORT", shown="this machine, without Ray", decides="run", per_folder=False,
    )  # fmt: skip
    tile: int | None = option(
        None, "Largest edge of a tile.",
        unit="pixels", least=64, shown="from free memory", commands=EVERYWHERE,
    )  # fmt: skip
    chunk_frames: int = option(
        96,
        "Minimum frames per chunk; a chunk is the unit of resuming.",
        noun="chunk length",
        least=1,
    )
    keep_work: bool = option(
        False, "Keep the work folder next to OUT.", decides="run", per_folder=False
    )
    fresh: bool = option(
        False,
        "Start again, and remove the work of an earlier run.",
        decides="run",
        saved=False,
        per_folder=False,
    )
    aux_sdr: str | None = option(
        None, "Also write the restored SDR picture (models wmnet, wmnet-fast, wmnet-deep, didnet); .mkv, .mp4 or .mov.",
        metavar="FILE", decides="file", commands=("convert",), saved=False, per_folder=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for each in declared():
            object.__setattr__(self, each.name, each.check(getattr(self, each.name)))
        dynamic = tuple(name for name in DYNAMIC if getattr(self, name))
        wanted = Wanted(
            self.codec, self.writer, self.planes, self.transfer, self.crf, self.preset, dynamic
        )
        if (why := wanted.refusal()) is not None:
            raise UsageError(why)

    def changed(self, **changes: Any) -> Self:
        """These options with some of them changed. Raises TypeError for a name that is not an option."""
        return dataclasses.replace(self, **changes)

    def deciding(self, *what: Decides) -> dict[str, Any]:
        """The options that decide ``what``, by name."""
        return {o.name: getattr(self, o.name) for o in declared() if o.about.decides in what}

    @property
    def quality(self) -> float | None:
        """The CRF to encode with; None for a codec that has none."""
        return CODECS[self.codec].crf if self.crf is None else self.crf

    @property
    def writer(self) -> str:
        """The encoder to encode with, a word of :data:`sdr2hdr.codecs.ENCODERS`."""
        return software(self.codec) if self.encoder == AUTO else self.encoder

    @property
    def planes(self) -> str:
        """The pixel format to encode in, a word of :data:`sdr2hdr.codecs.FORMATS`."""
        formats = CODECS[self.codec].encoders.get(self.writer)
        return self.pix_fmt or (formats.formats[0] if formats else "")

    @property
    def speed(self) -> str:
        """The encoder's preset to encode with; empty for an encoder that has none."""
        return (
            CODECS[self.codec].encoders[self.writer].preset if self.preset is None else self.preset
        )


@dataclass(frozen=True)
class Option:
    """A field of :class:`Options` as other rooms read it. ``type`` is that of its values; None is allowed if ``optional``."""

    name: str
    type: type
    optional: bool
    many: bool
    default: Any
    about: About

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return self.about.flags[0] if self.about.flags else "--" + self.name.replace("_", "-")

    @property
    def key(self) -> str:
        """The option's name in TOML files."""
        return self.name.replace("_", "-")

    def check(self, value: Any) -> Any:
        """The value, as the option's own type. Raises UsageError with one sentence for people."""
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if value is None and self.optional:
            return None
        if self.many:
            return tuple(map(self._one, value if isinstance(value, list | tuple) else [value]))
        return self._one(value)

    def parse(self, text: str) -> Any:
        """A single value, from the command line. Raises UsageError as :meth:`check` does."""
        return self._one(text, strict=self.type is str)

    def _one(self, value: Any, *, strict: bool = True) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise UsageError(
                f"{self.flag} is given text with a NUL character in it; leave that out."
            )
        try:
            return msgspec.convert(value, _allowed(self.type, self.about), strict=strict)
        except msgspec.ValidationError:
            pass
        try:
            value = msgspec.convert(value, self.type, strict=strict)
        except msgspec.ValidationError:
            raise UsageError(
                f"{self.flag} takes {_KINDS[self.type]}, not {_shown(value)}."
            ) from None
        raise UsageError(self._refusal(value))

    def _refusal(self, value: Any) -> str:
        """The sentence for a value of the right type that is not allowed."""
        a = self.about
        noun = a.noun or self.name.replace("_", " ")
        if a.choices:
            return f"There is no {noun} {_shown(value)}; give {self.flag} {either(a.choices)}."
        article = "An" if noun[0] in "aeiou" else "A"
        amount = f"{_shown(value)} {a.unit}".strip()
        allowed = f"{'from ' if a.most is not None else ''}{a.range}"
        return f"{article} {noun} of {amount} is out of range; give {self.flag} {allowed}."


@cache
def declared() -> tuple[Option, ...]:
    """Every option, in the order of :class:`Options`."""
    hints = typing.get_type_hints(Options)
    return tuple(_read(f, hints[f.name]) for f in dataclasses.fields(Options))


@cache
def by_key() -> dict[str, Option]:
    """Every option by its name in TOML files."""
    return {o.key: o for o in declared()}


def _read(field: "dataclasses.Field[Any]", hint: Any) -> Option:
    many = typing.get_origin(hint) is tuple  # tuple[int, ...]
    kinds = typing.get_args(hint) or (hint,)
    (kind,) = (k for k in kinds if k not in (NoneType, Ellipsis))
    return Option(field.name, kind, NoneType in kinds, many, field.default, field.metadata["about"])


def _allowed(kind: type, about: About) -> Any:
    """The type that msgspec checks values against."""
    if about.choices:
        return Literal[about.choices]
    if about.least is None:
        return kind
    return Annotated[kind, msgspec.Meta(ge=about.least, le=about.most)]


def _shown(value: Any) -> str:
    """A value in a message: as Python shows it, but not at any length."""
    try:
        text = f"{value:g}" if isinstance(value, float) else repr(value)
    except ValueError:  # Python refuses to write thousands of digits
        return f"10^{math.log10(abs(value)):.0f}" if isinstance(value, int) else "this value"
    return text if len(text) <= 60 else f"{text[:57]}..."


DEFAULTS = Options()
