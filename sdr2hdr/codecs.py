"""What is offered: which codec goes with which encoder, container, pixel format and transfer.

Sources: ISO/IEC 14496-15 (HEVC in MP4), AV1 in ISOBMFF, RFC 9559 (Matroska), RFC 9043 (FFV1), SMPTE RDD 36 (ProRes), SMPTE
ST 2019-1 (VC-3, of which DNxHR is a form), BT.2100-2 (PQ and HLG).
"""

from dataclasses import dataclass

PQ, HLG, HLG_COMPATIBLE = "pq", "hlg", "hlg-compatible"
TRANSFERS = {PQ: "PQ", HLG: "HLG", HLG_COMPATIBLE: "HLG for receivers of BT.2020 SDR"}
"""The transfers that are written, and their names in sentences."""

_420 = ("yuv420p10",)
_ALL = ("yuv420p10", "yuv422p10", "yuv444p10", "yuv420p12", "yuv422p12", "yuv444p12")
FORMATS = (*_ALL, "gbrp16")
"""Every pixel format that is written (:data:`sdr2hdr.color.yuv.PIXEL_FORMATS`)."""


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
    HDR10 metadata stand in the container alone.
    """

    noun: str
    ffmpeg: str
    crf: float | None
    encoders: dict[str, Writer]
    containers: tuple[str, ...]
    transfers: tuple[str, ...]
    holds_messages: bool = False

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
}
"""By the words of ``--codec``."""

ENCODERS = tuple(dict.fromkeys(word for codec in CODECS.values() for word in codec.encoders))
"""Every word of ``--encoder``."""

CONTAINERS = ("mkv", "mp4", "mov")


def software(codec: str) -> str:
    """The ``--encoder`` of a codec that needs no hardware."""
    return next(iter(CODECS[codec].encoders))


def refusal(codec: str, encoder: str, pix_fmt: str, transfer: str) -> str | None:
    """Why a combination is not offered, in one sentence with a way out; None if it is."""
    known = CODECS[codec]
    if encoder not in known.encoders:
        writing = [word for word, other in CODECS.items() if encoder in other.encoders]
        return f"Encoder {encoder} does not write {codec}; give --codec {either(writing)} with it, or another --encoder."
    formats = known.encoders[encoder].formats
    if pix_fmt not in formats:
        return f"Encoder {encoder} does not write {known.noun} in {pix_fmt}; give --pix-fmt {either(formats)}."
    if transfer not in known.transfers:
        able = [word for word, other in CODECS.items() if transfer in other.transfers]
        return f"{known.noun} is not written in {TRANSFERS[transfer]}; give --codec {either(able)}, or another --transfer."
    return None


def container_refusal(codec: str, container: str) -> str | None:
    """Why a codec does not go into a container, in one sentence with a way out; None if it does."""
    known = CODECS[codec]
    if container in known.containers:
        return None
    others = either([name.upper() for name in known.containers])
    return (
        f"{container.upper()} cannot hold {known.noun}; write {others}, or choose another --codec."
    )


def either(words: "tuple[str, ...] | list[str]") -> str:
    """Words as a choice in a sentence."""
    return " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
