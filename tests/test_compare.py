"""Two films on a page: the figures are right, and the page works in a browser."""

import io
import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import Browser
from judges import need
from media_makers import Planes, make_clip
from PIL import Image

from sdr2hdr import convert
from sdr2hdr.cli.main import main
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.compare import compare
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.metrics.film import BINS, CELL, FilmMeter

SIZE = (128, 96)
FAST = {"preset": "ultrafast"}


def scene(shades: tuple[int, ...], length: int = 15) -> Callable[[int], Planes]:
    """Pictures of one shade of grey a scene, with a texture that drifts in the lower half."""

    def picture(index: int) -> Planes:
        number = min(index // length, len(shades) - 1)
        rng = np.random.default_rng(number)
        luma = np.full((96, 128), shades[number])
        luma[48:] = np.roll(np.kron(rng.uniform(60, 190, (12, 32)), np.ones((4, 4))), index, axis=1)
        chroma = [np.full((48, 64), c) for c in rng.integers(110, 146, 2)]
        return [p.round().astype(np.uint8) for p in (luma, *chroma)]

    return picture


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    picture, rate = scene((60, 200, 120)), Fraction(30000, 1001)
    return make_clip(
        path, size=SIZE, frames=45, rate=rate, picture=picture, options={"crf": "12", "g": "15"}
    )


@pytest.fixture(scope="module")
def graded(source: Path) -> Path:
    convert(source, source.with_name("graded.mkv"), model="bt2446a", **FAST)  # type: ignore[arg-type]
    return source.with_name("graded.mkv")


@pytest.fixture(scope="module")
def direct(source: Path) -> Path:
    convert(source, source.with_name("direct.mp4"), model="bt2408", **FAST)  # type: ignore[arg-type]
    return source.with_name("direct.mp4")


def test_a_direct_mapping_is_its_source(source: Path, direct: Path, tmp_path: Path) -> None:
    found = compare(source, direct, tmp_path / "page.html")
    assert found.notes == []
    assert len(found.times) == 45
    assert found.scenes == [0, 15, 30]
    assert found.a.figures.max_fall == pytest.approx(found.b.figures.max_fall, rel=0.02)
    assert found.a.figures.average == pytest.approx(found.b.figures.average, rel=0.05)
    assert found.a.stated is None
    assert found.b.stated is not None
    assert found.b.stated[1] == pytest.approx(found.b.figures.max_fall, rel=0.02, abs=1)
    assert found.b.figures.beyond["bt709"] < 0.01
    shares = [side.figures.luminance / side.figures.luminance.sum() for side in (found.a, found.b)]
    assert (
        shares[0].cumsum(0) - shares[1].cumsum(0)
    ).abs().max() < 0.2  # the same light, a bin of noise apart


def test_a_truth_measures_both(direct: Path, graded: Path, tmp_path: Path) -> None:
    found = compare(graded, direct, tmp_path / "page.html", truth=direct, every=5)
    assert len(found.times) == 9
    assert all(value == float("inf") for value in found.b.figures.psnr)
    assert max(found.b.figures.delta) == 0.0
    assert 10 < sum(found.a.figures.psnr) / 9 < 40
    assert min(found.a.figures.delta) > 1
    assert any("5th" in note for note in found.notes)


@pytest.mark.parametrize(
    ("codes", "beyond", "place"),
    [
        ((0, pq_code(100.0), 0), {"bt709": 1, "p3-d65": 1, "bt2020": 0}, (0.170, 0.797)),  # BT.2020-2 table 4
        ((pq_code(203.0),) * 3, {"bt709": 0, "p3-d65": 0, "bt2020": 0}, (0.3127, 0.3290)),
        # P3's red of 100 nits in BT.2020 (SMPTE EG 432-1): inside P3, outside BT.709
        (tuple(pq_code(100 * c) for c in (0.753833, 0.045744, 0.0)), {"bt709": 1, "p3-d65": 0, "bt2020": 0}, (0.680, 0.320)),
    ],
    ids=["green of BT.2020", "white", "red of P3"],
)  # fmt: skip
def test_gamuts_and_places(
    codes: tuple[float, ...], beyond: dict[str, float], place: tuple[float, float]
) -> None:
    meter = FilmMeter()
    meter.add(torch.tensor(codes)[:, None, None].expand(3, 48, 64))
    found = meter.figures()
    assert found.beyond == beyond
    row, column = divmod(int(found.chroma.argmax()), 200)
    assert ((column + 0.5) * CELL, (row + 0.5) * CELL) == pytest.approx(place, abs=CELL)


def test_light_is_counted_where_it_is() -> None:
    meter = FilmMeter()
    picture = torch.full((3, 60, 80), pq_code(26.0))
    picture[:, :30] = pq_code(400.0)
    meter.add(picture)
    found = meter.figures()
    filled = found.luminance.nonzero().flatten().tolist()
    assert filled == [int(pq_code(26.0) * BINS), int(pq_code(400.0) * BINS)]
    assert found.luminance[filled].tolist() == [2400, 2400]
    assert found.brightest[0] == pytest.approx(400, rel=1e-3)
    assert found.average[0] == pytest.approx(213, rel=1e-3)


def test_films_that_do_not_fit_end_in_one_sentence(
    source: Path, graded: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    text = tmp_path / "notes.txt"
    text.write_text("no film")
    small = make_clip(tmp_path / "small.mkv", size=(64, 48), frames=5)
    slow = make_clip(
        tmp_path / "slow.mkv", size=SIZE, frames=45, rate=25, picture=scene((60, 200, 120))
    )
    hlg = make_clip(tmp_path / "hlg.mkv", size=SIZE, frames=5, color_trc=18)
    for a, b, words in (
        (source, text, "not a video"),
        (text, source, "not a video"),
        (source, tmp_path / "none.mkv", "does not exist"),
        (source, small, "different sizes"),
        (source, slow, "too few to compare"),
        (source, hlg, "HLG"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            compare(a, b, page)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(InputError, match="no truth"):
        compare(source, graded, page, truth=source)
    with pytest.raises(OutputError, match="never written"):
        compare(source, graded, graded, overwrite=True)
    with pytest.raises(OutputError, match="exists"):
        compare(source, graded, text)
    with pytest.raises(OutputError, match="make it first"):
        compare(source, graded, tmp_path / "none" / "page.html")
    assert not page.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"notes.txt", "small.mkv", "slow.mkv", "hlg.mkv"}


def test_what_is_shorter_is_said(source: Path, graded: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.mkv"
    cut = [
        need("ffmpeg"),
        "-v",
        "error",
        "-i",
        str(graded),
        "-c",
        "copy",
        "-frames:v",
        "30",
        "-map",
        "0:v",
        str(short),
    ]
    subprocess.run(cut, check=True)
    found = compare(source, short, tmp_path / "page.html")
    assert len(found.times) == 30
    assert len(found.notes) == 1
    assert "A (film.mp4) has 45 frames, 15 of them" in found.notes[0]
    assert "15 of them without a frame" in (tmp_path / "page.html").read_text()


def test_odd_sizes_are_compared_with_their_even_conversion(tmp_path: Path) -> None:
    odd = make_clip(tmp_path / "odd.mkv", codec="ffv1", pix_fmt="yuv444p", size=(97, 65), frames=4)
    convert(odd, tmp_path / "even.mkv", model="bt2408", **FAST)  # type: ignore[arg-type]
    assert len(compare(odd, tmp_path / "even.mkv", tmp_path / "page.html").times) == 4


def test_the_command(
    source: Path, graded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    words = [
        "compare",
        str(source),
        str(graded),
        "--html",
        str(page),
        "--every",
        "3",
        "--scenes",
        "none",
    ]
    assert main([*words, "--json", "--truth", str(graded)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["frames"] == 15
    assert facts["b"]["max_cll"] > facts["a"]["max_cll"]
    assert (facts["b"]["psnr"], facts["b"]["delta_e_itp"]) == (None, 0.0)
    assert len(facts["scenes"]) == 1
    assert main(words) == 4
    assert main([*words, "-y"]) == 0
    assert "MaxFALL" in capsys.readouterr().out
    assert main(["compare", str(source), str(graded)]) == 2


def stage_pixels(browser: Browser) -> np.ndarray:
    """What the window shows of the upper quarter of the stills, where each film is of one shade."""
    left, top, width, height = browser.ask(
        "(() => { const b = stage.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    picture = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("RGB")).astype(int)
    return picture[int(top + height / 8), int(left) + 4 : int(left + width) - 4].sum(axis=-1)


def test_the_page_works_in_a_browser(
    source: Path, graded: Path, tmp_path: Path, browser: Browser
) -> None:
    hostile = (
        tmp_path
        / '<img src=x onerror=alert(1)> "&amp;" \n[b]</title><script>throw 1<.mkv'.replace("/", "")
    )
    hostile.write_bytes(graded.read_bytes())
    page = tmp_path / "page.html"
    compare(source, hostile, page)
    browser.open(page)
    assert browser.ask("document.title") == " ".join(f"film.mp4 and {hostile.name}".split())
    assert browser.ask("document.querySelectorAll('script').length") == 1
    assert browser.ask("[...document.images].length") == 3 * 4 + 1
    assert browser.ask("[...document.images].every(i => i.complete && i.naturalWidth > 0)")

    # every plot is there, in size, with its lines
    for plot, lines in (
        ("histogram", 4),
        ("average", 8),
        ("brightest", 8),
    ):  # with those of the legend
        assert browser.ask(f"document.querySelectorAll('#{plot} path.line').length") == lines
        assert (
            browser.ask(f"document.querySelector('#{plot}').getBoundingClientRect().height") > 100
        )
        assert browser.ask(
            f"[...document.querySelectorAll('#{plot} path.line')].every(p => p.getTotalLength() > 10)"
        )
    for plot in ("chroma-a", "chroma-b"):
        for gamut in ("bt709", "p3-d65", "bt2020"):
            assert (
                browser.ask(f"document.querySelector('#{plot} polygon.{gamut}').points.length") == 3
            )
        assert (
            browser.ask(f"document.querySelector('#{plot} image').getBoundingClientRect().width")
            > 100
        )

    # the slider moves the edge between the films, by itself and by a drag on the picture
    browser.ask("stage.scrollIntoView({block: 'center'})")
    shades = stage_pixels(browser)
    assert abs(shades[len(shades) // 4] - shades[len(shades) * 3 // 4]) > 20
    a = shades[10]
    box = browser.ask(
        "(() => { const b = slider.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    middle = box[1] + box[3] / 2
    browser.drag((box[0] + box[2] / 2, middle), (box[0] + box[2] * 0.9, middle))
    assert browser.ask("Number(slider.value)") == pytest.approx(90, abs=3)
    moved = stage_pixels(browser)
    assert abs(moved[len(moved) * 3 // 4] - a) < 12
    box = browser.ask(
        "(() => { const b = stage.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    middle = box[1] + box[3] / 2
    browser.drag((box[0] + box[2] * 0.8, middle), (box[0] + box[2] * 0.2, middle))
    assert browser.ask("Number(slider.value)") == pytest.approx(20, abs=2)
    assert abs(stage_pixels(browser)[len(moved) // 4 + 8] - shades[len(shades) * 3 // 4]) < 12

    # stills and maps change, and the edge stays where it is
    shown = "[...document.querySelectorAll('.still')].map(s => !s.hidden)"
    assert browser.ask(shown) == [True, False, False]
    browser.ask("document.getElementById('on').click()")
    assert browser.ask(shown) == [False, True, False]
    assert browser.ask(
        "getComputedStyle(document.querySelectorAll('.still')[1].querySelector('.b')).clipPath"
    ).endswith("20%)")
    before = stage_pixels(browser)
    browser.ask("document.getElementById('luminance').click()")
    assert (stage_pixels(browser) != before).any()
    assert browser.problems == []
