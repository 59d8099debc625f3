"""What differs from codec to codec in packets, and in how containers name them."""

from av.video.codeccontext import VideoCodecContext

from sdr2hdr.codecs import CODECS
from sdr2hdr.media.hdr10 import (
    clean_av1c,
    clean_hvcc,
    parameter_sets,
    sequence_headers,
    split_annexb,
)

_ENTRIES = {"hevc": "hvc1", "av1": "av01", "dnxhr": "AVdh"}
_PRORES = {"yuv422p10": "apch", "yuv444p10": "ap4h"}  # 422 HQ and 4444 (RDD 36 5.1)
_DNXHR_VOLUME, _DNXHR_BT2020 = 0x2C, 0b010  # bits 1 and 2 of this byte (ST 2019-1:2016, CLV)


def stream_parameters(codec: str, data: bytes) -> tuple[bytes, ...]:
    """What packets of a stream must have in common: HEVC's parameter sets, or AV1's sequence headers; none of other codecs."""
    if codec == "hevc":
        return parameter_sets(split_annexb(data))
    return sequence_headers(data) if codec == "av1" else ()


def sample_entry(codec: str, pix_fmt: str) -> str:
    """The four letters of a codec in MP4 and MOV; empty for one that neither holds."""
    return _PRORES[pix_fmt] if codec == "prores" else _ENTRIES.get(codec, "")


def decoded_format(codec: str, pix_fmt: str) -> str:
    """FFmpeg's name for the form in which a stream decodes: it gives all of ProRes 4444 in 12 bits."""
    return "yuv444p12le" if (codec, pix_fmt) == ("prores", "yuv444p10") else pix_fmt + "le"


def name_stream(context: VideoCodecContext, codec: str, pix_fmt: str, container: str) -> None:
    """Gives a stream made from a template the name and the codec's private data that the container is to have."""
    record = context.extradata or b""
    if codec == "hevc":
        context.extradata = clean_hvcc(record, complete=container != "mkv")
    elif codec == "av1":
        context.extradata = clean_av1c(record)
    # hev1 would be HEVC's default, which Apple's players refuse; Matroska names the form of ProRes by these letters, too
    if container != "mkv" or codec == "prores":
        context.codec_tag = sample_entry(codec, pix_fmt)


def dnxhr_of_bt2020(data: bytes) -> bytes:
    """A DNxHR picture whose header names BT.2020 with non-constant luminance. FFmpeg's encoder always names BT.709."""
    marked = data[_DNXHR_VOLUME] & ~0b110 | _DNXHR_BT2020
    return data[:_DNXHR_VOLUME] + bytes([marked]) + data[_DNXHR_VOLUME + 1 :]


def muxer_of_template(codec: str) -> str:
    """The muxer that takes a packet of a codec without more information (:func:`sdr2hdr.media.boxes.template`)."""
    return "mov" if "mov" in CODECS[codec].containers and codec not in ("hevc", "av1") else "mp4"
