"""The scene split of a film before a conversion: as a table, as files for other programs, and as pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from PIL import Image, ImageDraw

from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.jobs.plan import survey_and_cuts
from sdr2hdr.media.pick import picked
from sdr2hdr.media.source import Source
from sdr2hdr.scenes.cutlist import time_code
from sdr2hdr.scenes.table import Row, as_csv, as_edl, as_qpfile, rows_of
from sdr2hdr.text import html_text, printable
from sdr2hdr.views.falsecolour import font
from sdr2hdr.views.page import page, table
from sdr2hdr.views.pictures import fit, image, jpeg_uri, png_bytes, shown_size
from sdr2hdr.writing import check_free, write_whole

_EDGE = 240  # pixels, the longer edge of a picture on the sheet
_LINE = 22  # pixels for a line of text
_GAP = 8
_STYLE = """
figure { margin: 1em 0; } img { margin-right: 6px; }
.doubt { color: #ffbe3c; border-left: 4px solid; padding-left: 8px; }
"""
_TALLEST = 60_000  # pixels; PNG readers still accept this height


@dataclass(frozen=True)
class SceneSplit:
    """The scenes of a film, the written files, and a description of what could not be read."""

    rows: tuple[Row, ...]
    files: tuple[Path, ...]
    loss: str | None


def scene_split(
    src: str | Path,
    *,
    scenes: str = "auto",
    csv: Path | None = None,
    qpfile: Path | None = None,
    edl: Path | None = None,
    sheet: Path | None = None,
    html: Path | None = None,
    input_matrix: str | None = None,
    input_range: str | None = None,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> SceneSplit:
    """Find the scenes of ``src`` (or take them from a list, ``scenes`` as in ``convert``) and write the files asked for.

    Every file appears whole or not at all. Raises :class:`InputError` or :class:`OutputError`, with a message for people.
    """
    src = Path(src)
    files = [path for path in (csv, qpfile, edl, sheet, html) if path is not None]
    for path in files:
        check_free(path, overwrite, src)
    if len({path.absolute() for path in files}) < len(files):
        raise OutputError("Two of the files to write have the same name; give each its own.")
    source = Source(src, matrix=input_matrix, range=input_range)
    found, cuts = survey_and_cuts(source, scenes, lambda done, total: progress("scan", done, total))
    if not found.pts:
        raise InputError(f"{src} holds no picture that decodes; check the file.")
    last = found.last_duration or (found.pts[-1] - found.pts[-2] if len(found.pts) > 1 else 1)
    rows = rows_of(found.pts, last, found.cuts, cuts, source.info.time_base)
    texts = {csv: as_csv(rows), qpfile: as_qpfile(rows)}
    texts[edl] = as_edl(rows, src.stem, _rate(found.pts, source.info.time_base))
    for name, text in texts.items():
        if name is not None:
            write_whole(name, text.encode("utf-8", "replace"), overwrite)
    if sheet is not None or html is not None:
        stills = _stills(source, rows, found.pts, progress)
        if sheet is not None:
            write_whole(sheet, png_bytes(_sheet(rows, stills, src.name)), overwrite)
        if html is not None:
            write_whole(html, _page(rows, stills, src.name, found.loss), overwrite)
    return SceneSplit(tuple(rows), tuple(files), found.loss)


def seconds(length: Fraction) -> str:
    """A length for people: seconds with two digits."""
    return f"{float(length):.2f} s"


def _rate(pts: Sequence[int], time_base: Fraction) -> Fraction:
    """Mean frame rate over the whole film."""
    if len(pts) < 2:
        return Fraction(25)
    return Fraction(len(pts) - 1) / ((pts[-1] - pts[0]) * time_base)


def _stills(
    source: Source,
    rows: Sequence[Row],
    pts: Sequence[int],
    progress: Callable[[str, int, int], None],
) -> dict[int, Image.Image]:
    """Small first, middle and last frames of each scene, by frame number."""
    numbers = sorted({n for r in rows for n in (r.first, (r.first + r.last) // 2, r.last)})
    found = {}
    for done, (number, picture) in enumerate(
        zip(numbers, picked(source, [pts[n] for n in numbers]), strict=False), 1
    ):
        rgb = picture.rgb()
        height, width = rgb.shape[-2:]
        found[number] = image(
            fit(rgb, shown_size((height, width), source.info.sample_aspect_ratio, _EDGE))
        )
        progress("stills", done, len(numbers))
    return found


def _title(row: Row) -> str:
    kind = (
        ""
        if row.kind is None
        else f"  {row.kind} {row.strength:.2f}"
        if row.strength is not None
        else f"  {row.kind}"
    )
    doubt = "  DOUBTFUL" if row.is_doubtful else ""
    return f"{row.number}  {time_code(row.start)}  frame {row.first}  {seconds(row.length)}{kind}{doubt}"


def _sheet(rows: Sequence[Row], stills: dict[int, Image.Image], name: str) -> Image.Image:
    """A contact sheet with three frames per scene, in columns of scenes that keep it about square."""
    wide = max((p.width for p in stills.values()), default=_EDGE)
    high = max((p.height for p in stills.values()), default=_EDGE)
    cell = (3 * wide + 4 * _GAP, high + _LINE + _GAP)
    columns = max(1, min(len(rows), round((len(rows) * cell[1] / cell[0]) ** 0.5)))
    lines = -(-len(rows) // columns)
    if lines * cell[1] > _TALLEST:
        raise OutputError(
            f"{len(rows)} scenes are too many for one sheet; ask for --html or --csv instead."
        )
    out = Image.new("RGB", (columns * cell[0], 2 * _LINE + lines * cell[1]), (22, 22, 22))
    draw = ImageDraw.Draw(out)
    draw.text((_GAP, _GAP), printable(name), fill=(230, 230, 230), font=font(14))
    for i, row in enumerate(rows):
        x, y = i % columns * cell[0], 2 * _LINE + i // columns * cell[1]
        colour = (255, 190, 60) if row.is_doubtful else (190, 190, 190)
        draw.text((x + _GAP, y), _title(row), fill=colour, font=font(13))
        for k, number in enumerate((row.first, (row.first + row.last) // 2, row.last)):
            if number in stills:
                out.paste(stills[number], (x + _GAP + k * (wide + _GAP), y + _LINE))
        if row.is_doubtful:
            draw.rectangle(
                (x + _GAP - 3, y + _LINE - 3, x + _GAP + wide + 2, y + _LINE + high + 2),
                outline=colour,
                width=3,
            )
    return out


def _page(
    rows: Sequence[Row], stills: dict[int, Image.Image], name: str, loss: str | None
) -> bytes:
    head = ("scene", "frame", "start", "end", "length", "frames", "cut", "strength")
    cells = [
        (
            r.number,
            r.first,
            time_code(r.start),
            time_code(r.end),
            seconds(r.length),
            r.frames,
            f"{r.kind or ''}{', doubtful' if r.is_doubtful else ''}",
            "" if r.strength is None else f"{r.strength:.2f}",
        )
        for r in rows
    ]
    body = [f"<p>{len(rows)} scenes.</p>"]
    if loss:
        body.append(f'<p class="note">Not everything could be read: {html_text(loss)}.</p>')
    for r in rows:
        pictures = "".join(
            f'<img src="{jpeg_uri(stills[n])}" alt="frame {n}">'
            for n in (r.first, (r.first + r.last) // 2, r.last)
            if n in stills
        )
        doubt = ' class="doubt"' if r.is_doubtful else ""
        body.append(
            f"<figure{doubt}><figcaption>{html_text(_title(r))}</figcaption>{pictures}</figure>"
        )
    body.append("<h2>Table</h2>" + table(head, cells))
    return page(f"Scenes of {name}", "\n".join(body), _STYLE)
