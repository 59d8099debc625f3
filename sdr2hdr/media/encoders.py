"""The encoders of the picture, and the options of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdr2hdr.codecs import HLG_COMPATIBLE, PQ
from sdr2hdr.media.exr import exr

if TYPE_CHECKING:
    from torch import Tensor

    from sdr2hdr.media.encoder import EncodeSettings

Told = dict[str, str]


@dataclass(frozen=True, slots=True)
class Encoder:
    """FFmpeg's ``name`` for it, what it is ``told`` besides its preset, and the ``form`` in which it takes the samples if it does
    not take the planes.

    Its groups of pictures are closed, and parameter sets stand on each of their first pictures. A ``hardware`` encoder is used
    only if a trial shows that (:mod:`sdr2hdr.media.trial`). If FFmpeg has none that will do, ``picture`` makes a file of the
    planes, and ``name`` is the library's.
    """

    name: str
    told: "Callable[[EncodeSettings], Told]"
    form: str = ""
    hardware: bool = False
    picture: "Callable[[tuple[Tensor, ...], EncodeSettings], bytes] | None" = None


_X265_BLOCK = 64
"""Samples of a side of x265's largest blocks."""


def _x265(s: "EncodeSettings") -> Told:
    hdr = {PQ: "hdr10=1:hdr10-opt=1:", HLG_COMPATIBLE: "atc-sei=18:"}.get(s.transfer, "")
    params = f"repeat-headers=1:info=0:open-gop=0:log-level=none:frame-threads={s.frame_threads}"
    if (
        s.width <= _X265_BLOCK
    ):  # the picture is one block wide, of which x265 reads memory that it has not set
        params += ":ctu=32"
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


def _prores(s: "EncodeSettings") -> Told:
    # Final Cut Pro reads no other vendor's (FFmpeg's documentation of prores_ks)
    return {"profile": "4444" if s.pix_fmt == "yuv444p10" else "hq", "vendor": "apl0"}


def _ffv1(_: "EncodeSettings") -> Told:
    # version 3 with a checksum in each slice (RFC 9043 4.9); the number of slices must not come from the machine
    return {"level": "3", "slicecrc": "1", "slices": "16"}


def _dnxhd(_: "EncodeSettings") -> Told:
    return {"profile": "dnxhr_hqx"}


def _png(_: "EncodeSettings") -> Told:
    # level 6 saves 9 % and takes six times as long: the last of 16 bits are noise
    return {"compression_level": "1", "pred": "mixed"}


def _tiff(_: "EncodeSettings") -> Told:
    return {"compression_algo": "deflate"}


def _openexr(_: "EncodeSettings") -> Told:
    return {}


ENCODERS = {
    ("hevc", "x265"): Encoder("libx265", _x265),
    ("hevc", "nvenc"): Encoder("hevc_nvenc", _nvenc, "p010le", hardware=True),
    ("hevc", "qsv"): Encoder("hevc_qsv", _qsv, "p010le", hardware=True),
    ("hevc", "amf"): Encoder("hevc_amf", _amf, "p010le", hardware=True),
    ("av1", "svtav1"): Encoder("libsvtav1", _svtav1),
    ("av1", "nvenc"): Encoder("av1_nvenc", _nvenc, "p010le", hardware=True),
    ("av1", "qsv"): Encoder("av1_qsv", _qsv, "p010le", hardware=True),
    ("av1", "amf"): Encoder("av1_amf", _amf, "p010le", hardware=True),
    ("prores", "prores_ks"): Encoder("prores_ks", _prores),
    ("ffv1", "ffv1"): Encoder("ffv1", _ffv1),
    ("dnxhr", "dnxhd"): Encoder("dnxhd", _dnxhd),
    ("exr", "openexr"): Encoder("OpenEXR", _openexr, picture=exr),
    ("png16", "png"): Encoder("png", _png, "rgb48be"),
    ("tiff16", "tiff"): Encoder("tiff", _tiff, "rgb48le"),
}
"""By codec and ``--encoder``."""
