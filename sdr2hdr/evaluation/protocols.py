"""What papers do to the SDR before they measure: compression at fixed QPs, and sets of frames whose middle one is judged."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color.yuv import from_yuv
from sdr2hdr.data.clips import LAYOUT, to_planes
from sdr2hdr.data.damage import Planes
from sdr2hdr.errors import InputError
from sdr2hdr.evaluation.strips import Pairing, Strip
from sdr2hdr.media.transcode import through_codec

CODEC, PRESET = "libx265", "medium"


def protocol(
    pairs: Sequence[Pairing], qps: Sequence[int], *, intra: bool, middle: int | None
) -> list[Pairing]:
    """The pairs compressed at each of the QPs, if there are any, then as sets of ``middle`` frames, if that is given."""
    found = compressed(pairs, qps, intra=intra) if qps else list(pairs)
    return middle_frames(found, middle) if middle else found


def compressed(pairs: Sequence[Pairing], qps: Sequence[int], *, intra: bool) -> list[Pairing]:
    """The pairs with their SDR as x265 leaves it at each QP: 8-bit 4:2:0, each scene coded alone.

    With ``intra``, and always where the frames are unrelated, each picture is coded alone. Raises InputError for HDR strips.
    """
    found = []
    for qp in qps:
        for pair in pairs:
            if not pair.strip.sdr or pair.times:
                raise InputError(
                    f"{pair.strip.name} is no ordinary SDR, which --qp compresses; leave --qp out."
                )
            found.append(replace(pair, strip=_coded(pair.strip, qp, intra), qp=qp))
    return found


def _coded(strip: Strip, qp: int, intra: bool) -> Strip:
    width, height = (n // 2 * 2 for n in strip.size)

    def frames() -> Iterator[Tensor]:
        for planes in zip(*_planes(strip, qp, intra or bool(strip.loose)), strict=True):
            yield from_yuv(planes, LAYOUT)

    return replace(strip, size=(width, height), frames=frames, qp=lambda _first: float(qp))


@lru_cache(maxsize=1)
def _planes(strip: Strip, qp: int, intra: bool) -> Planes:
    """The decoded pictures of a strip, which are read again for each model."""
    random = np.random.default_rng(0)  # without dither nothing is drawn
    width, height = (n // 2 * 2 for n in strip.size)
    made = [
        to_planes(frame[None, :, :height, :width], random, dither=0.0) for frame in strip.frames()
    ]
    y, cb, cr = (torch.cat(parts) for parts in zip(*made, strict=True))
    return through_codec((y, cb, cr), CODEC, qp, PRESET, intra=intra)


def middle_frames(pairs: Sequence[Pairing], frames: int) -> list[Pairing]:
    """The pairs as sets of so many neighbouring frames, each rendered alone, of which the middle frame is judged.

    Frames that fill no set are left out. Raises InputError for unrelated frames and for scenes that are too short.
    """
    found = []
    for pair in pairs:
        strip, truth = pair.strip, pair.truth
        count = strip.scenes()[-1] // frames * frames
        if strip.loose or not count or truth is None:
            why = (
                "its frames are unrelated"
                if strip.loose
                else "it has no truth"
                if truth is None
                else f"it has {strip.scenes()[-1]} frames"
            )
            raise InputError(
                f"{strip.name} gives no sets of {frames} frames, because {why}; leave --middle out."
            )
        judged = tuple(range(frames // 2, count, frames))
        sets = replace(
            strip,
            frames=lambda s=strip, n=count: islice(s.frames(), n),  # type: ignore[misc]
            scenes=lambda n=count: range(0, n + 1, frames),  # type: ignore[misc]
        )
        of = replace(
            truth,
            frames=lambda t=truth, n=count: islice(t.frames(), frames // 2, n, frames),  # type: ignore[misc]
        )
        found.append(replace(pair, strip=sets, truth=of, judged=judged))
    return found
