"""Networks on the base ``told``: they stand on the mapping of ``look``, at the brightness that they are told."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.clipped import lit
from sdr2hdr.color.exposure import MID_GREY
from sdr2hdr.color.grade import Grade
from sdr2hdr.color.graded import GREYS
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.data.clips import rgb, to_planes
from sdr2hdr.data.damage import USUAL_DAMAGE, Planes
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.models import registry
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.render.looks import scene_look
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.opened import load_model, open_model

BUNDLED = ("kpnet", "kpnet-light", "didnet-tiny", "fmstfnet", "hdrvdiff")
SMALL: dict[str, dict[str, Any]] = {
    "wmnet": {"channels": 16, "blocks": 3, "attention": "tokens"},
    "kpnet": {"channels": 16},
    "kpnet-light": {"channels": 16},
    "didnet-tiny": {"channels": 16, "offset_channels": 8},
    "fmstfnet": {"channels": 16, "high": (16, 16), "blocks": 1},
    "hdrvdiff": {"steps": 0},
}


def untrained(name: str) -> OnBase:
    """A network that corrects nothing yet, with the reader of the bundled look."""
    torch.manual_seed(7)
    model = registry.build(name, {**SMALL[name], "base": "told"})
    assert isinstance(model, OnBase)
    model.initialise()
    model.load_state_dict(load_model("look").state_dict(), strict=False)
    return model


def waves(frames: int, height: int = 64, width: int = 96) -> Tensor:
    """Coloured waves that move, ``T,3,H,W``; nothing is clipped."""
    t, c = torch.arange(frames).view(-1, 1, 1, 1), torch.arange(3).view(-1, 1, 1)
    y, x = torch.arange(height).view(-1, 1), torch.arange(width)
    return 0.5 + 0.25 * torch.sin(0.11 * (x + 2 * t) + c) + 0.15 * torch.cos(0.17 * y - 0.5 * c)


def texture(frames: int = 5, height: int = 128, width: int = 192) -> Tensor:
    """Coloured noise as coarse as pictures are, which moves, ``T,3,H,W``."""
    rng, h, w = np.random.default_rng(3), height + 32, width + 32
    coarse = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w))
    coarse[0, 0] = 1
    noise = np.fft.ifft2(np.exp(2j * np.pi * rng.random((3, h, w))) / coarse**1.2).real
    noise /= noise.std((1, 2), keepdims=True)
    whole = torch.from_numpy(0.45 + 0.12 * noise[:1] + 0.04 * noise).float().clamp(0.05, 0.9)
    shifts = ((slice(2 * t, 2 * t + height), slice(3 * t, 3 * t + width)) for t in range(frames))
    return torch.stack([whole[(..., *at)] for at in shifts])


def through_planes(frames: Tensor) -> Planes:
    """Frames as 8-bit 4:2:0."""
    return to_planes(frames, np.random.default_rng(1))


def pictures(planes: Planes) -> Tensor:
    height, width = planes[0].shape[-2:]
    return rgb(planes, (0, height), (0, width))


def rendered(name: str, frames: Tensor, brightness: float = 2.5, tile: int = 4096) -> Tensor:
    loaded = open_model(name)
    size = (frames.shape[-2], frames.shape[-1])
    r = Renderer(loaded.model, loaded.spec, size, device="cpu", tile=tile, grade=Grade(brightness))
    look = scene_look(loaded.model, loaded.spec, frames, grade=r.grade)
    run = Run(0, len(frames), 0, len(frames))
    return torch.stack(list(r.run(iter(frames), run, r.new_states(look))))


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("brightness", [1.2, 3.5])
def test_it_begins_as_the_look_with_light_in_clipped_areas(name: str, brightness: float) -> None:
    model, look = untrained(name), load_model("look")
    frames = waves(1, 64, 64)[None]
    frames[..., 20:40, 20:40] = 1.0
    inputs = {"thumbs": thumbnail(frames, 64), "brightness": torch.tensor([brightness])}
    with torch.no_grad():
        codes, _ = model(frames, {}, **inputs)
        mapped, _ = look(lit(frames[:, 0])[:, None], {}, **inputs)
        plain, _ = look(frames, {}, **inputs)
    assert torch.allclose(codes, mapped, atol=3e-5)
    assert (codes - plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", sorted(SMALL))
def test_the_look_of_a_state_has_the_vector_first_and_then_the_looks_numbers(name: str) -> None:
    model, spec = untrained(name), registry.spec(name, {**SMALL[name], "base": "told"})
    thumbs, told = torch.rand(2, 3, 64, 64), torch.tensor([1.5, 3.0])
    assert model.look is not None
    with torch.no_grad():
        look = model.read_look(thumbs, told)
        assert torch.equal(look[:, :128], model.look.vector(thumbs))
        assert torch.equal(look[:, 128:], load_model("look").read_look(thumbs, told))
    assert look.shape == (2, spec.look) and spec.brightness and spec.greys


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_networks_have_the_reader_of_the_bundled_look(name: str) -> None:
    model, look = load_model(name).state_dict(), load_model("look").state_dict()
    assert all(torch.equal(model[key], value) for key, value in look.items())


@pytest.mark.parametrize("name", BUNDLED)
def test_a_mid_grey_is_as_bright_as_asked_for(name: str) -> None:
    loaded = open_model(name)
    for brightness in (1.0, 2.5, 4.5):
        look = loaded.model.read_look(torch.rand(1, 3, 64, 64), torch.tensor([brightness]))
        state = loaded.model.new_state((64, 64), look)
        with torch.no_grad():
            greys = pq_eotf(loaded.model.greys(GREYS, state))
        assert float(greys[512]) == pytest.approx(brightness * MID_GREY, rel=1e-3)
        assert (greys.diff() >= 0).all() and greys[0] < 0.001


@pytest.mark.parametrize("name", BUNDLED)
def test_a_grey_picture_comes_out_grey_black_and_as_bright_as_asked_for(name: str) -> None:
    ramp = torch.linspace(0, 1, 5).repeat_interleave(64).expand(5, 3, 64, 320).contiguous()
    codes = rendered(name, ramp, 2.0)[2]
    assert torch.allclose(codes, codes[:1].expand_as(codes), atol=2e-5)
    nits = pq_eotf(codes[1, 16:48])
    assert nits[:, :32].max() < 0.05
    # a repair may move a code or two
    assert float(nits[:, 144:176].mean()) == pytest.approx(2.0 * MID_GREY, rel=0.02)


@pytest.mark.parametrize("name", BUNDLED)
def test_an_intact_picture_is_nearly_that_of_the_look(name: str) -> None:
    clean = pictures(through_planes(texture()))
    change = (rendered(name, clean) - rendered("look", clean))[2] * 1023
    assert change.square().mean().sqrt() < 0.6


@pytest.mark.parametrize("name", ["kpnet-light", "fmstfnet"])
def test_a_compressed_picture_is_repaired(name: str) -> None:
    planes = through_planes(texture())
    coded = USUAL_DAMAGE.through(planes, 37, "libx264", np.random.default_rng(1))
    clean, damaged = pictures(planes), pictures(coded)
    wanted, unrepaired, found = (
        rendered(*each)[2] for each in (("look", clean), ("look", damaged), (name, damaged))
    )
    assert psnr(found, wanted) > psnr(unrepaired, wanted) + 0.01


@pytest.mark.parametrize("name", ["kpnet-light", "didnet-tiny", "fmstfnet"])
def test_windows_with_their_state_are_one_run(name: str) -> None:
    loaded = open_model(name)
    frames, told = waves(9, 64, 64)[None], torch.tensor([3.0])
    thumbs = thumbnail(frames, 64)
    with torch.no_grad():
        whole, _ = loaded.model(frames, {}, thumbs=thumbs, brightness=told)
        first, state = loaded.model(
            frames[:, :7], {}, future=3, thumbs=thumbs[:, :7], brightness=told
        )
        second, _ = loaded.model(
            frames[:, 1:], state, past=3, thumbs=thumbs[:, 1:], brightness=told
        )
        anew, _ = loaded.model(frames[:, 1:], {}, past=3, thumbs=thumbs[:, 1:], brightness=told)
    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-4)
    assert (anew - second).abs().max() > 3e-4  # what the scene showed before counts


@pytest.mark.parametrize("name", ["kpnet", "kpnet-light", "didnet-tiny"])
def test_a_state_follows_from_thumbnails_alone(name: str) -> None:
    loaded = open_model(name)
    frames = waves(4, 64, 96)
    r = Renderer(loaded.model, loaded.spec, (64, 96), device="cpu", grade=Grade(1.7))
    recalled, run = r.new_states(), r.new_states()
    for frame in frames:
        r.recall(frame, recalled)
    list(r.run(iter(frames), Run(0, 4, 0, 4), run))
    for key, value in run[0].items():
        assert torch.allclose(recalled[0][key], value, atol=1e-5)


@pytest.mark.parametrize("name", BUNDLED)
def test_tiles_are_the_whole_frame_within_the_tolerance(name: str) -> None:
    spec = open_model(name).spec
    tile = 2 * spec.overlap + 64
    frames = F.interpolate(F.avg_pool2d(waves(1, 128, tile + 128), 8), scale_factor=8.0)
    whole, tiled = (rendered(name, frames, tile=t) for t in (4096, tile))
    assert (whole - tiled).abs().max() <= spec.tolerance
