"""The page that ``compare`` writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL.Image import Image

from sdr2hdr.metrics.film import FilmFigures
from sdr2hdr.text import html_text
from sdr2hdr.views.falsecolour import scale
from sdr2hdr.views.page import page, table
from sdr2hdr.views.pictures import jpeg_uri, png_uri
from sdr2hdr.views.plots import TRIANGLES, Line, chromaticity, histogram, light_over_time

_POINTS = 1000  # of a line over time: more cannot be seen
_COLOURS = {"a": (240, 166, 60), "b": (86, 180, 245)}


@dataclass(frozen=True)
class Side:
    """One of the films: its file, ``kind`` (words for what it is), the MaxCLL and MaxFALL it ``stated``, and its figures."""

    file: str
    kind: str
    stated: tuple[int, int] | None
    figures: FilmFigures


@dataclass(frozen=True)
class Still:
    """One frame of both films as pictures for a screen, and their luminance in false colour."""

    label: str
    pictures: tuple[Image, Image]
    maps: tuple[Image, Image]


@dataclass(frozen=True)
class Comparison:
    """Two films, frame by frame. ``times``: seconds since the first frame; ``scenes``: where in that list scenes begin."""

    a: Side
    b: Side
    truth: str | None
    times: Sequence[float]
    scenes: Sequence[int]
    notes: Sequence[str]
    screen: float

    def spans(self) -> list[tuple[int, int]]:
        """The measured frames of each scene, the last not in it."""
        return list(pairwise([*self.scenes, len(self.times)]))

    def rows(self) -> list[dict[str, float]]:
        """Each scene's figures: ``start`` in seconds, then light of A and B in nits, and the metrics if there is a truth."""
        found = []
        for first, last in self.spans():
            row: dict[str, float] = {"start": self.times[first], "frames": last - first}
            for key, side in (("a", self.a), ("b", self.b)):
                row[f"{key}_max_cll"] = max(side.figures.brightest[first:last])
                row[f"{key}_max_fall"] = max(side.figures.average[first:last])
                row[f"{key}_average"] = mean(side.figures.average[first:last])
                if side.figures.psnr:
                    row[f"{key}_psnr"] = mean(side.figures.psnr[first:last])
                    row[f"{key}_delta_e_itp"] = mean(side.figures.delta[first:last])
            found.append(row)
        return found


def mean(values: Sequence[float]) -> float:
    """The mean of a list that is not empty."""
    return sum(values) / len(values)


def comparison_page(found: Comparison, stills: Sequence[Still]) -> bytes:
    """The page as UTF-8."""
    notes = "".join(f'<p class="note">{html_text(n)}</p>' for n in found.notes)
    body = [
        f'<p><b class="a">A</b> {html_text(found.a.file)} ({html_text(found.a.kind)})<br>',
        f'<b class="b">B</b> {html_text(found.b.file)} ({html_text(found.b.kind)})',
        f'<br><b class="truth">Truth</b> {html_text(found.truth)}'
        if found.truth is not None
        else "",
        f"</p>{notes}",
        _summary(found),
        '<p class="note">Measured on the decoded pictures: coding lets single pixels overshoot, so MaxCLL here may pass what the '
        "file says, which was measured before encoding.</p>",
        "<h2>Stills</h2>",
        _stills(stills),
        f'<p class="note">Both as a screen of {found.screen:g} nits shows them (BT.2390-11 clause 5.4.1). Under "luminance" '
        "26 nits are grey and 203 white.</p>",
        "<h2>Light</h2>",
        _light(found),
        "<h2>Scene by scene</h2>",
        _scenes(found),
        "<h2>Colour</h2>",
        _colour(found),
    ]
    return page(
        f"{Path(found.a.file).name} and {Path(found.b.file).name}",
        "\n".join(body),
        _STYLE,
        _SCRIPT,
    )


def _summary(found: Comparison) -> str:
    def stated(side: Side) -> str:
        return "-" if side.stated is None else "{} / {}".format(*side.stated)

    rows = [
        ("MaxCLL, measured, nits", *(f"{s.figures.max_cll:.0f}" for s in (found.a, found.b))),
        (
            "one pixel in 10,000 is brighter than, nits",
            *(f"{s.figures.p9999:.0f}" for s in (found.a, found.b)),
        ),
        ("MaxFALL, measured, nits", *(f"{s.figures.max_fall:.1f}" for s in (found.a, found.b))),
        ("MaxCLL / MaxFALL stated in the file", stated(found.a), stated(found.b)),
        ("average light, nits", *(f"{mean(s.figures.average):.1f}" for s in (found.a, found.b))),
    ]
    rows += [
        (
            f"pixels beyond {label}",
            *(f"{100 * s.figures.beyond[key]:.2f} %" for s in (found.a, found.b)),
        )
        for label, key, _ in TRIANGLES
    ]
    if found.truth is not None:
        rows.append(
            (
                "PSNR against the truth, dB",
                *(f"{mean(s.figures.psnr):.2f}" for s in (found.a, found.b)),
            )
        )
        rows.append(
            (
                "dE_ITP against the truth",
                *(f"{mean(s.figures.delta):.2f}" for s in (found.a, found.b)),
            )
        )
    return table(("", "A", "B"), rows, ("", "a", "b"))


def _stills(stills: Sequence[Still]) -> str:
    width, height = stills[0].pictures[0].size
    options = "".join(
        f'<option value="{i}">{html_text(s.label)}</option>' for i, s in enumerate(stills)
    )
    shown = []
    for number, still in enumerate(stills):
        layers = "".join(
            f'<img class="{side} {what}" alt="{side.upper()}, {what}" src="{jpeg_uri(picture)}" draggable="false">'
            for what, both in (("picture", still.pictures), ("luminance", still.maps))
            for side, picture in zip("ab", both, strict=True)
        )
        hidden = "" if number == 0 else " hidden"
        shown.append(f'<div class="still"{hidden}>{layers}<div class="edge"></div></div>')
    return (
        '<p><label>Scene <select id="which">' + options + "</select></label> "
        '<button id="back" type="button">back</button> <button id="on" type="button">on</button> '
        '<label><input id="luminance" type="checkbox"> luminance</label></p>'
        f'<p class="bar" style="max-width:{max(640, width)}px"><b class="a">A</b><input id="slider" type="range" min="0" '
        'max="100" value="50" step="0.1" aria-label="where A ends and B begins"><b class="b">B</b></p>'
        f'<div id="stage" style="max-width:{width}px;aspect-ratio:{width}/{height}">{"".join(shown)}</div>'
        f'<img id="scale" alt="scale in nits" src="{png_uri(scale(max(640, min(width, 1200))))}">'
    )


def _light(found: Comparison) -> str:
    cuts = [found.times[i] for i in found.scenes[1:]]
    end = found.times[-1]
    parts = [
        histogram(
            [(s.figures.luminance, k, k.upper()) for k, s in _both(found)],
            "histogram",
            "Pixels by luminance, nits",
        )
    ]
    for name, title, of_scene in (
        ("average", "Average light, and MaxFALL of each scene, nits", "MaxFALL"),
        ("brightest", "Brightest pixel, and MaxCLL of each scene, nits", "MaxCLL"),
    ):
        lines = []
        for kind, side in _both(found):
            values = side.figures.average if name == "average" else side.figures.brightest
            lines.append(
                Line(_thinned(found.times, values, most=name == "brightest"), kind, kind.upper())
            )
            steps = []
            for first, last in found.spans():
                stop = found.times[last] if last < len(found.times) else end
                steps += [(x, max(values[first:last])) for x in (found.times[first], stop)]
            lines.append(Line(steps, kind, f"{kind.upper()}, {of_scene} by scene", dashed=True))
        parts.append(light_over_time(lines, cuts, end, name, title))
    return "".join(parts)


def _both(found: Comparison) -> list[tuple[str, Side]]:
    return [("a", found.a), ("b", found.b)]


def _thinned(
    times: Sequence[float], values: Sequence[float], most: bool
) -> list[tuple[float, float]]:
    """Points reduced to a visible number: each is the mean, or the maximum, of a run of frames."""
    step = -(-len(times) // _POINTS)
    parts = [(times[i], values[i : i + step]) for i in range(0, len(times), step)]
    return [(t, max(v) if most else mean(v)) for t, v in parts]


def _scenes(found: Comparison) -> str:
    head = ["scene", "from", "frames", "A MaxCLL", "B", "A MaxFALL", "B", "A average", "B"]
    classes = ["", "", "", "a", "b", "a", "b", "a", "b"]
    if found.truth is not None:
        head += ["A PSNR", "B", "A dE_ITP", "B"]
        classes += ["a", "b", "a", "b"]
    rows = []
    for number, row in enumerate(found.rows(), 1):
        cells = [str(number), f"{row['start']:.2f} s", f"{row['frames']:.0f}"]
        for key, digits in (
            ("max_cll", 0),
            ("max_fall", 1),
            ("average", 1),
            ("psnr", 2),
            ("delta_e_itp", 2),
        ):
            cells += [
                f"{row[f'{side}_{key}']:.{digits}f}" for side in "ab" if f"{side}_{key}" in row
            ]
        rows.append(cells)
    return table(head, rows, classes)


def _colour(found: Comparison) -> str:
    diagrams = "".join(
        chromaticity(side.figures.chroma, kind, _COLOURS[kind], f"chroma-{kind}", kind.upper())
        for kind, side in _both(found)
    )
    return (
        f'<div class="pair">{diagrams}</div><p class="note">CIE 1931 x, y of pixels of one nit and more. A pixel counts as '
        "beyond a gamut where one of its channels there is negative by more than a hundredth of the largest: coding noise "
        "alone puts a few pixels in ten thousand there. None can lie beyond BT.2020 in a BT.2020 signal.</p>"
    )


_STYLE = """
#stage { position: relative; width: 100%; overflow: hidden; background: #000; cursor: ew-resize; touch-action: none; }
.still { position: absolute; inset: 0; } .still[hidden] { display: none; }
.still img { position: absolute; inset: 0; width: 100%; height: 100%; user-select: none; }
.still .b { clip-path: inset(0 0 0 var(--cut)); }
.still .edge { position: absolute; top: 0; bottom: 0; left: var(--cut); border-left: 1px solid #fff; }
.still .luminance, .lit .still .picture { visibility: hidden; } .lit .still .luminance { visibility: visible; }
.bar { display: flex; gap: 0.6em; } #slider { flex: 1; }
#scale { display: block; max-width: 100%; margin-top: 0.6em; }
"""

_SCRIPT = """
"use strict";
const get = (id) => document.getElementById(id);
const slider = get("slider"), stage = get("stage"), which = get("which");
const stills = [...document.querySelectorAll(".still")];
const cut = () => document.documentElement.style.setProperty("--cut", slider.value + "%");
const show = () => stills.forEach((still, i) => { still.hidden = i !== which.selectedIndex; });
const step = (by) => { which.selectedIndex = (which.selectedIndex + by + stills.length) % stills.length; show(); };
const drag = (event) => {
  if (!(event.buttons & 1)) return;
  const box = stage.getBoundingClientRect();
  slider.value = 100 * (event.clientX - box.left) / box.width;
  cut();
};
slider.addEventListener("input", cut);
stage.addEventListener("pointerdown", drag);
stage.addEventListener("pointermove", drag);
which.addEventListener("change", show);
get("back").addEventListener("click", () => step(-1));
get("on").addEventListener("click", () => step(1));
get("luminance").addEventListener("change", (event) => stage.classList.toggle("lit", event.target.checked));
cut();
show();
"""
