"""The facts of a video file, SDR or HDR, as plain values."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdr2hdr.media.check import read_hdr10
from sdr2hdr.media.info import read_info


def probe(path: str | Path) -> dict[str, Any]:
    """What a video file is: plain JSON values, nested one level by what they are about.

    HDR is not refused here. ``hdr10`` says for HDR files which static metadata the container and the bitstream carry. Raises
    :class:`sdr2hdr.errors.InputError` for anything that is not a video that decodes.
    """
    path = Path(path)
    info = read_info(path)
    seconds = None if info.duration is None else round(float(info.duration * info.time_base), 6)
    facts: dict[str, Any] = {
        "file": str(path),
        "container": info.container,
        "kind": info.hdr or "SDR",
        "video": {
            "stream": info.stream,
            "streams": info.video_streams,
            "codec": info.codec,
            "size": "{}x{}".format(*info.size),
            "stored_size": "{}x{}".format(*info.coded_size),
            "rotation": info.turn.degrees,
            "mirrored": info.turn.mirrored,
            "sample_aspect_ratio": f"{info.sample_aspect_ratio.numerator}:{info.sample_aspect_ratio.denominator}",
            "rate": str(info.rate),
            "time_base": str(info.time_base),
            "start_pts": info.start_pts,
            "frames": info.frames,
            "seconds": seconds,
            "field_order": info.field_order,
            "interlaced": info.interlaced,
        },
        "colour": {
            "pix_fmt": info.pix_fmt,
            **asdict(info.layout),
            "sub": list(info.layout.sub),
            "matrix_from": info.matrix_from,
            "range_from": info.range_from,
            "primaries": info.primaries,
            "transfer": info.transfer,
        },
        "other": {
            "audio": list(info.audio),
            "subtitles": list(info.subtitles),
            "attachments": list(info.attachments),
            "chapters": info.chapters,
        },
    }
    if info.hdr is not None:
        found = read_hdr10(path)
        facts["hdr10"] = {
            f"{place} {what}": found[place][what]
            for place in ("container", "bitstream")
            for what in ("mastering", "light")
        }
    return facts
