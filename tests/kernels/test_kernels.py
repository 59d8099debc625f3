"""Compiled kernels against the formulas of sdr2hdr.color, to the bit where these are the same sums."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sdr2hdr import load_model
from sdr2hdr.cli.convert import Screen, _Speed
from sdr2hdr.color import hlg as color_hlg
from sdr2hdr.color import tonemap
from sdr2hdr.color.light import FrameLight, LightMeter
from sdr2hdr.color.transfer import pq_code, pq_inverse_eotf
from sdr2hdr.color.turn import Turn
from sdr2hdr.color.yuv import (
    HDR10,
    PIXEL_FORMATS,
    SITINGS,
    YuvLayout,
    from_yuv,
    highest,
    to_yuv,
)
from sdr2hdr.kernels import compiled
from sdr2hdr.models.base.steady import STEADY_REACH, UNLIKE, steadied
from sdr2hdr.models.look_base import LookBase
from sdr2hdr.scenes import small as scene_small

if compiled.why_not() is not None:
    pytest.skip(f"no kernels here: {compiled.why_not()}", allow_module_level=True)

from sdr2hdr.kernels import hlg, metering, reading, small, steadying, table, writing

PEAK = pq_code(1000)
SUBS = [(1, 1), (1, 0), (0, 0), (0, 1)]


def random_planes(layout: YuvLayout, height: int, width: int) -> tuple[Tensor, ...]:
    """Codes of all kinds, those outside R'G'B' among them."""
    dtype = torch.uint8 if layout.depth == 8 else torch.uint16
    sizes = [(height, width), *[(-(-height >> layout.sub[1]), -(-width >> layout.sub[0]))] * 2]
    rng = np.random.default_rng(3)
    return tuple(
        torch.from_numpy(rng.integers(0, 2**layout.depth, s).astype(np.int32)).to(dtype)
        for s in sizes
    )


def smooth(height: int, width: int, top: float = 1.0, seed: int = 5) -> Tensor:
    few = torch.rand(
        1, 3, max(2, height // 8), max(2, width // 8), generator=torch.Generator().manual_seed(seed)
    )
    return (
        torch.nn.functional.interpolate(few, (height, width), mode="bilinear", align_corners=True)[
            0
        ]
        * top
    )


def sdr_planes(rgb: Tensor, layout: YuvLayout) -> tuple[Tensor, ...]:
    """8- or 10-bit limited BT.709 4:2:0 planes of R'G'B'."""
    shift = 10 - layout.depth
    planes = to_yuv(rgb, seed=1, peak_code=1.0, layout=replace(HDR10, matrix="bt709"))
    return tuple(
        (p.to(torch.int32) >> shift).to(torch.uint8 if shift else torch.uint16) for p in planes
    )


@pytest.mark.parametrize("sub", SUBS)
@pytest.mark.parametrize("full_range", [False, True])
def test_reading_is_the_formula(sub: tuple[int, int], full_range: bool) -> None:
    for siting in SITINGS:
        for depth, size in ((8, (13, 21)), (8, (1, 1)), (10, (30, 64)), (12, (2, 3))):
            layout = YuvLayout("bt601", full_range, depth, sub, siting)
            planes = random_planes(layout, *size)
            torch.testing.assert_close(
                reading.read(planes, reading.reading(layout)),
                from_yuv(planes, layout),
                atol=1e-6,
                rtol=0,
            )


@pytest.mark.parametrize("size", [(12, 18), (13, 21), (12, 21)])
def test_turned_planes_are_read_as_the_turned_picture(size: tuple[int, int]) -> None:
    steps = (False, True)
    for turn in (Turn(a, b, c) for a in steps for b in steps for c in steps):
        for sub in SUBS:
            for siting in SITINGS:
                layout = YuvLayout("bt709", sub=sub, siting=siting)
                planes = random_planes(layout, *size)
                upright = reading.turned(planes, turn)
                shape = tuple(upright[0].shape)
                if not reading.can_read(layout, turn, shape):
                    assert any(n % 2 for n in size) and siting != "topleft"
                    continue
                got = reading.read(upright, reading.reading(layout, turn, shape))
                torch.testing.assert_close(got, turn(from_yuv(planes, layout)), atol=1e-6, rtol=0)


def test_planes_with_padded_rows_and_parts_of_planes_are_read() -> None:
    layout = YuvLayout("bt709")
    planes = random_planes(layout, 16, 30)
    padded = tuple(
        torch.nn.functional.pad(p.int(), (0, 7)).to(torch.uint8)[:, : p.shape[1]] for p in planes
    )
    turned = tuple(p.t().contiguous().t() for p in planes)
    expected = reading.read(planes, reading.reading(layout))
    assert torch.equal(reading.read(padded, reading.reading(layout)), expected)
    assert torch.equal(reading.read(turned, reading.reading(layout)), expected)


@pytest.mark.parametrize("size", [(8, 8), (13, 21), (2, 2), (34, 400), (301, 50)])
@pytest.mark.parametrize("seed", [None, 7, -5, 2**40])
def test_packing_and_metering_are_the_formulas_to_the_bit(
    size: tuple[int, int], seed: int | None
) -> None:
    noisy = torch.rand(3, *size, generator=torch.Generator().manual_seed(2)) * 1.2
    for codes in (smooth(*size, 1.2), noisy, torch.zeros(3, *size)):
        for peak in (PEAK, 0.6, 1.0):
            expected = to_yuv(codes, seed=seed, peak_code=peak)
            got = writing.packed(codes, seed=seed, peak_code=peak)
            light = metering.metered(got, peak, channels=True)
            assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
            meter, counted = LightMeter(), LightMeter()
            meter.add(expected)
            counted.add_light(light)
            assert counted.facts() == replace(meter.facts(), channels=counted.facts().channels)
            assert light.channels is not None
            assert torch.equal(light.channels, highest(expected))


@pytest.mark.parametrize("name", PIXEL_FORMATS)
@pytest.mark.parametrize("size", [(13, 21), (66, 50)])
def test_every_format_is_packed_and_metered_by_the_formulas(
    name: str, size: tuple[int, int]
) -> None:
    layout = PIXEL_FORMATS[name]
    noisy = torch.rand(3, *size, generator=torch.Generator().manual_seed(2)) * 1.2
    for codes in (smooth(*size, 1.2), noisy, torch.zeros(3, *size)):
        for peak, seed in ((PEAK, 7), (0.6, None), (1.0, 3)):
            expected = to_yuv(codes, seed=seed, peak_code=peak, layout=layout)
            got = writing.packed(codes, seed=seed, peak_code=peak, layout=layout)
            light = metering.metered(got, peak, layout, channels=True)
            assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
            meter, counted = LightMeter(), LightMeter()
            meter.add(expected, layout)
            counted.add_light(light)
            assert counted.facts() == replace(meter.facts(), channels=counted.facts().channels)
            assert light.channels is not None
            assert torch.equal(light.channels, highest(expected, layout))


@pytest.mark.parametrize("peak", [400.0, 1000.0, 4000.0])
def test_hlg_and_its_light_are_the_formulas_within_hundredths_of_a_code(peak: float) -> None:
    top = pq_code(peak)
    for codes in (smooth(40, 66, 1.1 * top), torch.rand(3, 40, 66) * top, torch.zeros(3, 8, 8)):
        expected, got = color_hlg.hlg_of_pq(codes, peak), hlg.hlg_of_pq(codes, peak)
        # below a code, where the curve rises without end, a quarter of one
        assert float((got - expected).abs().max()) * 876 < 0.25
        assert float((got - expected).abs().mean()) * 876 < 0.01
        for layout in (HDR10, PIXEL_FORMATS["yuv444p12"]):
            planes = to_yuv(expected, seed=3, peak_code=1.0, layout=layout)
            meter, counted = LightMeter(), LightMeter()
            meter.add_light(FrameLight.of(color_hlg.shown(planes, layout, peak)))
            counted.add_light(hlg.metered(planes, layout, peak))
            mine, formula = counted.facts(), meter.facts()
            assert mine.max_cll == pytest.approx(formula.max_cll, rel=1e-3, abs=1e-3)
            assert mine.max_fall == pytest.approx(formula.max_fall, rel=1e-3, abs=1e-3)
            assert mine.max_cll <= peak * 1.0001


def baked(mapping: Callable[[Tensor], Tensor]) -> np.ndarray:
    return table.packed_table(mapping(table.grid()).clamp(0.0, PEAK))


def look_mapping() -> Callable[[Tensor], Tensor]:
    model = load_model("look-base")
    assert isinstance(model, LookBase)
    thumb = torch.nn.functional.adaptive_avg_pool2d(smooth(180, 320)[None], 64)
    with torch.inference_mode():
        look = model.read_look(thumb, torch.ones(1))
        return lambda rgb: model.mapped(rgb[None], look)[0]


MAPPINGS = {
    "bt2408": lambda rgb: pq_inverse_eotf(tonemap.bt2408(rgb)),
    "bt2446a": lambda rgb: pq_inverse_eotf(tonemap.bt2446a(rgb)),
}


@pytest.mark.parametrize("name", [*MAPPINGS, "look-base"])
def test_a_table_is_its_mapping_within_hundredths_of_a_code(name: str) -> None:
    """Against the exact mapping, with the same noise: a picture, greys, colours, and a picture of codes below 0.05 alone."""
    mapping = MAPPINGS.get(name) or look_mapping()
    layout = YuvLayout("bt709", depth=10)
    grey = torch.linspace(0, 1, 512).expand(3, 96, 512).contiguous()
    tinted = (grey + torch.tensor([0.0, 0.05, -0.08])[:, None, None]).clamp(0, 1)
    for rgb, mean in (
        (smooth(96, 512), 0.06),
        (grey, 0.06),
        (tinted, 0.06),
        (smooth(96, 512, 0.05), 0.12),
    ):
        planes = sdr_planes(rgb, layout)
        with torch.inference_mode():
            expected = to_yuv(mapping(from_yuv(planes, layout)), seed=4, peak_code=PEAK)
            got = writing.mapped(planes, reading.reading(layout), baked(mapping), 4)
        metering.metered(got, PEAK)
        for a, b in zip(got, expected, strict=True):
            apart = (a.int() - b.int()).abs()
            assert float(apart.float().mean()) <= mean
            assert int(apart.max()) <= 2


@pytest.mark.parametrize("name", PIXEL_FORMATS)
def test_a_table_is_its_mapping_in_every_format(name: str) -> None:
    source, layout = YuvLayout("bt709", depth=10), PIXEL_FORMATS[name]
    planes, mapping = sdr_planes(smooth(96, 128), source), MAPPINGS["bt2408"]
    expected = to_yuv(mapping(from_yuv(planes, source)), seed=4, peak_code=PEAK, layout=layout)
    got = writing.mapped(planes, reading.reading(source), baked(mapping), 4, layout)
    metering.metered(got, PEAK, layout)
    ten_bits = 1023.0 / ((1 << layout.depth) - 1)  # a table's steps do not depend on the output
    for a, b in zip(got, expected, strict=True):
        apart = (a.int() - b.int()).abs() * ten_bits
        assert float(apart.mean()) <= 0.08
        assert float(apart.max()) <= 2.0


def test_greys_stay_grey_and_black_black_in_a_table() -> None:
    layout = YuvLayout("bt709", depth=10)
    planes = sdr_planes(torch.linspace(0, 1, 256).expand(3, 16, 256).contiguous(), layout)
    flat = (planes[0], *(torch.full_like(p.int(), 512).to(torch.uint16) for p in planes[1:]))
    y, cb, cr = writing.mapped(flat, reading.reading(layout), baked(MAPPINGS["bt2408"]), 1)
    assert set(y[:, 0].tolist()) == {64}
    assert max(int((p.int() - 512).abs().max()) for p in (cb, cr)) <= 1  # the noise of a code


def test_200_nits_of_white_in_a_table() -> None:
    """BT.2408: SDR white at 203 nits is code 573."""
    planes = tuple(
        torch.full(s, v, dtype=torch.uint8)
        for s, v in (((64, 64), 235), ((32, 32), 128), ((32, 32), 128))
    )
    y, _, _ = writing.mapped(
        planes, reading.reading(YuvLayout("bt709")), baked(MAPPINGS["bt2408"]), 1
    )
    assert abs(float(y.float().mean()) - 572.6) < 0.15


def test_what_is_no_number_or_out_of_range_is_looked_up_within_the_table() -> None:
    """Beside them, pixels are as they would be."""
    rgb = smooth(16, 64)
    bad = rgb.clone()
    for column, value in enumerate((float("nan"), float("inf"), -float("inf"), -5.0, 1e30)):
        bad[:, 4, 30 + column] = value
        bad[column % 3, 12, 30 + column] = value
    whole, found = (
        writing.mapped(x.unbind(), reading.AS_IT_IS, baked(MAPPINGS["bt2408"]), 1)
        for x in (rgb, bad)
    )
    apart = whole[0] != found[0]
    assert set(apart.nonzero()[:, 0].tolist()) <= {4, 12}
    assert set(apart.nonzero()[:, 1].tolist()) <= set(range(30, 35))


def film(count: int, height: int, width: int, layout: YuvLayout) -> list[tuple[Tensor, ...]]:
    """A picture that stands still under noise of the sensor, but for a square that moves."""
    still = smooth(height, width, 0.9)
    frames = []
    for n in range(count):
        noise = torch.randn(3, height, width, generator=torch.Generator().manual_seed(n)) * 0.004
        rgb = (still + noise).clamp(0, 1)
        rgb[:, 8 : height // 2, 4 * n + 8 : 4 * n + 40] = 0.3 + 0.1 * n
        frames.append(sdr_planes(rgb, layout))
    return frames


def steadier(layout: YuvLayout) -> steadying.Steadier:
    return steadying.Steadier(
        reading.reading(layout), 1 << (16 - layout.depth), STEADY_REACH, UNLIKE
    )


@pytest.mark.parametrize("depth", [8, 10])
def test_steadying_planes_is_steadying_rgb(depth: int) -> None:
    layout = YuvLayout("bt709", depth=depth)
    frames = film(5, 90, 160, layout)
    steady = steadier(layout)
    whole = torch.stack([from_yuv(f, layout) for f in frames])[None]
    wide = YuvLayout(
        "bt709", depth=16
    )  # limited range: codes of 16 bits are those of 8, 256 times as fine
    for at in range(5):
        got = from_yuv(steady(frames, at, 0), wide)
        expected = steadied(whole, at)[0]
        apart = (got - expected).abs() * 255
        assert float(apart.mean()) < 0.03  # of an 8-bit code; steadying changes 0.5 of one
        assert float((apart > 0.5).float().mean()) < 0.002
        if at == 0:
            assert float(apart.max()) < 1e-3


@pytest.mark.parametrize("sub", SUBS)
def test_steadying_every_subsampling_and_odd_sizes(sub: tuple[int, int]) -> None:
    """A picture that does not change is left as it is, and one whose neighbours are all other pictures, too."""
    layout = YuvLayout("bt709", depth=8, sub=sub)
    planes = random_planes(layout, 37, 53)
    other = tuple(255 - p for p in planes)
    wide = [p.int() * 256 for p in planes]
    for frames in ([planes] * 5, [other, other, planes, other, other]):
        got = steadier(layout)(frames, 2, 0)
        assert all(torch.equal(a.int(), b) for a, b in zip(got, wide, strict=True))


def test_results_do_not_depend_on_threads(threads: Callable[[int], None]) -> None:
    layout = YuvLayout("bt709")
    frames = film(5, 90, 162, layout)
    nodes, codes = baked(MAPPINGS["bt2446a"]), smooth(90, 162)
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        steady = steadier(layout)
        planes = steady(frames, 2, 0)
        out = writing.mapped(planes, reading.reading(layout, finer=256), nodes, 9)
        light = metering.metered(out, 0.6)
        again = writing.packed(codes, seed=9, peak_code=0.6)
        read, thumb = (
            reading.read(frames[0], reading.reading(layout)),
            small.thumbnail(frames[0], reading.reading(layout), 64),
        )
        results.append(
            [*planes, *out, light.counts, light.rows, light.columns, *again, read, thumb]
        )
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("size", [(90, 160), (37, 53), (128, 64)])
def test_a_thumbnail_is_the_mean_of_its_areas(size: tuple[int, int]) -> None:
    layout = YuvLayout("bt709")
    planes = sdr_planes(smooth(*size), layout) if size[0] % 2 == 0 else random_planes(layout, *size)
    expected = torch.nn.functional.adaptive_avg_pool2d(from_yuv(planes, layout)[None], 64)[0]
    torch.testing.assert_close(
        small.thumbnail(planes, reading.reading(layout), 64), expected, atol=2e-6, rtol=0
    )


@pytest.mark.parametrize("size", [(90, 160), (37, 53), (480, 700)])
def test_small_planes_are_those_of_the_scene_detector(size: tuple[int, int]) -> None:
    plane = random_planes(YuvLayout("bt709", depth=10), *size)[0]
    got = small.shrunk(plane, (scene_small.HEIGHT, scene_small.WIDTH), scene_small._SAMPLES)
    assert torch.equal(got, scene_small.shrink(plane))


def why(environment: dict[str, str]) -> str:
    code = "from sdr2hdr.kernels import compiled as c; print(c.why_not(), c.why_not_kept(), c.drawback(), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout


def test_what_stands_against_kernels_is_said_in_one_sentence(tmp_path: Path) -> None:
    assert why({}).splitlines() == ["None"] * 3
    for switch, value in (("SDR2HDR_KERNELS", "off"), ("NUMBA_DISABLE_JIT", "1")):
        wanted, _, drawback = why({switch: value}).splitlines()
        assert f"switched off by {switch}" in wanted
        assert drawback == "None"  # nobody needs to hear what he has asked for
    (tmp_path / "numba.py").write_text("raise ImportError('built for another processor')")
    broken = why({"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])})
    assert "numba does not load here (built for another processor)" in broken.splitlines()[0]
    assert broken.splitlines()[2] == broken.splitlines()[0]
    (tmp_path / "file").write_text("")
    blocked = why({"XDG_CACHE_HOME": str(tmp_path / "file")}).splitlines()
    assert blocked[0] == "None" and "every start compiles them again" in blocked[1] == blocked[2]


def test_without_a_cache_folder_kernels_compile_all_the_same(tmp_path: Path) -> None:
    code = (
        "import torch; from sdr2hdr.kernels import small;"
        "from sdr2hdr.kernels.compiled import seconds_compiling as s; print(s());"
        "print(small.shrunk(torch.full((9, 9), 7, dtype=torch.uint8), (3, 3), 3).sum().item()); print(s())"
    )
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file"), "NUMBA_CACHE_DIR": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    before, total, after = map(float, done.stdout.split())
    assert total == 63 and before == 0 < after < 600


def test_a_processor_without_avx2_gives_the_same_samples() -> None:
    code = (
        "import hashlib, torch; from sdr2hdr.color.yuv import YuvLayout;"
        "from sdr2hdr.kernels.reading import read, reading;"
        "g = torch.Generator().manual_seed(1);"
        "planes = [torch.randint(0, 256, s, dtype=torch.uint8, generator=g) for s in ((46, 70), (23, 35), (23, 35))];"
        "found = read(tuple(planes), reading(YuvLayout('bt709')));"
        "print(hashlib.sha256(found.numpy().tobytes()).hexdigest())"
    )
    plain = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    found = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, **environment},
        ).stdout
        for environment in ({}, plain)
    ]  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="it compiles for x86")
@pytest.mark.parametrize(("processor", "gathers"), [("icelake-server", True), ("znver4", False)])
def test_tables_are_read_without_gathers_where_these_are_slow(
    processor: str, gathers: bool
) -> None:
    """The code is compiled, not run, so that it may be for another processor."""
    code = (
        "import llvmlite.binding as llvm; from numba.core import codegen, types;"
        f"llvm.get_host_cpu_name = lambda: {processor!r};"
        "codegen.get_host_cpu_features = lambda: '+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512vbmi2';"
        "from sdr2hdr.kernels.table import _fetched;"
        "nodes, words = (types.Array(t, 1, 'C') for t in (types.uint32, types.uint64));"
        "_fetched.compile((words, types.UniTuple(nodes, 3), types.UniTuple(words, 4)));"
        "print('gather' in ''.join(_fetched.inspect_asm().values()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(gathers)]
    assert "not a recognized" not in done.stderr  # what LLVM says of a name that it does not know


def test_a_conversions_screen_says_that_kernels_are_being_compiled() -> None:
    from numba.core import event

    bar, shown = Screen(quiet=True).bar, list[str]()
    bar.add_task("Rendering", total=10)
    task = bar.tasks[0]

    class Looks(event.Listener):
        def on_start(self, _event: object) -> None:
            shown.append(str(_Speed().render(task)))

        def on_end(self, _event: object) -> None: ...

    @compiled.row  # which is not kept for another run
    def fresh(numbers: Any) -> None:
        numbers[0] += np.float32(1.0)

    fresh(np.zeros(1, np.float32))  # whose listener is there by then
    with event.install_listener("numba:compile", Looks()):
        fresh(np.zeros((1, 1), np.float32)[0, :1].astype(np.float64))
    assert shown and set(shown) == {"compiling kernels, once"}
    assert str(_Speed().render(task)) == ""
