"""``sdr2hdr lut``: what a conversion makes of each colour, as tables for other programs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdr2hdr.color.cube import Cube, cube_lines, lattice
from sdr2hdr.color.display import USUAL
from sdr2hdr.errors import InputError, ModelError, UsageError
from sdr2hdr.exports.reading import Note, Progress, Reading, read_film
from sdr2hdr.looks.file import MODEL
from sdr2hdr.options import AUTO, DEFAULTS, Options
from sdr2hdr.scenes.cutlist import time_code
from sdr2hdr.text import printable
from sdr2hdr.weights.opened import spec_of
from sdr2hdr.writing import check_free, make_folder, write_whole

SIZES = (33, 65)


def take_tables(
    src: str | Path,
    out: str | Path,
    *,
    per: str = "film",
    size: int = 65,
    options: Options = DEFAULTS,
    progress: Progress = lambda _stage, _done, _total: None,
    note: Note = lambda _sentence: None,
    **changes: Any,
) -> list[Path]:
    """Write ``.cube`` tables of a film into the folder ``out``: one of the whole film, or one of each scene.

    They map SDR R'G'B' codes of BT.709 (BT.1886, full range) to PQ codes of BT.2020, as ``convert`` maps single pixels with
    these options; neither its steadying nor its dither is in them. ``note`` takes sentences on what was assumed of the
    film. Raises UsageError, InputError, OutputError or ModelError.
    """
    if per not in ("scene", "film"):
        raise UsageError(f"A table is made per scene or per film, not per {per!r}.")
    if size not in SIZES:
        raise UsageError(f"A table has 33 or 65 entries an edge, not {size}.")
    src, folder = Path(src), Path(out)
    o = options.changed(**changes)
    if o.model == AUTO:
        o = o.changed(model=MODEL)
    if not spec_of(o.model, o.weights).pixelwise:
        raise ModelError(
            f"Model {o.model} looks at the surroundings of a pixel, which no table holds; take --model look, bt2408 or bt2446a."
        )
    make_folder(folder)
    whole = folder / f"{src.stem}.cube"
    if per == "film":
        check_free(whole, o.overwrite, src)
    reading = read_film(src, o, progress, note)
    film, display = reading.film, reading.display
    if display != USUAL:
        note(
            f"{src} was made for a {display.transfer} display with {display.primaries} primaries, and a table takes BT.709 for "
            "BT.1886. Convert the picture to that before you apply the table."
        )
    if reading.loaded.spec.look and film.whole is None:
        raise InputError(f"{src} is too short for a look to be read; take a longer part of it.")
    if per == "film":
        jobs = [(whole.name, "the whole film", film.whole)]
    else:
        jobs = [
            (f"{src.stem}-{n:04d}.cube", f"the scene from {time_code(start)}", look if look is not None else film.whole)
            for n, (start, look) in enumerate(zip(film.starts, film.looks, strict=True), 1)
        ]  # fmt: skip
    files = [folder / name for name, *_ in jobs]
    for path in files:
        check_free(path, o.overwrite, src)
    for done, (path, (_, what, look)) in enumerate(zip(files, jobs, strict=True), 1):
        text = "".join(cube_lines(_cube(reading, look, what, size, src, o)))
        write_whole(path, text.encode(), overwrite=o.overwrite)
        progress("tables", done, len(files))
    return files


def _cube(
    reading: Reading, look: Tensor | None, what: str, size: int, src: Path, options: Options
) -> Cube:
    grade, renderer = reading.grade, reading.renderer
    (state, *_) = renderer.new_states(look)
    picture = lattice(size).reshape(size * size, size, 3).movedim(-1, 0).contiguous()
    with torch.inference_mode():
        codes = renderer.mapped(picture.to(renderer.device), state).cpu()
    return Cube(
        codes.movedim(0, -1).reshape(size, size, size, 3),
        title=printable(f"{src.stem} {options.model}").replace('"', "'"),
        comments=(
            f"sdr2hdr: {printable(src.name)}, {what}, model {options.model}",
            f"{grade.words}, peak {options.peak} nits",
            "in: BT.709 R'G'B', gamma 2.4, full range; out: BT.2020 PQ, full range",
        ),
    )
