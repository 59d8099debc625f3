"""What is offered: which codec goes with which encoder, container, pixel format and transfer.

Sources: ISO/IEC 14496-15 (HEVC in MP4), AV1 in ISOBMFF, RFC 9559 (Matroska), RFC 9043 (FFV1), SMPTE RDD 36 (ProRes), SMPTE
ST 2019-1 (VC-3, of which DNxHR is a form), BT.2100-2 (PQ and HLG).
"""

from collections.abc import Callable
from dataclasses import dataclass

PQ, HLG, HLG_COMPATIBLE = "pq", "hlg", "hlg-compatible"
TRANSFERS = {PQ: "PQ", HLG: "HLG", HLG_COMPATIBLE: "HLG for receivers of BT.2020 SDR"}
"""The transfers that are written, and their names in sentences."""

_420 = ("yuv420p10",)
_ALL = ("yuv420p10", "yuv422p10", "yuv444p10", "yuv420p12", "yuv422p12", "yuv444p12")
_RGB = ("gbrp16",)
FORMATS = (*_ALL, *_RGB)
"""Every pixel format that is written (:data:`sdr2hdr.color.yuv.PIXEL_FORMATS`)."""

FOLDER = "folder"
"""What holds a film whose pictures are files of their own, in place of a container."""


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Metadata of single pictures: their ``noun`` and the ``flag`` that asks for them.

    They go with some pixel ``formats`` alone, and ``only`` says with which.
    """

    noun: str
    flag: str
    formats: tuple[str, ...] = FORMATS
    only: str = ""


DYNAMIC = {
    "hdr10plus": Dynamic("HDR10+", "--hdr10plus"),
    "dolby_vision": Dynamic(
        "Dolby Vision", "--dolby-vision", _420, "Dolby Vision 8.1 is 4:2:0 in 10 bits"
    ),
}
"""By the name of the option. All describe a picture in PQ."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The pixel ``formats`` that an encoder takes, its default first, and its usual ``preset``; empty if it has none."""

    formats: tuple[str, ...]
    preset: str = ""


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec: its ``noun`` in sentences, and ``ffmpeg``'s name for it.

    ``crf`` is its default quality; None if it has a quality of its own alone. ``encoders`` are the words of ``--encoder``, the
    first of which needs no hardware. ``holds_messages``: its packets hold static HDR10 metadata and closed captions; if not,
    HDR10 metadata stand in the container alone. ``dynamic`` are the keys of :data:`DYNAMIC` that its packets hold.

    ``ending`` is that of a file with one picture: the film is then a folder of them, and sound lies beside them. ``linear``:
    these files hold linear light in half floats, made of the planes; if not, the planes.
    """

    noun: str
    ffmpeg: str
    crf: float | None
    encoders: dict[str, Writer]
    containers: tuple[str, ...]
    transfers: tuple[str, ...]
    holds_messages: bool = False
    dynamic: tuple[str, ...] = ()
    ending: str = ""
    linear: bool = False

    @property
    def intra(self) -> bool:
        """Whether every picture is coded alone."""
        return self.crf is None


CODECS = {
    "hevc": Codec(
        "HEVC",
        "hevc",
        16.0,
        {
            "x265": Writer(_ALL, "medium"),
            "nvenc": Writer(_420, "p5"),
            "qsv": Writer(_420, "medium"),
            "amf": Writer(_420, "quality"),
        },
        ("mkv", "mp4", "mov"),
        (PQ, HLG, HLG_COMPATIBLE),
        holds_messages=True,
        dynamic=("hdr10plus", "dolby_vision"),
    ),
    "av1": Codec(
        "AV1",
        "av1",
        22.0,
        {
            "svtav1": Writer(_420, "6"),
            "nvenc": Writer(_420, "p5"),
            "qsv": Writer(_420, "medium"),
            "amf": Writer(_420, "quality"),
        },
        ("mkv", "mp4"),
        (PQ, HLG),
        holds_messages=True,
        dynamic=("hdr10plus",),
    ),
    "prores": Codec(
        "ProRes",
        "prores",
        None,
        {"prores_ks": Writer(("yuv422p10", "yuv444p10"))},
        ("mov", "mkv"),
        (PQ, HLG),
    ),
    "ffv1": Codec("FFV1", "ffv1", None, {"ffv1": Writer(FORMATS)}, ("mkv",), (PQ,)),
    "dnxhr": Codec("DNxHR", "dnxhd", None, {"dnxhd": Writer(("yuv422p10",))}, ("mov",), (PQ,)),
    "exr": Codec(
        "OpenEXR",
        "exr",
        None,
        {"openexr": Writer(_RGB)},
        (FOLDER,),
        (PQ,),
        ending="exr",
        linear=True,
    ),
    "png16": Codec(
        "16-bit PNG", "png", None, {"png": Writer(_RGB)}, (FOLDER,), (PQ,), ending="png"
    ),
    "tiff16": Codec(
        "16-bit TIFF", "tiff", None, {"tiff": Writer(_RGB)}, (FOLDER,), (PQ,), ending="tif"
    ),
}
"""By the words of ``--codec``."""

ENCODERS = tuple(dict.fromkeys(word for codec in CODECS.values() for word in codec.encoders))
"""Every word of ``--encoder``."""

CONTAINERS = ("mkv", "mp4", "mov")
"""Every word of ``--container``."""


def software(codec: str) -> str:
    """The ``--encoder`` of a codec that needs no hardware."""
    return next(iter(CODECS[codec].encoders))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of an encoder; ``dynamic`` are keys of :data:`DYNAMIC`, ``crf`` and ``preset`` None if not given."""

    codec: str
    encoder: str
    pix_fmt: str
    transfer: str = PQ
    crf: float | None = None
    preset: str | None = None
    dynamic: tuple[str, ...] = ()

    @property
    def known(self) -> Codec:
        return CODECS[self.codec]

    @property
    def writer(self) -> Writer:
        return self.known.encoders[self.encoder]

    def refusal(self) -> str | None:
        """Why this is not offered, in one sentence with a way out; None if it is."""
        return next((why for rule in _RULES if (why := rule(self))), None)


def _encoder(w: Wanted) -> str | None:
    if w.encoder in w.known.encoders:
        return None
    writing = [word for word, other in CODECS.items() if w.encoder in other.encoders]
    return f"Encoder {w.encoder} does not write {w.codec}; give --codec {either(writing)} with it, or another --encoder."


def _pix_fmt(w: Wanted) -> str | None:
    if w.pix_fmt in w.writer.formats:
        return None
    if w.known.ending:
        return f"{w.known.noun} has one pixel format; leave --pix-fmt out."
    return (
        f"Encoder {w.encoder} does not write {w.known.noun} in {w.pix_fmt};"
        f" give --pix-fmt {either(w.writer.formats)}."
    )


def _transfer(w: Wanted) -> str | None:
    if w.transfer in w.known.transfers:
        return None
    able = [word for word, other in CODECS.items() if w.transfer in other.transfers]
    return (
        f"{w.known.noun} is not written in {TRANSFERS[w.transfer]};"
        f" give --codec {either(able)}, or another --transfer."
    )


def _crf(w: Wanted) -> str | None:
    given = w.known.crf is None and w.crf is not None
    return f"{w.known.noun} has no CRF; leave --crf out." if given else None


def _preset(w: Wanted) -> str | None:
    given = not w.writer.preset and w.preset
    return f"{w.known.noun} has no presets; leave --preset out." if given else None


def _dynamic(w: Wanted) -> str | None:
    for name in w.dynamic:
        asked = DYNAMIC[name]
        if name not in w.known.dynamic:
            able = [word for word, other in CODECS.items() if name in other.dynamic]
            return (
                f"{w.codec} carries no metadata for {asked.flag};"
                f" give --codec {either(able)} with it, or leave it out."
            )
        if w.pix_fmt not in asked.formats:
            return f"{asked.only}; leave --pix-fmt or {asked.flag} out."
        if w.transfer != PQ:
            return f"{asked.noun} goes with PQ alone; leave {asked.flag} or --transfer out."
    return None


_RULES: tuple[Callable[[Wanted], str | None], ...] = (
    _encoder, _pix_fmt, _transfer, _crf, _preset, _dynamic,
)  # fmt: skip
"""Why something is not offered, the first reason first; each but the first may rely on those before it."""


def container_refusal(codec: str, container: str) -> str | None:
    """Why a codec does not go into a container, in one sentence with a way out; None if it does."""
    known = CODECS[codec]
    if container in known.containers:
        return None
    if known.ending:
        return f"{container.upper()} cannot hold {known.noun}; name a folder as OUT, or choose another --codec."
    others = either([name.upper() for name in known.containers])
    return (
        f"{container.upper()} cannot hold {known.noun}; write {others}, or choose another --codec."
    )


def either(words: "tuple[str, ...] | list[str]") -> str:
    """Words as a choice in a sentence."""
    return " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
