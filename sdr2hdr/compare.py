"""Two films compared on one page: a source and its conversion, or two conversions."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from sdr2hdr.color.primaries import luminance
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.errors import InputError
from sdr2hdr.media.check import read_hdr10
from sdr2hdr.media.picture import Picture
from sdr2hdr.media.source import Source
from sdr2hdr.metrics.film import FilmMeter
from sdr2hdr.scenes.cutlist import read_cutlist, time_code
from sdr2hdr.scenes.detector import Detector
from sdr2hdr.scenes.small import small_frame
from sdr2hdr.views.comparison import Comparison, Side, Still, comparison_page
from sdr2hdr.views.falsecolour import false_colour
from sdr2hdr.views.pictures import SCREEN, as_hdr, fit, image, on_screen, shown_size
from sdr2hdr.writing import check_free, write_whole

_SAME = Fraction(
    1, 500
)  # seconds: Matroska rounds times to milliseconds, and a difference has two such errors


class _Film:
    """A film, SDR or HDR10, as PQ codes; SDR with its white at 203 nits."""

    def __init__(self, path: Path) -> None:
        self.source = Source(path, hdr=True)
        self.is_hdr = self.source.info.hdr is not None

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def size(self) -> tuple[int, int]:
        return self.source.info.size

    @property
    def kind(self) -> str:
        return (
            "HDR10"
            if self.is_hdr
            else "SDR, shown with its white at 203 nits: BT.2408-7 clause 5.1.3"
        )

    def codes(self, picture: Picture) -> Tensor:
        """PQ codes ``3,H,W``."""
        return picture.codes() if self.is_hdr else as_hdr(picture.rgb())

    def stated(self) -> tuple[int, int] | None:
        """MaxCLL and MaxFALL as the file states them."""
        if not self.is_hdr:
            return None
        said = read_hdr10(self.path)
        light = said["bitstream"]["light"] or said["container"]["light"]
        return (light["max_cll"], light["max_fall"]) if light else None

    def side(self, meter: FilmMeter) -> Side:
        """The facts of the film once its frames are measured."""
        return Side(str(self.path), self.kind, self.stated(), meter.figures())


def compare(
    a: str | Path,
    b: str | Path,
    html: str | Path,
    *,
    truth: str | Path | None = None,
    scenes: str = "auto",
    every: int = 1,
    most: int = 12,
    edge: int = 1200,
    screen: float = SCREEN,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> Comparison:
    """Write a page that compares films A and B, pairing frames by the time since the first frame.

    Each may be SDR or HDR10. Both are measured against ``truth``, an HDR10 film. ``scenes`` is as in ``convert`` and
    applies to A. Every ``every``-th frame is measured. The page has stills of at most ``most`` scenes, whose longer edge is
    at most ``edge`` pixels.

    Raises :class:`InputError` or :class:`OutputError`, with a message for people.
    """
    page = Path(html)
    films = [_Film(Path(p)) for p in ((a, b) if truth is None else (a, b, truth))]
    if truth is not None and not films[2].is_hdr:
        raise InputError(
            f"{truth} is SDR and no truth to measure HDR against; give the HDR10 master."
        )
    check_free(page, overwrite, *(film.path for film in films))
    size = _common_size(films)
    meters = (FilmMeter(), FilmMeter())
    detector = Detector(films[0].source.info.time_base) if scenes == "auto" else None
    cuts: list[int] = []  # in frames of A
    everything = array("q")  # pts of A
    frames, pts, times = array("q"), [array("q") for _ in films], []
    unmatched = [0 for _ in films]
    matched = 0

    def look(picture: Picture) -> Picture:
        everything.append(picture.pts)
        if detector is not None:
            small = small_frame(picture.planes, picture.layout)
            cuts.extend(c.frame for c in detector.push(small, picture.pts))
        return picture

    total = films[0].source.info.frames or 0
    streams: list[Iterator[Picture]] = [film.source.pictures() for film in films]
    streams[0] = map(look, streams[0])
    for together in _together(films, streams, unmatched):
        matched += 1
        if (matched - 1) % every:
            continue
        codes = [
            film.codes(p)[:, : size[1], : size[0]] for film, p in zip(films, together, strict=True)
        ]
        for meter, of in zip(meters, codes, strict=False):
            meter.add(of, codes[2] if truth is not None else None)
        frames.append(len(everything) - 1)
        for kept, picture in zip(pts, together, strict=True):
            kept.append(picture.pts)
        times.append(float((together[0].pts - everything[0]) * films[0].source.info.time_base))
        progress("measure", len(everything), max(total, len(everything)))
    if 2 * matched < min(matched + count for count in unmatched) or not times:
        raise InputError(
            f"{films[0].path} and {films[1].path} have {matched or 'no'} frames at the same times, too few to compare: give films"
            " of one rate, such as a source and its own conversion."
        )
    if detector is not None:
        cuts += [c.frame for c in detector.close()]
    elif scenes != "none":
        cuts = read_cutlist(Path(scenes), everything, films[0].source.info.time_base)
    begins = _begins(frames, cuts)
    found = Comparison(
        a=films[0].side(meters[0]),
        b=films[1].side(meters[1]),
        truth=None if truth is None else str(films[2].path),
        times=times,
        scenes=begins,
        notes=_notes(films, matched, unmatched, every),
        screen=screen,
    )
    stills = _stills(films, pts, found, size, most, edge, progress)
    write_whole(page, comparison_page(found, stills), overwrite)
    return found


def _common_size(films: Sequence[_Film]) -> tuple[int, int]:
    """Width and height of the common part: a conversion may have an extra column or row, to be even."""
    widths, heights = zip(*(film.size for film in films), strict=True)
    if max(widths) - min(widths) > 1 or max(heights) - min(heights) > 1:
        sizes = ", ".join(f"{film.path} is {film.size[0]}x{film.size[1]}" for film in films)
        raise InputError(
            f"Films of different sizes cannot be compared ({sizes}); scale one of them first."
        )
    return min(widths), min(heights)


def _together(
    films: Sequence[_Film], streams: Sequence[Iterator[Picture]], unmatched: list[int]
) -> Iterator[list[Picture]]:
    """Pictures with the same time since the first of their film; ``unmatched`` counts pictures without a partner."""
    steps = [film.source.info.time_base for film in films]
    heads = [next(s, None) for s in streams]
    starts = [head.pts if head is not None else 0 for head in heads]
    while True:
        present = [head for head in heads if head is not None]
        if len(present) < len(heads):
            break
        at = [(p.pts - s) * step for p, s, step in zip(present, starts, steps, strict=True)]
        behind = [i for i, time in enumerate(at) if time < max(at) - _SAME]
        if not behind:
            yield present
        for i in behind or range(len(heads)):
            unmatched[i] += bool(behind)
            heads[i] = next(streams[i], None)
    for i, head in enumerate(heads):
        unmatched[i] += (head is not None) + sum(1 for _ in streams[i] if head is not None)


def _begins(frames: Sequence[int], cuts: Sequence[int]) -> list[int]:
    """Indices of measured frames that begin a scene; scenes without a measured frame are left out."""
    begins, left = [0], sorted(cuts)
    for index, frame in enumerate(frames):
        passed = False
        while left and left[0] <= frame:
            left.pop(0)
            passed = True
        if passed and index:
            begins.append(index)
    return begins


def _notes(films: Sequence[_Film], matched: int, unmatched: Sequence[int], every: int) -> list[str]:
    notes = []
    for name, film, count in zip(("A", "B", "The truth"), films, unmatched, strict=False):
        if count:
            notes.append(
                f"{name} ({film.path.name}) has {matched + count} frames, {count} of them without a frame of the same time in the"
                " others: the films are not of one length or rate, and only the frames that all have are compared."
            )
        if film.source.loss:
            notes.append(f"{name} ({film.path.name}) is damaged; what decodes is compared.")
    if every > 1:
        notes.append(f"Of the {matched} frames in common each {every}th was measured.")
    return notes


def _stills(
    films: Sequence[_Film],
    pts: Sequence[Sequence[int]],
    found: Comparison,
    size: tuple[int, int],
    most: int,
    edge: int,
    progress: Callable[[str, int, int], None],
) -> list[Still]:
    """The middle frame of each scene, or of ``most`` of them."""
    spans = list(enumerate(found.spans(), 1))
    if len(spans) > most:
        spans = [spans[(2 * i + 1) * len(spans) // (2 * most)] for i in range(most)]
    peak = max(found.a.figures.max_cll, found.b.figures.max_cll)
    shape = shown_size(size[::-1], films[0].source.info.sample_aspect_ratio, edge)
    stills = []
    for done, (number, (first, last)) in enumerate(spans):
        progress("stills", done, len(spans))
        index = (first + last - 1) // 2
        pictures, maps = [], []
        for film, times in zip(films[:2], pts, strict=False):
            picture = next(film.source.pictures(times[index]), None)
            if picture is None or picture.pts != times[index]:
                raise InputError(
                    f"{film.path} reads differently each time; it is damaged, get a new copy."
                )
            codes = film.codes(picture)[:, : size[1], : size[0]]
            pictures.append(image(on_screen(fit(codes, shape), peak, found.screen)))
            maps.append(image(false_colour(fit(luminance(pq_eotf(codes))[None], shape)[0])))
        seconds = Fraction(found.times[index]).limit_denominator(1_000_000)
        label = f"{number}, at {time_code(seconds)}"
        stills.append(Still(label, (pictures[0], pictures[1]), (maps[0], maps[1])))
    progress("stills", len(spans), len(spans))
    return stills
