"""The model look: what its 18 numbers promise whatever they are, and what the bundled weight makes of real grades' greys."""

import pytest
import torch
from torch import Tensor

from sdr2hdr import load_model
from sdr2hdr.color.exposure import MID_GREY
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.network import Look
from sdr2hdr.models.parts.precision import to_precision


def drawn(count: int = 64) -> Tensor:
    """Looks ``count,18`` of any brightness from numbers of any size."""
    torch.manual_seed(0)
    raw = 4 * torch.randn(count, tone.NUMBERS)
    raw[:, 0] = torch.empty(count).uniform_(1.0, 4.5)
    return tone.bounded(raw)


@pytest.fixture
def random_look() -> Look:
    """A reader whose every layer does something."""
    torch.manual_seed(3)
    model = Look().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model


def test_a_mid_grey_is_as_bright_as_is_asked_for_whatever_the_other_numbers_are() -> None:
    looks = drawn()
    grey = torch.full((len(looks), 3, 1, 1), 0.5)
    nits = tone.light(grey, looks)[:, 1, 0, 0]
    torch.testing.assert_close(nits, looks[:, 0] * MID_GREY, rtol=1e-4, atol=0)


def test_greys_stay_grey_and_rise_up_to_the_peak_and_black_stays_black() -> None:
    looks = drawn()
    ramp = torch.linspace(0, 1, 257).expand(len(looks), 3, 1, 257)
    nits = tone.light(ramp, looks)[:, :, 0]
    assert (nits - nits[:, :1]).abs().max() < 0.01
    rises = nits[:, 1].diff(dim=-1)
    assert (rises > -1e-3).all()
    assert nits.max() <= tone.PEAK + 1e-2 and nits[..., 0].max() < 0.001


def test_a_colour_never_gains_more_saturation_than_the_bound_allows() -> None:
    """A green film keeps its blue: no channel of a saturated colour is lost."""
    looks = drawn()
    green = torch.tensor([0.25, 0.5, 0.15]).view(1, 3, 1, 1).expand(len(looks), 3, 1, 1)
    nits = convert(tone.light(green, looks), "bt2020", "bt709")[..., 0, 0]
    assert (nits[:, 2] / nits[:, 1] > 0.25 * (0.15 / 0.5) ** 2.4).all()


def test_the_look_is_the_mean_over_the_scene_so_far(random_look: Look) -> None:
    thumbs, told = torch.rand(1, 5, 3, 64, 64), torch.tensor([2.0])
    with torch.inference_mode():
        frames = torch.rand(1, 5, 3, 8, 8)
        state = random_look(frames, {}, thumbs=thumbs, brightness=told)[1]
        wanted = torch.stack([random_look.read_look(thumbs[:, t], told) for t in range(5)]).mean(0)
    assert torch.allclose(state["look"], wanted, atol=1e-5)
    assert float(state["look_frames"]) == 5


def test_in_low_precision_the_mapping_is_still_float32(random_look: Look) -> None:
    frames, thumbs = torch.rand(1, 1, 3, 16, 16), torch.rand(1, 1, 3, 64, 64)
    told = torch.tensor([2.0])
    with torch.inference_mode():
        wanted = random_look(frames, {}, thumbs=thumbs, brightness=told)[0]
        net = to_precision(random_look, torch.bfloat16)
        got = net(frames, {}, thumbs=thumbs, brightness=told)[0]
    assert got.dtype == torch.float32 and torch.allclose(got, wanted, atol=1e-5)


def test_without_a_brightness_the_model_says_what_it_needs(random_look: Look) -> None:
    with pytest.raises(ValueError, match="needs the brightness"):
        random_look(torch.rand(1, 1, 3, 8, 8), {}, thumbs=torch.rand(1, 1, 3, 64, 64))


@pytest.mark.parametrize("brightness", [1.5, 2.5, 4.0])
def test_the_bundled_look_rises_as_real_grades_do(brightness: float) -> None:
    """Real grades have 3.7 to 4.5 times the light of code 0.5 at 0.75, and 7 to 25 times at 0.9 (ours used to have 5.5)."""
    model = load_model("look")
    thumbs = torch.rand(1, 3, 64, 64).pow(1.5)
    with torch.inference_mode():
        look = model.read_look(thumbs, torch.tensor([brightness]))
        state = model.new_state((8, 8), look)
        greys = pq_eotf(model.greys(torch.tensor([0.0, 0.5, 0.75, 0.9, 1.0]), state))
    black, middle, three_quarters, bright, white = greys.tolist()
    assert middle == pytest.approx(brightness * MID_GREY, rel=1e-3)
    assert 2.5 < three_quarters / middle < 5.0
    assert 5.5 < bright / middle < 20
    assert bright < white <= 1000.1
    assert black < 0.001
