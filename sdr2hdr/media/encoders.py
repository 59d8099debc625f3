"""The encoders of the picture, and the options of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdr2hdr.media.encoder import EncodeSettings

Told = dict[str, str]


@dataclass(frozen=True, slots=True)
class Encoder:
    """FFmpeg's ``name`` for it, the ``pix_fmt`` in which it takes 10-bit 4:2:0, and what it is ``told`` besides its preset.

    Its groups of pictures are closed, and parameter sets stand on each of their first pictures. A ``hardware`` encoder is used
    only if a trial shows that (:mod:`sdr2hdr.media.trial`).
    """

    name: str
    pix_fmt: str
    told: "Callable[[EncodeSettings], Told]"
    hardware: bool = False


def _x265(s: "EncodeSettings") -> Told:
    hdr = "hdr10=1:hdr10-opt=1:" if s.hdr else ""
    params = f"repeat-headers=1:info=0:open-gop=0:log-level=none:frame-threads={s.frame_threads}"
    return {"crf": f"{s.crf:g}", "x265-params": hdr + params}


def _svtav1(s: "EncodeSettings") -> Told:
    return {
        "crf": f"{s.crf:g}",
        "svtav1-params": "irefresh-type=2",
    }  # key frames only: closed groups of pictures


def _nvenc(s: "EncodeSettings") -> Told:
    told = {"rc": "vbr", "cq": f"{s.crf:g}", "tune": "hq", "forced-idr": "1"}
    return told | ({"profile": "main10"} if s.codec == "hevc" else {"highbitdepth": "1"})


def _qsv(s: "EncodeSettings") -> Told:
    told = {"global_quality": f"{s.crf:.0f}", "forced_idr": "1", "flags": "+cgop"}
    return told | ({"profile": "main10", "idr_interval": "0"} if s.codec == "hevc" else {})


def _amf(s: "EncodeSettings") -> Told:
    hevc = s.codec == "hevc"
    qp = f"{s.crf if hevc else 4 * s.crf:.0f}"  # AV1 counts quantizers to 255
    told = {"usage": "transcoding", "rc": "cqp", "qp_i": qp, "qp_p": qp, "bitdepth": "10"}
    if hevc:
        return told | {"profile": "main10", "header_insertion_mode": "idr", "gops_per_idr": "1"}
    return told | {"header_insertion_mode": "gop", "align": "none"}


ENCODERS = {
    ("hevc", "x265"): Encoder("libx265", "yuv420p10le", _x265),
    ("hevc", "nvenc"): Encoder("hevc_nvenc", "p010le", _nvenc, hardware=True),
    ("hevc", "qsv"): Encoder("hevc_qsv", "p010le", _qsv, hardware=True),
    ("hevc", "amf"): Encoder("hevc_amf", "p010le", _amf, hardware=True),
    ("av1", "svtav1"): Encoder("libsvtav1", "yuv420p10le", _svtav1),
    ("av1", "nvenc"): Encoder("av1_nvenc", "p010le", _nvenc, hardware=True),
    ("av1", "qsv"): Encoder("av1_qsv", "p010le", _qsv, hardware=True),
    ("av1", "amf"): Encoder("av1_amf", "p010le", _amf, hardware=True),
}
"""By codec and ``--encoder``; the first one of a codec is its software encoder."""

CODECS = tuple(dict.fromkeys(codec for codec, _ in ENCODERS))


def software(codec: str) -> str:
    """The ``--encoder`` of a codec that needs no hardware."""
    return next(word for known, word in ENCODERS if known == codec)
