"""The compiled frame loop against the one in torch, and what must hold for both."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sdr2hdr.color.display import USUAL, Display
from sdr2hdr.color.light import LightMeter
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.color.turn import Turn
from sdr2hdr.color.yuv import HDR10, PIXEL_FORMATS, YuvLayout, to_yuv
from sdr2hdr.kernels.compiled import why_not
from sdr2hdr.media.picture import Picture
from sdr2hdr.models import registry
from sdr2hdr.models.model import RepairingModel
from sdr2hdr.render.coded import thumbnail_of
from sdr2hdr.render.on_device import DeviceStream
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.render.stream import Finished, Stream, open_stream
from sdr2hdr.weights.opened import open_model

compiled = pytest.mark.skipif(why_not() is not None, reason=f"no kernels here: {why_not()}")

HEIGHT, WIDTH, COUNT = 72, 130, 9
PTS = [100 * n for n in range(COUNT)]


def film(
    layout: YuvLayout = YuvLayout("bt709"),
    turn: Turn = Turn(),
    primaries: str = "bt709",
    gain: float = 1.0,
) -> list[Picture]:
    """Pictures that stand still under noise, but for a square that moves; above a ``gain`` of 1 they are clipped in places."""
    few = torch.rand(1, 3, 9, 16, generator=torch.Generator().manual_seed(4))
    still = gain * torch.nn.functional.interpolate(few, (HEIGHT, WIDTH), mode="bilinear")[0]
    out = []
    for n in range(COUNT):
        rgb = still + 0.004 * torch.randn(
            3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(n)
        )
        rgb[:, 10:40, 5 * n : 5 * n + 24] = 0.8
        planes = [
            p.to(torch.int32) >> 2
            for p in to_yuv(
                rgb.clamp(0, 1), seed=n, peak_code=1.0, layout=replace(HDR10, matrix="bt709")
            )
        ]
        out.append(
            Picture(
                PTS[n],
                100,
                tuple(p.to(torch.uint8) for p in planes),
                layout,
                turn,
                Display(USUAL.transfer, primaries),
            )
        )
    return out


def opened(
    name: str, size: tuple[int, int] = (HEIGHT, WIDTH), peak: float = 1000.0, aux: bool = False
) -> Renderer:
    loaded = open_model(name)
    how: dict[str, Any] = {"device": "cpu", "precision": "float32", "tile": 1024}
    return Renderer(loaded.model, loaded.spec, size, peak=peak, aux=aux, **how)


def look_of(renderer: Renderer) -> torch.Tensor | None:
    thumb = torch.nn.functional.adaptive_avg_pool2d(film()[0].rgb()[None], 64)
    with torch.inference_mode():
        return (
            renderer.model.read_look(thumb, torch.tensor([2.5]))[0] if renderer.spec.look else None
        )


def rendered(stream: Stream, pictures: list[Picture], *runs: Run) -> list[Finished]:
    renderer, out = stream.renderer, list[Finished]()
    look = look_of(renderer)
    for run in runs or (Run(0, COUNT, 0, COUNT),):
        low, high = run.needs(renderer.spec)
        source: Iterator[Picture] = iter(pictures[low:high])
        out += stream.run(source, run, renderer.new_states(look), PTS, settled=True)
    return out


def same(a: list[Finished], b: list[Finished]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(p, q)
        for x, y in zip(a, b, strict=True)
        for p, q in zip((*x.planes, x.light.counts), (*y.planes, y.light.counts), strict=True)
    )


def steps_between(a: list[Finished], b: list[Finished]) -> torch.Tensor:
    """By how many codes each sample differs."""
    pairs = [
        (p, q) for x, y in zip(a, b, strict=True) for p, q in zip(x.planes, y.planes, strict=True)
    ]
    return torch.cat([(p.int() - q.int()).abs().flatten() for p, q in pairs]).float()


def apart(a: list[Finished], b: list[Finished]) -> tuple[float, int]:
    """The mean and the largest difference in codes."""
    steps = steps_between(a, b)
    return float(steps.mean()), int(steps.max())


def share_beyond(codes: int, a: list[Finished], b: list[Finished]) -> float:
    """The share of samples that differ by more than so many codes."""
    return float((steps_between(a, b) > codes).float().mean())


@pytest.mark.parametrize("name", ["bt2408", "look", "wmnet"])
def test_the_loop_of_gpus_gives_the_frames_of_the_formulas(name: str) -> None:
    """Here it runs on the CPU, which tells all but the copies."""
    renderer = opened(name)
    for pictures in (film(), film(turn=Turn(False, True, True), primaries="p3-d65")):
        assert same(
            rendered(DeviceStream(renderer), pictures), rendered(Stream(renderer), pictures)
        )


@compiled
def test_tables_are_the_same_from_any_number_of_threads(threads: Callable[[int], None]) -> None:
    """Machines with more processors write the same packets."""
    from sdr2hdr.render.compiled import CompiledStream

    renderer = opened("look")
    state = renderer.new_states(look_of(renderer))[0]
    tables = []
    for count in (1, 2, 3, 5):
        threads(count)
        stream = open_stream(renderer)
        assert isinstance(stream, CompiledStream)
        tables.append(stream._table_of(film()[0], state))
    assert all(np.array_equal(table, tables[0]) for table in tables)


@compiled
@pytest.mark.parametrize("name", ["bt2408", "bt2446a", "look"])
def test_compiled_frames_are_those_of_the_formulas(name: str) -> None:
    for peak in (1000.0, 600.0):
        renderer = opened(name, peak=peak)
        fast, slow = rendered(open_stream(renderer), film()), rendered(Stream(renderer), film())
        mean, most = apart(fast, slow)
        assert mean < 0.06
        assert most <= 3
        facts = []
        for frames in (fast, slow):
            meter = LightMeter()
            for frame in frames:
                meter.add_light(frame.light)
            facts.append(meter.facts())
        brightest = [
            1023 * pq_code(f.max_cll) for f in facts
        ]  # of one pixel, which has those codes
        assert abs(brightest[0] - brightest[1]) <= 3
        assert facts[0].max_fall == pytest.approx(facts[1].max_fall, rel=0.001)
        assert max(f.max_cll for f in facts) <= peak


@compiled
@pytest.mark.parametrize("peak", [1000.0, 600.0])
def test_compiled_frames_of_clipped_areas_are_those_of_the_formulas(peak: float) -> None:
    renderer, pictures = opened("wmnet-fast", peak=peak), film(gain=2.0)
    alone = [Run(n, n + 1, n, n + 1) for n in range(COUNT)]  # scenes of one frame: none is steadied
    slow, slow_alone = (rendered(Stream(renderer), pictures, *runs) for runs in ((), alone))
    stream = open_stream(renderer)
    fast, fast_alone = (rendered(stream, pictures, *runs) for runs in ((), alone))
    mean, most = apart(fast_alone, slow_alone)
    assert mean < 0.2  # as of look, where a picture is so bright
    assert most <= (
        2 if peak == 1000.0 else 4
    )  # a table does not bend where light begins to roll off
    mean, most = apart(fast, slow)
    assert mean < 0.2
    assert most <= 4  # kernels steady planes, the formula R'G'B', whose codes are clamped before
    if peak == 1000.0:
        assert share_beyond(2, fast, slow) < 0.0001
    for frames in (fast, slow, fast_alone, slow_alone):
        assert max(float(frame.light.brightest) for frame in frames) <= pq_code(peak) + 1e-6


@compiled
@pytest.mark.parametrize("kind", ["usual", "turned", "p3", "rgb"])
def test_compiled_frames_that_a_network_repairs_are_those_of_the_formulas(kind: str) -> None:
    """Steadied and mapped by kernels, with the restored SDR picture beside them; R'G'B' files are steadied by the formula."""
    turn = Turn(True, False, True) if kind == "turned" else Turn()
    pictures = film(turn=turn, primaries="p3-d65" if kind == "p3" else "bt709")
    if kind == "rgb":
        layout = YuvLayout("rgb", True, sub=(0, 0))
        codes = [(255 * p.rgb()).round().to(torch.uint8) for p in pictures]
        pictures = [
            replace(p, planes=tuple(c), layout=layout) for p, c in zip(pictures, codes, strict=True)
        ]
    size = (WIDTH, HEIGHT) if turn.transpose else (HEIGHT, WIDTH)
    renderer = opened("wmnet-fast", size, aux=True)
    runs = Run(0, 5, 0, COUNT), Run(5, COUNT, 0, COUNT)
    slow = rendered(Stream(renderer), pictures, *runs)  # before kernels are put in
    fast = rendered(open_stream(renderer), pictures, *runs)
    mean, most = apart(fast, slow)
    assert mean < 0.1
    assert most <= (4 if kind == "p3" else 3)
    for a, b in zip(fast, slow, strict=True):
        assert a.restored is not None and b.restored is not None
        steps = [
            (p.int() - q.int()).abs().max() for p, q in zip(a.restored, b.restored, strict=True)
        ]
        assert max(steps) <= 1


@compiled
def test_a_network_that_was_streamed_can_still_be_trained() -> None:
    renderer = opened("wmnet-fast", (32, 48))
    before = open_model("wmnet-fast").model.train()
    open_stream(renderer)
    net = renderer.model.train()
    assert isinstance(net, RepairingModel) and isinstance(before, RepairingModel)
    frames = torch.rand(1, 3, 3, 32, 48, requires_grad=True)
    found, expected = (m.restored_frames(frames, range(1, 2)) for m in (net, before))
    assert torch.allclose(found, expected, atol=1e-6)
    found.sum().backward()
    assert frames.grad is not None and any(
        p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters()
    )


@compiled
def test_a_repaired_picture_that_stands_still_is_steadied() -> None:
    """What kernels take away of its noise between two frames is what the formula takes."""
    renderer = opened("wmnet-fast")
    slow, fast = rendered(Stream(renderer), film()), rendered(open_stream(renderer), film())
    unsteady = [rendered(open_stream(renderer), [p], Run(0, 1, 0, 1))[0] for p in film()]

    def restless(frames: list[Finished]) -> float:
        luma = torch.stack([f.planes[0][50:, :].float() for f in frames[2:-2]])
        return float(luma.diff(dim=0).square().mean())

    assert restless(fast) == pytest.approx(restless(slow), rel=0.03)
    assert restless(fast) < 0.5 * restless(unsteady)


@pytest.mark.parametrize("name", ["yuv422p10", "yuv444p12", "gbrp16"])
def test_frames_of_every_loop_in_other_layouts(name: str) -> None:
    """Compiled within the table's steps, on a device to the bit."""
    layout, renderer, pictures = PIXEL_FORMATS[name], opened("look"), film()[:3]
    run = Run(0, 3, 0, 3)
    slow = rendered(Stream(renderer, layout), pictures, run)
    assert same(rendered(DeviceStream(renderer, layout), pictures, run), slow)
    assert [p.shape for p in slow[0].planes[1:]] == [layout.small(HEIGHT, WIDTH)] * 2
    fast = rendered(open_stream(renderer, layout), pictures, run)
    mean, most = apart(fast, slow)
    step = 1 << (layout.depth - 10)
    assert mean < 0.1 * step
    assert most <= 3 * step


@pytest.mark.parametrize("name", ["bt2446a", "look"])
def test_frames_in_hlg_of_every_loop(name: str) -> None:
    renderer, pictures, run = opened(name), film()[:3], Run(0, 3, 0, 3)
    slow = rendered(Stream(renderer, hlg=True), pictures, run)
    assert same(rendered(DeviceStream(renderer, hlg=True), pictures, run), slow)
    fast = rendered(open_stream(renderer, hlg=True), pictures, run)
    mean, most = apart(fast, slow)
    assert mean < 0.1
    assert most <= 3
    layout = PIXEL_FORMATS[
        "yuv444p12"
    ]  # subsampled chroma gives edges other light in each transfer
    for stream in (Stream, open_stream):
        meters = LightMeter(), LightMeter()
        for meter, in_hlg in zip(meters, (True, False), strict=True):
            for frame in rendered(stream(renderer, layout, hlg=in_hlg), pictures, run):
                meter.add_light(frame.light)
        mine, pq = (meter.facts() for meter in meters)
        assert mine.max_fall == pytest.approx(
            pq.max_fall, rel=0.01
        )  # the same light on the display
        assert mine.max_cll == pytest.approx(pq.max_cll, rel=0.02)


@compiled
@pytest.mark.parametrize(
    "turn", [Turn(True, False, True), Turn(False, True, True), Turn(True, True, True)]
)
def test_compiled_frames_of_turned_pictures(turn: Turn) -> None:
    size = (WIDTH, HEIGHT) if turn.transpose else (HEIGHT, WIDTH)
    renderer = opened("bt2446a", size)
    mean, most = apart(
        *(rendered(stream, film(turn=turn)) for stream in (open_stream(renderer), Stream(renderer)))
    )
    assert mean < 0.06
    assert most <= 2


@compiled
def test_compiled_frames_of_other_primaries_and_of_tags_that_change() -> None:
    renderer = opened("look")
    pictures = film(primaries="p3-d65")
    full = replace(pictures[0].layout, full_range=True)
    pictures = [replace(p, layout=full) if n > 4 else p for n, p in enumerate(pictures)]
    fast, slow = rendered(open_stream(renderer), pictures), rendered(Stream(renderer), pictures)
    still = [
        n for n in range(COUNT) if not 3 <= n <= 6
    ]  # the formulas steady over the change, which is another picture
    mean, most = apart([fast[n] for n in still], [slow[n] for n in still])
    assert mean < 0.1
    assert most <= 4


@pytest.mark.parametrize("name", ["bt2408", "look"])
def test_a_scene_in_two_runs_gives_the_frames_of_one(name: str) -> None:
    stream = open_stream(opened(name))
    whole = rendered(stream, film())
    assert same(whole, rendered(stream, film(), Run(0, 8, 0, COUNT), Run(8, COUNT, 0, COUNT)))
    other = rendered(stream, [*film()[:4], *film()[4:]], Run(0, 4, 0, 4), Run(4, COUNT, 4, COUNT))
    assert same(whole, other) == (name == "bt2408")  # what is steadied sees no frame beyond a cut


@compiled
def test_codes_of_networks_are_packed_and_metered_to_the_bit() -> None:
    renderer = opened("bt2408")
    codes = torch.rand(6, 35, 50, generator=torch.Generator().manual_seed(1))
    fast, slow = (stream.finished(codes, 7) for stream in (open_stream(renderer), Stream(renderer)))
    assert same([fast], [slow])
    assert fast.restored is not None and slow.restored is not None
    assert all(torch.equal(a, b) for a, b in zip(fast.restored, slow.restored, strict=True))
    for layout in (YuvLayout("bt709"), YuvLayout("bt601", True)):
        picture = film(layout)[0]
        torch.testing.assert_close(
            open_stream(renderer).rgb(picture), picture.rgb(), atol=1e-6, rtol=0
        )


@compiled
def test_grey_and_rgb_pictures_are_rendered_in_torch() -> None:
    renderer = opened("bt2408")
    planes = film()[0].planes
    grey = Picture(0, 100, planes[:1], YuvLayout("bt709", grey=True))
    rgb = Picture(0, 100, (planes[0],) * 3, YuvLayout("rgb", True, sub=(0, 0)))
    run = Run(0, 1, 0, 1)
    for picture in (grey, rgb):
        fast, slow = (
            rendered(stream, [picture], run) for stream in (open_stream(renderer), Stream(renderer))
        )
        assert same(fast, slow)


def test_only_models_that_map_each_pixel_alone_say_so() -> None:
    """Changing one pixel of a picture changes that pixel alone."""
    for name in registry.names():
        if registry.spec(name).pixelwise:
            renderer = opened(name, (8, 8))
            frame = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2))
            other = frame.clone()
            other[:, 3, 4] = 0.9
            state = renderer.new_states(look_of(renderer))[0]
            changed = np.argwhere(
                (renderer.mapped(frame, state) != renderer.mapped(other, state)).any(0).numpy()
            )
            assert changed.tolist() == [[3, 4]]


@pytest.mark.parametrize("primaries", ["bt709", "bt601-525"])
@pytest.mark.parametrize("turn", [Turn(), Turn(True, True, False)])
def test_a_thumbnail_of_planes_is_that_of_the_picture(turn: Turn, primaries: str) -> None:
    """Also where the picture is recoded, and the mean of its codes would be another one."""
    picture = film(turn=turn, primaries=primaries)[0]
    expected = torch.nn.functional.adaptive_avg_pool2d(picture.rgb()[None], 64)[0]
    torch.testing.assert_close(thumbnail_of(picture, 64), expected, atol=2e-6, rtol=0)


def gradient(deband: str) -> list[Picture]:
    """A lossless 8-bit gradient: 35 codes over 1920 pixels, in the light of mid-greys."""
    row = torch.linspace(120, 155, 1920).round().to(torch.uint8)
    chroma = torch.full((32, 960), 128, dtype=torch.uint8)
    planes = (row.expand(64, -1).contiguous(), chroma, chroma)
    return [Picture(pts, 100, planes, YuvLayout("bt709"), deband=deband) for pts in PTS]


@pytest.mark.parametrize("kind", ["formulas", pytest.param("kernels", marks=compiled)])
@pytest.mark.parametrize("name", ["bt2408", "look"])
def test_a_gradient_rises_by_single_codes(name: str, kind: str) -> None:
    renderer = opened(name, (64, 1920))
    stream = Stream(renderer) if kind == "formulas" else open_stream(renderer)
    for deband, most in (("auto", 1), ("off", 4)):
        (frame, *_) = rendered(stream, gradient(deband))
        # dither lies over the steps: the mean of 64 rows is the gradient
        luma = frame.planes[0].float().mean(0)
        smooth = torch.nn.functional.avg_pool1d(luma[None, None], 129, 1, 64)[0, 0]
        jumps = (luma[16:] - luma[:-16]).max()
        if deband == "auto":
            assert jumps < most + 0.5
            assert float((luma - smooth)[100:-100].square().mean().sqrt()) < 0.35
        else:
            assert jumps > 1.7


@compiled
@pytest.mark.parametrize("name", ["bt2408", "look"])
def test_compiled_frames_are_debanded_as_the_formulas_do(name: str) -> None:
    renderer = opened(name, (64, 1920))
    pictures = gradient("auto")
    mean, most = apart(
        rendered(open_stream(renderer), pictures), rendered(Stream(renderer), pictures)
    )
    assert mean < 0.06
    assert most <= 2


@compiled
@pytest.mark.parametrize("deband", ["auto", "off"])
@pytest.mark.parametrize("depth", [8, 10])
def test_turned_pictures_of_any_depth_are_those_of_the_formulas(depth: int, deband: str) -> None:
    turn = Turn(True, False, True)
    renderer = opened("bt2408", (WIDTH, HEIGHT))
    pictures = [
        replace(
            p,
            planes=tuple((x.to(torch.int32) << (depth - 8)).to(torch.uint16) for x in p.planes)
            if depth > 8
            else p.planes,
            layout=YuvLayout("bt709", depth=depth),
            deband=deband,
        )
        for p in film(turn=turn)
    ]
    mean, most = apart(*(rendered(s, pictures) for s in (open_stream(renderer), Stream(renderer))))
    assert mean < 0.06
    assert most <= 2
