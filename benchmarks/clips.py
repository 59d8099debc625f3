"""Every film of a folder before and after, on one sheet: the SDR frame, and the model's HDR frame as an SDR screen shows it.

    python -m benchmarks.clips FOLDER SHEET.jpg [--model look] [--most 3] [--width 300]

The frames are those of `sdr2hdr preview`: the middle of each scene, of ``--most`` scenes a film, with the model's memory of
the scene; so is the toning down (BT.2390, a screen of 300 nits). Each film is named over its pictures.
"""

import sys
from fractions import Fraction
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.command import parser
from sdr2hdr.errors import InputError, Sdr2HdrError
from sdr2hdr.jobs.looks import Look
from sdr2hdr.jobs.plan import survey
from sdr2hdr.media.source import Source
from sdr2hdr.options import DEFAULTS
from sdr2hdr.preview import HISTORY, _frames, _look, _rendered, _scene_moments
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.renderer import Renderer
from sdr2hdr.views.pictures import fit, image, jpeg_bytes, on_screen
from sdr2hdr.weights.opened import open_model
from sdr2hdr.writing import write_whole

PEAK = 1000


def pairs(film: Path, model: str, most: int) -> list[tuple[Tensor, Tensor]]:
    """SDR R'G'B' and the model's codes ``3,H,W``, for each scene shown."""
    source = Source(film)
    width, height = source.info.size
    loaded = open_model(model)
    grade = Look.of(None).grade(DEFAULTS, loaded.spec, has_times=False)
    renderer = Renderer(
        loaded.model, loaded.spec, (height, width), device="cpu", grade=grade, peak=PEAK
    )
    found = []
    for moment in _scene_moments(source, survey(source, "auto", lambda *_: None), most):
        rgb = next(_frames(source, moment, moment.frame, moment.frame + 1))
        look = _look(source, moment, renderer, HISTORY, None, None)
        found.append((rgb, _rendered(source, moment, renderer, look, HISTORY)))
    return found


def row(film: Path, model: str, most: int, width: int) -> Image.Image:
    """A film's name over its pairs, each picture ``width`` wide (an upright one as high as that)."""
    shown = []
    for rgb, codes in pairs(film, model, most):
        scale = Fraction(width, max(rgb.shape[1:]))
        size = round(rgb.shape[1] * scale), round(rgb.shape[2] * scale)
        shown.append(torch.cat([fit(rgb, size), on_screen(fit(codes, size), PEAK)], dim=-1))
    strip = image(torch.cat(shown, dim=-1))
    whole = Image.new("RGB", (strip.width, strip.height + 16))
    whole.paste(strip, (0, 16))
    ImageDraw.Draw(whole).text((4, 2), f"{film.name}: SDR, {model}", fill="white")
    return whole


def main() -> None:
    options = parser(__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("sheet", type=Path)
    options.add_argument("--model", default="look")
    options.add_argument("--most", type=int, default=3)
    options.add_argument("--width", type=int, default=300)
    a = options.parse_args()
    keep_one_heap()
    try:
        films = sorted(p for p in a.folder.glob("*") if p.is_file() and not p.name.startswith("."))
        if not films:
            raise InputError(f"{a.folder} holds no films; name a folder that does.")
        rows = []
        for film in films:
            rows.append(row(film, a.model, a.most, a.width))
            print(film.name, flush=True)
    except Sdr2HdrError as e:
        sys.exit(f"Error: {e}")
    places, left, top, high = [], 0, 0, 0
    for r in rows:
        if left and left + r.width > 2 * a.width * a.most:
            left, top, high = 0, top + high, 0
        places.append((left, top))
        left, high = left + r.width, max(high, r.height)
    sheet = Image.new("RGB", (2 * a.width * a.most, top + high))
    for r, place in zip(rows, places, strict=True):
        sheet.paste(r, place)
    write_whole(a.sheet, jpeg_bytes(sheet), True)


if __name__ == "__main__":
    main()
