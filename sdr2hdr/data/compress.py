"""Frames of a data set as a codec at one QP leaves them: KPNet's compressed SDR (section 5.1), or whole films."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from sdr2hdr.color import yuv
from sdr2hdr.data.clips import LAYOUT, to_planes
from sdr2hdr.data.paired import frame_files
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import png_facts, png_of, read_png
from sdr2hdr.media.transcode import Picture, coded
from sdr2hdr.writing import check_new_folder, whole_folder

SMALLEST = 64
"""The least width and height that x265 is given: the size of its coding units."""


def compress(
    folder: Path,
    out: Path,
    qp: int,
    *,
    films: bool = False,
    program: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """Write the 8-bit SDR PNG frames of ``folder`` to ``out``, under the same names, as x265 leaves them; returns how many.

    They become 8-bit 4:2:0 BT.709 of limited range, are coded (preset ``medium``), decoded, and brought back to R'G'B'. Every
    picture is coded alone at exactly ``qp``, or with ``films`` the frames of each sub-folder together, as a film. A ``program``
    takes the place of x265 (:func:`by_program`).

    Raises InputError and OutputError; ``out`` appears when it is complete.
    """
    check_new_folder(out)
    frames = frame_files(folder)
    if not frames:
        raise InputError(f"{folder} holds no PNG frames; name the folder that does.")
    sizes = {key: _size(path) for key, path in frames.items()}
    if films and any(scene == "." for scene, _ in frames):
        raise InputError(
            f"{folder} holds frames that are of no film; put the frames of each film into a folder of its own."
        )
    runs = [list(run) for _, run in groupby(frames, key=lambda k: (k[0], sizes[k]))]
    if films and len(runs) > len({scene for scene, _ in frames}):
        raise InputError(f"{folder} holds a film with frames of several sizes; scale them to one.")
    if not films and program is None:
        runs = [[key] for key in frames]
    done = 0
    with whole_folder(out) as part:
        for run in runs:
            pictures = (_picture(frames[key]) for key in run)
            if program is not None:
                found = by_program(program, pictures, len(run), sizes[run[0]], qp)
            else:
                found = coded(pictures, "libx265", qp, "medium", intra=not films)
            for (scene, name), planes in zip(run, found, strict=True):
                rgb = yuv.from_yuv(planes, LAYOUT)
                target = part / scene / f"{name}.png"
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(png_of((rgb * 255).round().clamp(0, 255).byte()))
                done += 1
                progress(done, len(frames))
    return done


def by_program(
    program: Path, pictures: Iterator[Picture], count: int, size: tuple[int, int], qp: int
) -> Iterator[Picture]:
    """Pictures of ``size`` (width, height) as a program of the user's leaves them, for encoders that FFmpeg lacks, such as HM.

    It is called as ``PROGRAM IN.yuv OUT.yuv WIDTH HEIGHT FRAMES QP``. Both files hold planes Y, Cb, Cr of 8 bits in 4:2:0,
    picture after picture; the program writes the second one, with as many pictures, and ends with 0. Raises InputError.
    """
    width, height = size
    shapes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
    each = sum(h * w for h, w in shapes)
    with tempfile.TemporaryDirectory(prefix="sdr2hdr-") as folder:
        source, result = (Path(folder) / f"{name}.yuv" for name in ("in", "out"))
        with source.open("wb") as file:
            for picture in pictures:
                for plane in picture:
                    file.write(plane.numpy().tobytes())
        _run(program, [str(x) for x in (source, result, width, height, count, qp)])
        if not result.is_file() or result.stat().st_size != each * count:
            raise InputError(
                f"{program} did not write {count} pictures of {width}x{height} in 8-bit 4:2:0; see docs/datasets.md."
            )
        with result.open("rb") as file:
            for _ in range(count):
                y, cb, cr = (
                    torch.frombuffer(bytearray(file.read(h * w)), dtype=torch.uint8).view(h, w)
                    for h, w in shapes
                )
                yield y, cb, cr


def _run(program: Path, arguments: Sequence[str]) -> None:
    try:
        subprocess.run(  # noqa: S603
            [str(program), *arguments], capture_output=True, check=True, stdin=subprocess.DEVNULL
        )
    except subprocess.CalledProcessError as e:
        words = e.stderr.decode(errors="replace").strip().splitlines()
        said = f", and its last words were {words[-1]!r}" if words else ""
        raise InputError(
            f"{program} failed with the exit code {e.returncode}{said}; run it by hand."
        ) from e
    except OSError as e:
        raise InputError(
            f"{program} cannot be run ({e.strerror}); name a program with its path."
        ) from e


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an SDR frame. Raises InputError for one that cannot be coded."""
    facts = png_facts(path)
    width, height = facts.size
    if facts.depth != 8:
        raise InputError(f"{path} has {facts.depth} bits, SDR frames have 8; name their folder.")
    if width % 2 or height % 2 or min(width, height) < SMALLEST:
        raise InputError(
            f"{path} is {width}x{height}, and 4:2:0 needs even sides, of {SMALLEST} or more; crop it."
        )
    return width, height


def _picture(path: Path) -> Picture:
    planes = to_planes(read_png(path).float()[None] / 255, np.random.default_rng(0), dither=0.0)
    y, cb, cr = (plane[0] for plane in planes)
    return y, cb, cr
