"""The look reader: greys, black, memory, and what the bundled weight makes of different looks."""

import pytest
import torch

from sdr2hdr import load_model
from sdr2hdr.color.ictcp import delta_e_itp
from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf
from sdr2hdr.models.look_base import LookBase
from sdr2hdr.models.parts.precision import to_precision


@pytest.fixture
def random_look() -> LookBase:
    """A reader whose every layer does something."""
    torch.manual_seed(3)
    model = LookBase().eval()
    for p in model.look.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model


def test_greys_stay_grey_and_black_stays_black_whatever_the_weights(
    random_look: LookBase,
) -> None:
    ramp = torch.linspace(0, 1, 256).expand(1, 1, 3, 4, 256)
    with torch.inference_mode():
        codes = random_look(ramp, {}, thumbs=torch.rand(1, 1, 3, 64, 64))[0][0, 0]
    assert torch.allclose(codes, codes[:1].expand_as(codes), atol=1e-5)
    assert pq_eotf(codes[:, :, 0]).max() < 0.001


def test_another_picture_gives_another_mapping(random_look: LookBase) -> None:
    frame = torch.rand(1, 1, 3, 8, 8)
    with torch.inference_mode():
        dark, bright = (
            random_look(frame, {}, thumbs=torch.rand(1, 1, 3, 64, 64) * k)[0] for k in (0.2, 1.0)
        )
    assert (dark - bright).abs().max() > 0.01


def test_a_tile_is_mapped_as_in_the_whole_frame(random_look: LookBase) -> None:
    frame, thumbs = torch.rand(1, 1, 3, 300, 400), torch.rand(1, 1, 3, 64, 64)
    with torch.inference_mode():
        whole = random_look(frame, {}, thumbs=thumbs)[0]
        tile = random_look(frame[..., 100:200, 60:360], {}, thumbs=thumbs)[0]
    assert torch.allclose(whole[..., 100:200, 60:360], tile, atol=1e-5)


def test_the_look_is_the_mean_over_the_scene_so_far(random_look: LookBase) -> None:
    thumbs = torch.rand(1, 5, 3, 64, 64)
    with torch.inference_mode():
        state = random_look(torch.rand(1, 5, 3, 8, 8), {}, thumbs=thumbs)[1]
        wanted = torch.stack([random_look.look.vector(thumbs[:, t]) for t in range(5)]).mean(0)
    assert torch.allclose(state["look"], wanted, atol=1e-5)
    assert float(state["look_frames"]) == 5


def test_in_low_precision_the_mapping_is_still_float32(random_look: LookBase) -> None:
    frames, thumbs = torch.rand(1, 1, 3, 16, 16), torch.rand(1, 1, 3, 64, 64)
    with torch.inference_mode():
        wanted = random_look(frames, {}, thumbs=thumbs)[0]
        got = to_precision(random_look, torch.bfloat16)(frames, {}, thumbs=thumbs)[0]
    assert got.dtype == torch.float32 and torch.allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["look-base", "wmnet"])
def test_bundled_weights_keep_greys_grey_and_rising_and_black_black(name: str) -> None:
    model = load_model(name)
    steps = torch.linspace(0, 1, 16).repeat_interleave(16)
    ramp = steps.expand(1, 1, 3, 64, 256).contiguous()
    with torch.inference_mode():
        thumbs = torch.nn.functional.adaptive_avg_pool2d(ramp[0], 64)[None]
        codes = model(ramp, {}, thumbs=thumbs, brightness=torch.tensor([2.5]))[0][0, 0]
    inner = torch.stack(
        [codes[:, 16:48, i * 16 + 4 : i * 16 + 12].mean((1, 2)) for i in range(16)], dim=1
    )
    nits = pq_eotf(inner)
    assert (nits[1].diff() > 0).all()
    assert nits[:, 0].max() < 0.05
    assert 300 < nits[1, -1] < 1100
    neutral = pq_inverse_eotf((nits * torch.tensor([[0.2627], [0.6780], [0.0593]])).sum(0)).expand(
        3, -1
    )
    assert delta_e_itp(inner[..., None], neutral[..., None])[3:].max() < (
        0.1 if name == "look-base" else 15.0
    )
