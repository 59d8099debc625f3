"""``sdr2hdr look``: what a film's look is, as a file to edit."""

from pathlib import Path
from typing import Any

from sdr2hdr.errors import InputError, UsageError
from sdr2hdr.exports.reading import Note, Progress, read_film
from sdr2hdr.looks.file import MODEL, LookFile, Numbers, SceneNumbers
from sdr2hdr.options import DEFAULTS, Options
from sdr2hdr.writing import check_free, write_whole


def take_look(
    src: str | Path,
    out: str | Path,
    *,
    per: str = "scene",
    options: Options = DEFAULTS,
    progress: Progress = lambda _stage, _done, _total: None,
    note: Note = lambda _sentence: None,
    **changes: Any,
) -> LookFile:
    """Read the look of a film and write it to ``out``: of the whole film, and with ``per`` ``scene`` of each scene, too.

    With it, ``convert(..., look=out)`` gives the film that ``convert`` alone gives. ``note`` takes sentences on what
    was assumed of the film. Raises UsageError, InputError, OutputError or
    ModelError, with a message for people.
    """
    if per not in ("scene", "film"):
        raise UsageError(f"A look is read per scene or per film, not per {per!r}.")
    src, out = Path(src), Path(out)
    o = options.changed(**{**changes, "model": MODEL})
    check_free(out, o.overwrite, src)
    reading = read_film(src, o, progress, note)
    film, grade = reading.film, reading.grade
    if film.whole is None:
        raise InputError(f"{src} is too short for a look to be read; give convert the film itself.")
    scenes = [
        SceneNumbers(first=first, **vars(Numbers.of((film.whole if v is None else v).tolist())))
        for first, v in zip(film.firsts, film.looks, strict=True)
    ]
    found = LookFile(
        brightness=grade.brightness,
        highlights=grade.highlights,
        saturation=grade.saturation,
        frames=film.frames if per == "scene" else 0,
        film=Numbers.of(film.whole.tolist()),
        scenes=tuple(scenes) if per == "scene" else (),
    )
    starts = film.starts if per == "scene" else ()
    write_whole(out, found.text(src.name, starts).encode(), overwrite=o.overwrite)
    return found
