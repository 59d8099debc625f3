"""Frames of a data set as a codec at one QP leaves them, every picture coded alone: KPNet's compressed SDR (section 5.1)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdr2hdr.color import yuv
from sdr2hdr.data.clips import LAYOUT, to_planes
from sdr2hdr.data.paired import frame_files
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import png_facts, png_of, read_png
from sdr2hdr.media.transcode import through_codec
from sdr2hdr.writing import check_new_folder, whole_folder

SMALLEST = 64
"""The least width and height that x265 is given: the size of its coding units."""


def compress(
    folder: Path,
    out: Path,
    qp: int,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """Write the 8-bit SDR PNG frames of ``folder`` to ``out``, under the same names, as x265 leaves them; returns how many.

    They become 8-bit 4:2:0 BT.709 of limited range, are coded with intra prediction alone at exactly ``qp`` (preset
    ``medium``), decoded, and brought back to R'G'B'. The paper's encoder is HM 16.9, whose damage is alike and not equal.
    Raises InputError and OutputError; ``out`` appears when it is complete.
    """
    check_new_folder(out)
    frames = frame_files(folder)
    if not frames:
        raise InputError(f"{folder} holds no PNG frames; name the folder that does.")
    for path in frames.values():
        facts = png_facts(path)
        width, height = facts.size
        if facts.depth != 8:
            raise InputError(
                f"{path} has {facts.depth} bits, SDR frames have 8; name their folder."
            )
        if width % 2 or height % 2 or min(width, height) < SMALLEST:
            raise InputError(
                f"{path} is {width}x{height}, and 4:2:0 needs even sides, of {SMALLEST} or more; crop it."
            )
    unused = np.random.default_rng(0)
    with whole_folder(out) as part:
        for done, ((scene, name), path) in enumerate(frames.items(), start=1):
            rgb = read_png(path).float()[None] / 255
            planes = to_planes(rgb, unused, dither=0.0)
            coded = through_codec(planes, "libx265", qp, "medium", intra=True)
            y, cb, cr = (plane[0] for plane in coded)
            picture = yuv.from_yuv((y, cb, cr), LAYOUT)
            target = part / scene / f"{name}.png"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(png_of((picture * 255).round().clamp(0, 255).byte()))
            progress(done, len(frames))
    return len(frames)
