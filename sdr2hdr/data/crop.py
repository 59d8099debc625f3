"""Patches cut from paired frames before training, so that a step need not read whole pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sdr2hdr.data.paired import PairedScene
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import png_facts, png_of, read_png
from sdr2hdr.writing import check_new_folder, whole_folder

SIZE, STEP = 128, 240
"""WMNet's section IV-A: patches of 128 pixels, 240 pixels apart."""


def places(length: int, size: int, step: int) -> list[int]:
    """Where patches begin: every ``step`` pixels, and one more at the far border if the last does not reach it."""
    found = list(range(0, length - size + 1, step))
    if found and found[-1] + size < length:
        found.append(length - size)
    return found


def crop(
    scenes: Sequence[PairedScene],
    out: Path,
    *,
    size: int = SIZE,
    step: int = STEP,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """Write ``out/sdr/SCENE_yYYYY_xXXXX/FRAME.png`` and the same below ``out/hdr``; returns how many pairs of patches.

    Of scenes with compressed SDR there are patches below ``out/lq`` as well.

    Each position in a scene becomes a folder with all of the scene's frames, which is a separate scene for
    :func:`sdr2hdr.data.paired.paired_scenes`. The folder appears when it is complete. Raises InputError and OutputError.
    """
    check_new_folder(out)
    for scene in scenes:
        for path in scene.sdr:
            width, height = png_facts(path).size
            if min(width, height) < size:
                raise InputError(
                    f"{path} is {width}x{height}, too small for patches of {size}; ask for smaller ones (--size)."
                )
    made, done, total = 0, 0, sum(len(s) for s in scenes)
    with whole_folder(out) as part:
        for scene in scenes:
            every = {"sdr": scene.sdr, "hdr": scene.hdr, "lq": scene.compressed}
            sides = {side: files for side, files in every.items() if files}
            for frame in zip(*sides.values(), strict=True):
                for side, path in zip(sides, frame, strict=True):
                    picture = read_png(path)
                    for y in places(picture.shape[1], size, step):
                        for x in places(picture.shape[2], size, step):
                            name = path.stem if scene.loose else f"{scene.name}"
                            folder = part / side / f"{name}_y{y:04d}_x{x:04d}"
                            folder.mkdir(parents=True, exist_ok=True)
                            (folder / f"{path.stem}.png").write_bytes(
                                png_of(picture[:, y : y + size, x : x + size])
                            )
                            made += side == "sdr"
                done += 1
                progress(done, total)
    return made
