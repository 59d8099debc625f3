"""The facts of a video file, SDR or HDR, as plain values."""

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from sdr2hdr.errors import InputError
from sdr2hdr.media.check import read_hdr10
from sdr2hdr.media.clock import clock_time
from sdr2hdr.media.info import SourceInfo, read_info
from sdr2hdr.media.outlook import outlook, refused, streams
from sdr2hdr.media.source import Source


def probe(path: str | Path, container: str = "mkv") -> dict[str, Any]:
    """What a video file is, as plain JSON values grouped by what they are about.

    ``streams`` lists the file's streams with what a conversion to ``container`` makes of each, and
    ``convert`` says what else it would report, from the headers and the first pictures. HDR is not
    refused here: ``hdr10`` says which static metadata container and bitstream of an HDR file carry.

    Raises :class:`sdr2hdr.errors.InputError` for anything that is not a video that decodes.
    """
    path = Path(path)
    try:
        source = Source(path)
    except InputError as error:  # it is HDR, or no video at all, which is an error here, too
        info = read_info(path)
        plan, convert = None, refused(error, container)
    else:
        info = source.info
        plan, convert = outlook(source, container)
    facts = {
        "file": str(path),
        "container": info.container,
        "kind": info.hdr or "SDR",
        "video": _video(info),
        "colour": {
            "pix_fmt": info.pix_fmt,
            **asdict(info.layout),
            "sub": list(info.layout.sub),
            "matrix_from": info.matrix_from,
            "range_from": info.range_from,
            "primaries": info.primaries,
            "transfer": info.transfer,
            "read_as": {
                **vars(info.shown.display),
                **{k: v for k, v in vars(info.shown).items() if k != "display"},
            },
        },
        "clock": _clock(info),
        "chapters": {
            "count": info.chapters,
            "editions": info.headers.chapters.editions,
            "nested": info.headers.chapters.nested,
            "languages": list(info.headers.chapters.languages),
            "flags": list(info.headers.chapters.flags),
        },
        "streams": streams(path, info, plan),
        "convert": convert,
    }
    if info.hdr is not None:
        found = read_hdr10(path)
        facts["hdr10"] = {
            f"{place} {what}": fact
            for place in ("container", "bitstream")
            for what, fact in found[place].items()
        }
    return facts


def _video(info: SourceInfo) -> dict[str, Any]:
    seconds = None if info.duration is None else round(float(info.duration * info.time_base), 6)
    aspect, headers = info.sample_aspect_ratio, info.headers
    return {
        "stream": info.stream,
        "streams": info.video_streams,
        "codec": info.codec,
        "size": "{}x{}".format(*info.size),
        "stored_size": "{}x{}".format(*info.coded_size),
        "rotation": info.turn.degrees,
        "mirrored": info.turn.mirrored,
        "sample_aspect_ratio": f"{aspect.numerator}:{aspect.denominator}",
        "rate": str(info.rate),
        "time_base": str(info.time_base),
        "start_pts": info.start_pts,
        "frames": info.frames,
        "seconds": seconds,
        "field_order": info.field_order,
        "interlaced": info.interlaced,
        "timecode": headers.timecode or None,
        "stereo": headers.stereo or None,
        "projection": headers.projection or None,
        "crop": [f"{pixels} {side}" for side, pixels in headers.crop.items()],
        "transparency": headers.alpha,
        "closed_captions": headers.captions,
        "film_grain_described": headers.grain,
    }


def _clock(info: SourceInfo) -> dict[str, Any]:
    """When the picture starts on the source's own clock, what is added to its times, and where the
    clock jumps in the film."""
    clock = info.clock
    jumps = [
        {
            "at": clock_time(after.start + after.moved),
            "seconds": round(float(after.start - before.end), 6),
        }
        for before, after in pairwise(clock.parts)
    ]
    return {
        "picture_start_seconds": round(float(info.start_pts * info.time_base - clock.moved), 6),
        "moved_seconds": round(float(clock.moved), 6),
        "wrong_times": len(clock.wrong),
        "jumps": jumps,
    }
