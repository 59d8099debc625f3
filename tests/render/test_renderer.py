"""Windows, tiles, peak and white: properties that hold for any model."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdr2hdr.color.grade import Grade
from sdr2hdr.color.transfer import pq_code, pq_eotf
from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.spec import ModelSpec, State
from sdr2hdr.models.wmnet.network import WMNet
from sdr2hdr.render.device import is_out_of_memory, pick_device, pick_precision
from sdr2hdr.render.looks import SceneLooks, scene_look
from sdr2hdr.render.renderer import Renderer, Run, windows
from sdr2hdr.render.scene import render_scene
from sdr2hdr.render.tiles import blend_weights, choose_tile, cut

CPU = torch.device("cpu")
WMNET_SPEC = registry.spec("wmnet", {"base": "bt2408", "attention": "tokens"})


def small_wmnet(attention: str = "tokens") -> WMNet:
    torch.manual_seed(3)
    return WMNet(attention=attention, base="bt2408", blocks=3).eval()


def renderer(
    model: Model, spec: ModelSpec, size: tuple[int, int], tile: int = 4096, **options: Any
) -> Renderer:
    return Renderer(model, spec, size, device="cpu", precision="float32", tile=tile, **options)


def rendered(
    r: Renderer, frames: Tensor, runs: list[Run], states: list[State] | None = None
) -> Tensor:
    """The frames of some runs; each starts from ``states`` where they are given, else as a scene does."""
    out = []
    for run in runs:
        lo, hi = run.needs(r.spec)
        out += list(r.run(iter(frames[lo:hi]), run, r.new_states() if states is None else states))
    return torch.stack(out)


class Echo(Model):
    """Gives the frames it was given, remembers nothing, and keeps which frames it saw, by their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        self.seen.append([round(float(v)) for v in window.frames[0].mean(dim=(1, 2, 3)) * 100])
        return window.frames[:, window.inner.start : window.inner.stop], state


def test_a_look_that_is_known_beforehand_does_not_follow_the_frames() -> None:
    torch.manual_seed(4)
    model = registry.build("look")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    spec = registry.spec("look")
    light = torch.tensor([1.0, *[0.3] * 16, 1.0])
    frames = torch.rand(3, 64, 64) * light[:, None, None, None]
    r = renderer(model, spec, (64, 64))
    run = [Run(0, 18, 0, 18)]
    following = rendered(r, frames, run)
    assert (following[0] - following[17]).abs().max() > 1e-3
    look = scene_look(model, spec, frames)
    assert look is not None
    told = rendered(r, frames, run, r.new_states(look))
    assert torch.equal(told[0], told[17])
    assert scene_look(registry.build("bt2408"), registry.spec("bt2408"), frames) is None


def test_a_scene_is_given_the_look_that_a_conversion_reads() -> None:
    torch.manual_seed(4)
    model, spec = registry.build("look"), registry.spec("look")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    film = torch.rand(40, 3, 48, 64) * torch.rand(40, 1, 1, 1)
    r = renderer(model, spec, (48, 64))
    looks = SceneLooks(model, spec)
    for number in range(0, 40, 8):
        looks.see(number, film[number])
    first, last = 5, 30
    (look,) = looks.of([first, last])
    assert look is not None
    scene = film[first:last]
    whole = torch.stack(list(render_scene(r, lambda: scene, Run(first, last, first, last))))
    assert torch.equal(
        whole, rendered(r, film, [Run(first, last, first, last)], r.new_states(look))
    )
    part = torch.stack(list(render_scene(r, lambda: scene, Run(13, 20, first, last), look)))
    assert torch.equal(part, whole[8:15])
    following = torch.stack(
        list(render_scene(r, lambda: scene, Run(first, last, first, last), None))
    )
    assert (following - whole).abs().max() > 1e-3


@pytest.mark.parametrize("name", [n for n in registry.names() if registry.spec(n).thumb])
def test_every_model_that_reads_looks_takes_one_that_is_known(name: str) -> None:
    torch.manual_seed(4)
    model, spec = registry.build(name), registry.spec(name)
    frames = torch.rand(9, 3, 64, 64)
    r = renderer(model, spec, (64, 64))
    look = scene_look(model, spec, frames)
    assert look is not None and look.shape == (spec.look,)
    told = rendered(r, frames, [Run(0, 9, 0, 9)], r.new_states(look))
    assert told.shape == frames.shape and torch.isfinite(told).all()


def test_no_window_crosses_a_cut_and_every_frame_comes_once() -> None:
    spec = ModelSpec(name="echo", title="", paper="", past=2, future=2, block=4)
    frames = torch.arange(20).float()[:, None, None, None].expand(20, 3, 4, 4) / 100
    echo = Echo()
    out = rendered(
        renderer(echo, spec, (4, 4)), frames, [Run(0, 7, 0, 7), Run(7, 8, 7, 8), Run(8, 20, 8, 20)]
    )
    assert torch.allclose(out, frames, atol=1e-6)
    for seen in echo.seen:
        assert any(set(seen) <= set(scene) for scene in (range(7), range(7, 8), range(8, 20)))


def test_windows_are_bounded() -> None:
    spec = ModelSpec(name="echo", title="", paper="", past=2, future=1, block=4)
    sizes = [
        len(w) for w, _, _ in windows(iter(torch.zeros(100, 3, 2, 2)), Run(0, 100, 0, 100), spec)
    ]
    assert max(sizes) == 7


@pytest.mark.parametrize("attention", ["tokens", "published"])
def test_a_scene_split_at_a_block_with_its_state_saved_gives_the_same_frames(
    attention: str,
) -> None:
    model, frames = small_wmnet(attention), torch.rand(40, 3, 16, 24)
    whole = rendered(renderer(model, WMNET_SPEC, (16, 24)), frames, [Run(0, 40, 0, 40)])
    r = renderer(model, WMNET_SPEC, (16, 24))
    states = r.new_states()
    first = rendered(r, frames, [Run(0, 32, 0, 40)], states)
    saved = [{k: v.clone() for k, v in s.items()} for s in states]
    second = rendered(renderer(model, WMNET_SPEC, (16, 24)), frames, [Run(32, 40, 0, 40)], saved)
    assert torch.equal(torch.cat([first, second]), whole)


def test_cutting_at_a_scene_change_gives_the_frames_of_the_whole() -> None:
    model, frames = small_wmnet(), torch.rand(20, 3, 16, 24)
    r = renderer(model, WMNET_SPEC, (16, 24))
    whole = rendered(r, frames, [Run(0, 9, 0, 9), Run(9, 20, 9, 20)])
    assert torch.equal(rendered(r, frames[9:], [Run(0, 11, 0, 11)]), whole[9:])


def test_tiles_agree_with_the_whole_frame_within_the_stated_tolerance() -> None:
    model = small_wmnet()
    y, x = torch.meshgrid(torch.linspace(0, 1, 280), torch.linspace(0, 1, 330), indexing="ij")
    frames = torch.stack(
        [(0.5 + 0.5 * torch.sin(20 * x + 9 * y + t)) * torch.stack([x, y, 1 - x]) for t in range(3)]
    )
    run = [Run(0, 3, 0, 3)]
    whole = rendered(renderer(model, WMNET_SPEC, (280, 330)), frames, run)
    tiled_renderer = renderer(model, WMNET_SPEC, (280, 330), tile=208)
    assert len(tiled_renderer.tiles) == 4
    assert (rendered(tiled_renderer, frames, run) - whole).abs().max() <= WMNET_SPEC.tolerance


@pytest.mark.parametrize("margin", [0, 20])
@pytest.mark.parametrize(
    ("height", "width", "tile"), [(280, 330, 208), (64, 1000, 300), (500, 500, 288), (97, 351, 288)]
)
def test_blending_weights_add_up_to_one_everywhere(
    height: int, width: int, tile: int, margin: int
) -> None:
    tiles = cut(height, width, tile, WMNET_SPEC)
    total = torch.zeros(height, width)
    for t, w in zip(tiles, blend_weights(tiles, margin), strict=True):
        if t.left:
            assert w[:, : margin + 1].max() < 0.5 and (margin == 0 or w[:, :margin].max() == 0.0)
        assert t.bottom - t.top <= tile and t.right - t.left <= tile
        assert t.top % WMNET_SPEC.multiple == t.left % WMNET_SPEC.multiple == 0
        total[t.top : t.bottom, t.left : t.right] += w
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


@pytest.mark.parametrize("bad", [(torch.nan,), (torch.inf,), (torch.inf, -torch.inf), ()])
def test_codes_that_are_no_numbers_are_an_error(
    bad: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, spec = registry.build("bt2446a"), registry.spec("bt2446a")
    frames = torch.rand(2, 3, 32, 48)
    codes = torch.rand(1, 2, 3, 32, 48)
    codes.view(-1)[[77, 4000][: len(bad)]] = torch.tensor(bad)
    monkeypatch.setattr(model, "render", lambda _window, state: (codes, state))
    r = renderer(model, spec, (32, 48))
    if not bad:
        rendered(r, frames, [Run(0, 2, 0, 2)])
        return
    with pytest.raises(ModelError, match="no numbers in float32"):
        rendered(r, frames, [Run(0, 2, 0, 2)])


@pytest.mark.parametrize("name", ["wmnet-fast", "didnet"])
def test_tiles_give_clipped_areas_the_light_that_the_whole_frame_gives_them(name: str) -> None:
    """The networks repair nothing before they are trained."""
    model, spec = registry.build(name).eval(), registry.spec(name)
    few = torch.rand(1, 3, 16, 22, generator=torch.Generator().manual_seed(1))
    frames = (0.6 + 0.8 * nn.functional.interpolate(few, (300, 400), mode="bilinear")).clamp(0, 1)
    look = model.read_look(torch.rand(1, 3, 64, 64), torch.tensor([2.5]))[0]

    def codes(tile: int) -> Tensor:
        r = renderer(model, spec, (300, 400), tile=tile)
        return rendered(r, frames, [Run(0, 1, 0, 1)], r.new_states(look))

    whole = codes(4096)
    state = renderer(model, spec, (300, 400)).new_states(look)[0]
    assert (whole - model.mapped(frames, state)).abs().max() > 0.005  # type: ignore[operator]
    assert (codes(272) - whole).abs().max() <= 1e-5


def test_tiles_are_exact_where_the_margin_is_the_networks_reach() -> None:
    torch.manual_seed(0)
    model, spec = registry.build("kpnet-light", {"channels": 16}), registry.spec("kpnet-light")
    nn.init.normal_(model.conv_last.weight, std=0.2)  # it begins with zeros there
    frames = torch.rand(1, 3, 300, 400)
    run = [Run(0, 1, 0, 1)]
    whole = rendered(renderer(model, spec, (300, 400)), frames, run)
    tiled = renderer(model, spec, (300, 400), tile=272)
    assert len(tiled.tiles) > 3
    assert (rendered(tiled, frames, run) - whole).abs().max() <= spec.tolerance


def test_tiles_too_small_for_their_overlap_are_refused_in_words() -> None:
    with pytest.raises(ModelError, match=r"64 pixels are too small for wmnet.*--tile 160 or more"):
        cut(200, 300, 64, WMNET_SPEC)
    assert len(cut(64, 64, 64, WMNET_SPEC)) == 1
    assert len(cut(200, 300, 160, WMNET_SPEC)) > 1


def test_less_memory_means_smaller_tiles_and_enough_means_none() -> None:
    assert choose_tile(1080, 1920, WMNET_SPEC, 1 << 40) == 1920
    edges = [choose_tile(1080, 1920, WMNET_SPEC, free) for free in (1 << 30, 1 << 31, 3 << 30)]
    assert edges == sorted(edges) and edges[0] < 1920


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"), True),
        (RuntimeError("CUDA error: out of memory"), True),  # of pinned memory
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_memory_are_told_from_others(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) is memory


def test_odd_sizes_come_back_as_they_were() -> None:
    out = rendered(
        renderer(small_wmnet(), WMNET_SPEC, (33, 47)), torch.rand(2, 3, 33, 47), [Run(0, 2, 0, 2)]
    )
    assert out.shape == (2, 3, 33, 47)


@pytest.mark.parametrize("peak", [400.0, 1000.0, 4000.0])
def test_peak_is_never_passed_and_midtones_stay(peak: float) -> None:
    frames = torch.linspace(0, 1, 64).expand(1, 3, 8, 64)
    spec = registry.spec("bt2446a")
    out = rendered(
        renderer(registry.build("bt2446a"), spec, (8, 64), peak=peak), frames, [Run(0, 1, 0, 1)]
    )
    plain = rendered(renderer(registry.build("bt2446a"), spec, (8, 64)), frames, [Run(0, 1, 0, 1)])
    assert out.max() <= pq_code(peak) + 1e-7
    assert torch.allclose(out[..., :24], plain[..., :24], atol=1e-5)
    assert (out[0, 0, 0].diff() >= -1e-6).all()


def test_a_brightness_of_one_shows_what_an_sdr_display_of_100_nits_does() -> None:
    frames, spec = torch.full((1, 3, 8, 8), 1.0), registry.spec("bt2408")
    made = renderer(registry.build("bt2408"), spec, (8, 8), grade=Grade(brightness=1.0))
    out = rendered(made, frames, [Run(0, 1, 0, 1)])
    assert pq_eotf(out).mean().item() == pytest.approx(100.0, rel=1e-3)


def test_values_that_are_no_numbers_are_refused() -> None:
    model = small_wmnet()
    with torch.no_grad():
        model.conv_last.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="float32"):
        rendered(renderer(model, WMNET_SPEC, (16, 16)), torch.rand(1, 3, 16, 16), [Run(0, 1, 0, 1)])


def test_unknown_devices_and_precisions_are_refused() -> None:
    for name in ("gpu9", "tpu", "cuda:99"):
        with pytest.raises(ModelError, match="cpu"):
            pick_device(name)
    with pytest.raises(ModelError, match="auto"):
        pick_precision("int3", WMNET_SPEC, CPU)
    with pytest.raises(ModelError, match="float32"):
        pick_precision("bfloat16", registry.spec("bt2408"), CPU)
