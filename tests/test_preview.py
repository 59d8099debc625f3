"""Previews are the real model's own frames, cheap to make, and look as they say."""

import io
import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import Browser
from judges import ffprobe, mediainfo
from media_makers import Planes, counted_pictures, make_clip, plane_shapes
from PIL import Image

from sdr2hdr import preview as module
from sdr2hdr.cli.main import main
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.color.yuv import HDR10, from_yuv, to_yuv
from sdr2hdr.errors import InputError, ModelError, OutputError, UsageError
from sdr2hdr.jobs.plan import survey
from sdr2hdr.media.source import Source
from sdr2hdr.media.still import avif
from sdr2hdr.models import registry
from sdr2hdr.preview import preview
from sdr2hdr.render.looks import SceneLooks, scene_look
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.views.falsecolour import LEVELS, false_colour
from sdr2hdr.weights.opened import open_model

SIZE = (96, 64)
FAST = {"models": ("bt2446a",)}


def place(index: int) -> Planes:
    """A random texture that drifts; another one from frames 20 and 41 on."""
    rng = np.random.default_rng(sum(index >= c for c in (20, 41)))
    (height, width), chroma, _ = plane_shapes("yuv420p", SIZE)
    texture = np.kron(rng.uniform(40, 210, (height // 4 + 1, width // 4 + 1)), np.ones((4, 4)))
    planes = [np.roll(texture, index, axis=1)[:height, :width]]
    planes += [np.full(chroma, rng.uniform(90, 160)) for _ in range(2)]
    return [p.round().astype(np.uint8) for p in planes]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "film.mkv"
    return make_clip(path, size=SIZE, frames=60, picture=place, options={"crf": "10", "g": "12"})


@pytest.mark.parametrize("frame", [19, 20, 21, 40])
@pytest.mark.parametrize("kind", ["bundled", "look", "look of the film", "published"])
def test_a_preview_is_the_frame_of_the_whole_scene(clip: Path, frame: int, kind: str) -> None:
    film = kind == "look of the film"
    kind = "look" if film else kind
    loaded = open_model("look" if kind == "look" else "wmnet")
    if kind != "bundled":  # fresh weights, that are not zero where training starts from zero
        torch.manual_seed(5)
        published = {"attention": "published", "base": "none"}
        model = registry.build("look") if kind == "look" else registry.build("wmnet", published)
        for parameter in model.parameters():
            parameter.data += (0.3 if kind == "look" else 0.05) * torch.randn_like(parameter)
        spec = registry.spec("look") if kind == "look" else registry.spec("wmnet", published)
        loaded = replace(loaded, model=model, spec=spec)
    source = Source(clip)
    renderer = Renderer(
        loaded.model,
        loaded.spec,
        SIZE[::-1],
        device="cpu",
        precision="float32",
        tile=64 if kind == "look" else None,
    )
    moment = module._moment(source, Fraction(frame, 25), module.HISTORY)
    whole_film = SceneLooks(renderer.model, renderer.spec, film=True) if film else None
    if whole_film is not None:
        survey(source, "auto", lambda *_: None, looks=[whole_film])
    known = survey(source, "auto", lambda *_: None) if film else None
    look = module._look(source, moment, renderer, module.HISTORY, whole_film, known)
    codes = module._rendered(source, moment, renderer, look, module.HISTORY)
    pictures = [p.rgb() for p in source.pictures()]
    first, last = (0, 20) if frame < 20 else (20, 41)
    qp = survey(source, "auto", lambda *_: None).qp(first)
    assert qp is not None and qp == pytest.approx(moment.qp, abs=2)  # of the pictures that are near
    run = Run(first, last, first, last, moment.qp)
    look = scene_look(renderer.model, renderer.spec, pictures[first:last])
    if film:  # of every eighth frame: half the mean over those of the scene, half that over all
        every = {
            n: scene_look(renderer.model, renderer.spec, [pictures[n]]) for n in range(0, 60, 8)
        }
        read = [
            torch.stack([v for n, v in every.items() if v is not None and a <= n < b])
            for a, b in ((first, last), (0, 60))
        ]
        look = (read[0].mean(0) + read[1].mean(0)) / 2
    whole = list(renderer.run(iter(pictures[first:last]), run, renderer.new_states(look)))
    assert renderer.spec.state_from_thumbs == (kind != "published")
    assert torch.allclose(codes, whole[frame - first], atol=1e-4)
    assert not torch.allclose(codes, whole[frame - first - 1 if frame > first else 1], atol=1e-2)
    without = list(
        renderer.run(
            iter(pictures[frame : frame + 1]),
            Run(frame, frame + 1, frame, frame + 1),
            renderer.new_states(),
        )
    )
    # memory and context matter, so what was compared above is not nothing; a scene's last frame is not steadied
    if frame != first and (kind, frame) != ("look", last - 1):
        assert not torch.allclose(codes, without[0], atol=1e-4)


def test_only_the_pictures_around_a_time_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_clip(
        tmp_path / "long.mkv", frames=1000, options={"preset": "ultrafast", "g": "25"}, size=SIZE
    )
    taken = counted_pictures(monkeypatch)
    (shown,) = preview(film, tmp_path / "out", at=[Fraction(30)], models=("bt2408",))
    assert shown.seconds == 30.0
    assert len(taken) < 100


def test_for_the_look_of_the_film_every_picture_is_decoded_once_more_and_no_more(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(look: str, at: list[Fraction]) -> int:
        with monkeypatch.context() as patch:
            taken = counted_pictures(patch)
            models = ("look", "wmnet")
            preview(
                clip, tmp_path / f"{look}{len(at)}", at=at, models=models, history=0, look_over=look
            )
            return len(taken)

    # without a time the scenes are found in the same pass
    assert decoded("film", []) <= decoded("scene", [])
    assert 60 <= decoded("film", [Fraction(1)]) < 60 + decoded("scene", [Fraction(1)])


def test_one_frame_a_scene(clip: Path, tmp_path: Path) -> None:
    shown = preview(clip, tmp_path, **FAST)  # type: ignore[arg-type]
    source = Source(clip)
    cuts = survey(source, "auto", lambda _done, _total: None).cuts
    assert cuts == (20, 41)
    middles = [frame / 25 for frame in ((0 + 19) // 2, (20 + 40) // 2, (41 + 59) // 2)]
    assert [s.seconds for s in shown] == pytest.approx(middles)
    fewer = preview(clip, tmp_path / "fewer", most=2, **FAST)  # type: ignore[arg-type]
    assert len(fewer) == 2


def test_the_sheet_holds_the_frame_and_the_colours_of_its_luminance(tmp_path: Path) -> None:
    def flat(_index: int) -> Planes:
        chroma = np.full((90, 160), 128, np.uint8)
        return [np.full((180, 320), 235, np.uint8), chroma, chroma]

    white = make_clip(tmp_path / "white.mkv", size=(320, 180), frames=10, picture=flat)
    (shown,) = preview(white, tmp_path, at=[Fraction(0)], models=("bt2408", "bt2446a"), edge=320)
    assert shown.light["bt2408"] == pytest.approx((203, 203), rel=0.01)
    assert shown.light["bt2446a"] == pytest.approx((1000, 1000), rel=0.02)
    sheet = Image.open(shown.files[0]).convert("RGB")
    assert sheet.width > 3 * 320
    counts: dict[Any, int] = {c: n for n, c in sheet.getcolors(1 << 24) or []}
    assert counts[255, 255, 255] >= 3 * 320 * 180  # SDR white, and the 203 nits of two columns
    assert (
        max(n for c, n in counts.items() if c[0] > c[1] + 150) >= 320 * 180 * 0.9
    )  # the 1000 nits of BT.2446
    assert len(counts) > 100  # the scale


def test_false_colour_says_the_anchors() -> None:
    nits = torch.tensor([[0.0, 26.0, 203.0, 203.0 * 1.3, 20000.0]])
    rgb = (false_colour(nits) * 255).round().int()[:, 0].T.tolist()
    assert rgb[0] == [0, 0, 0]
    assert rgb[1] == [128, 128, 128]
    assert rgb[2] == [255, 255, 255]
    assert rgb[3][2] < rgb[3][1] < rgb[3][0]  # beyond white it turns yellow to red
    assert {(level.name, level.low, level.high) for level in LEVELS} >= {
        ("18 % grey", 26, 26),
        ("reference white", 203, 203),
    }


def test_the_still_is_ten_bit_pq_and_close_to_the_model(clip: Path, tmp_path: Path) -> None:
    (shown,) = preview(clip, tmp_path, at=[Fraction(1)], hdr=True, **FAST)  # type: ignore[arg-type]
    png, still = shown.files
    assert (png.suffix, still.suffix) == (".png", ".avif")
    entries = "stream=codec_name,pix_fmt,width,height,color_range,color_space,color_transfer,color_primaries"
    (stream,) = ffprobe(still, "-show_entries", entries)["streams"]
    assert stream == {
        "codec_name": "av1", "width": 96, "height": 64, "pix_fmt": "yuv420p10le", "color_range": "tv",
        "color_space": "bt2020nc", "color_transfer": "smpte2084", "color_primaries": "bt2020",
    }  # fmt: skip
    data = still.read_bytes()
    at = data.index(b"colrnclx") + 8
    assert data[at : at + 7] == bytes(
        [0, 9, 0, 16, 0, 9, 0]
    )  # CICP 9/16/9, limited (H.273, ISO/IEC 23008-12)
    assert Image.open(io.BytesIO(data)).size == (96, 64)


def test_mediainfo_reads_the_still_as_pq(tmp_path: Path) -> None:
    codes = torch.full((3, 64, 96), pq_code(203.0))
    path = tmp_path / "still.avif"
    path.write_bytes(avif(to_yuv(codes, seed=None, peak_code=1.0)))
    facts = mediainfo(path, "Image")
    assert facts["BitDepth"] == "10"
    assert facts["transfer_characteristics"] == "PQ"
    assert facts["colour_primaries"] == "BT.2020"


def test_the_still_decodes_to_the_codes(tmp_path: Path) -> None:
    import av

    y, x = torch.meshgrid(torch.linspace(0, 1, 120), torch.linspace(0, 1, 160), indexing="ij")
    codes = torch.stack([x * 0.7, y * 0.7, (x + y) * 0.3])
    planes = to_yuv(codes, seed=1, peak_code=pq_code(1000.0))
    (tmp_path / "a.avif").write_bytes(avif(planes))
    with av.open(str(tmp_path / "a.avif")) as file:
        frame = next(file.decode(video=0))
    back = tuple(
        torch.frombuffer(bytearray(bytes(p)), dtype=torch.int16).view(p.height, -1)[:, : p.width]
        for p in frame.planes
    )
    assert (from_yuv(back, HDR10) - from_yuv(planes, HDR10)).abs().mean() < 0.003


def test_a_still_leaves_no_real_time_scheduling_behind() -> None:
    avif(to_yuv(torch.full((3, 64, 96), 0.5), seed=None, peak_code=1.0))
    assert {
        os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir()
    } == {os.SCHED_OTHER}


def test_a_browser_shows_the_still(tmp_path: Path, browser: Browser) -> None:
    codes = torch.full((3, 200, 400), pq_code(1.0))
    codes[..., 200:] = pq_code(100.0)
    (tmp_path / "still.avif").write_bytes(avif(to_yuv(codes, seed=None, peak_code=1.0)))
    (tmp_path / "page.html").write_text(
        '<body style="margin: 0"><img id="still" src="still.avif"></body>'
    )
    browser.open(tmp_path / "page.html")
    assert browser.ask("still.decode().then(() => [still.naturalWidth, still.naturalHeight])") == [
        400,
        200,
    ]
    shown = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("L")).astype(int)
    assert shown[100, 100] < 60
    assert 90 < shown[100, 300] < 200  # half of SDR white's light, not white itself
    assert shown[300, 100] == 255  # the page


def test_odd_pixels_are_shown_square_and_turned_pictures_upright(tmp_path: Path) -> None:
    film = make_clip(tmp_path / "a.mkv", size=(64, 48), aspect=Fraction(2), rotation=90, frames=5)
    (shown,) = preview(film, tmp_path, at=[Fraction(0)], **FAST)  # type: ignore[arg-type]
    sheet = Image.open(shown.files[0])
    assert sheet.height > 2 * 64  # 48 wide and 64 high, at half width each: 24 x 64


def test_one_frame_of_one_grey_is_a_film_too(tmp_path: Path) -> None:
    film = make_clip(
        tmp_path / "a.mkv",
        frames=1,
        picture=lambda _: [
            np.full((48, 64), 16, np.uint8),
            *[np.full((24, 32), 128, np.uint8)] * 2,
        ],
    )
    (shown,) = preview(film, tmp_path, device="cpu")
    assert shown.light["look"][0] < 1  # the model that auto takes on a CPU


def test_what_is_assumed_of_the_film_is_told(tmp_path: Path) -> None:
    film = make_clip(tmp_path / "a.mkv", frames=3, colorspace=1, color_primaries=1, color_trc=9)
    told: list[str] = []
    preview(film, tmp_path, at=[Fraction(0)], models=["bt2408"], device="cpu", note=told.append)
    assert len(told) == 1 and "log100" in told[0] and "--input-transfer" in told[0]


def test_bad_wishes_end_in_one_sentence(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    at = [Fraction(0)]
    with pytest.raises(InputError, match=r"no picture at 0:01:00.000, it ends"):
        preview(clip, tmp_path, at=[Fraction(60)], **FAST)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"ends at 0:00:02\.400"):
        preview(clip, tmp_path, at=[Fraction(3)], **FAST)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not exist"):
        preview(tmp_path / "none.mp4", tmp_path, at=at)
    with pytest.raises(OutputError, match="not a folder"):
        preview(clip, tmp_path / "file", at=at, **FAST)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no model"):
        preview(clip, tmp_path, at=at, models=("wmnot",))
    with pytest.raises(ModelError, match="several models"):
        preview(clip, tmp_path, at=at, models=("wmnet", "bt2408"), weights="x")
    with pytest.raises(UsageError, match="--look-over film or scene"):
        preview(clip, tmp_path, at=at, look_over="cinema", **FAST)  # type: ignore[arg-type]
    preview(clip, tmp_path / "out", at=at, **FAST)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="exists"):
        preview(clip, tmp_path / "out", at=at, **FAST)  # type: ignore[arg-type]
    preview(clip, tmp_path / "out", at=at, overwrite=True, **FAST)  # type: ignore[arg-type]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["film-0.00.00.000.png"]


def test_the_command(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        main(
            [
                "preview",
                str(clip),
                "--at",
                "0:00:01",
                "--at",
                "2.0",
                "--models",
                "bt2408,bt2446a",
                "--json",
            ]
        )
        == 0
    )
    shown = json.loads(capsys.readouterr().out)
    assert [s["seconds"] for s in shown] == [1.0, 2.0]
    assert list(shown[0]["light"]) == ["bt2408", "bt2446a"]
    assert sorted(p.name for p in Path("film-preview").iterdir()) == [
        "film-0.00.01.000.png",
        "film-0.00.02.000.png",
    ]
    assert main(["preview", str(clip), "--at", "1:75"]) == 2
    assert main(["preview", str(clip), "--at", "soon"]) == 2
    assert main(["preview", str(clip), "--models", ","]) == 2
    assert main(["preview", str(clip), "--at", "99", "--models", "bt2408"]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()[-1]) < 200


def test_any_name_will_do(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = tmp_path / '-<b>"x" [red]\n\N{SNOWMAN}.mkv'
    film.write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["preview", "--at", "0", "--model", "bt2408", "-q", str(film)]) == 0
    assert len(list(Path(f"{film.stem}-preview").iterdir())) == 1
