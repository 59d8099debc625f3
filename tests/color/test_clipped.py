"""Clipped areas get light that falls towards their edges; hues, greys and everything else stay as they are."""

import pytest
import torch
from torch import Tensor

from sdr2hdr.color.clipped import HIGHEST, averaged, lit
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import bt1886_eotf
from sdr2hdr.models.look import tone

LOOK = tone.bounded(torch.tensor([[2.5, *[0.0] * 17]]))


def lamp(
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0), size: int = 96
) -> tuple[Tensor, Tensor]:
    """The logarithm of a round lamp's light ``H,W``, brightest in its middle, and its SDR picture ``1,3,H,W``, clipped there."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    far = ((y - size // 2) ** 2 + (x - size // 2) ** 2).float() / (size / 6) ** 2
    light = 0.1 + 6 * torch.exp(-far)
    sdr = (light * torch.tensor(colour)[:, None, None]).clamp(0, 1).pow(1 / 2.4)
    return light.log(), (sdr * 255).round()[None] / 255


def test_a_lamp_is_brightest_in_its_middle_and_has_no_ring() -> None:
    light, sdr = lamp()
    found = lit(sdr)[0, 1]
    white = sdr[0].amin(0) == 1
    assert 1.01 < found[48, 48] <= HIGHEST
    across = found[48, 48:][white[48, 48:]]
    assert (across.diff() <= 1e-6).all()
    assert across[-1] < across[0] - 0.02
    both = torch.stack([found[white], light[white]])
    assert torch.corrcoef(both)[0, 1] > 0.8


def test_nothing_changes_where_nothing_is_clipped_or_colours_are_saturated() -> None:
    random = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(1))
    assert torch.equal(lit(random * 242 / 255), random * 242 / 255)
    saturated = random.clone()
    saturated[:, 0], saturated[:, 2] = 1.0, random[:, 2] / 2
    assert torch.equal(lit(saturated), saturated)
    _, sdr = lamp()
    outside = (sdr.amax(1, keepdim=True) < 242 / 255).expand_as(sdr)
    assert torch.equal(lit(sdr)[outside], sdr[outside])


def test_a_brighter_grey_stays_brighter() -> None:
    """Also next to the darkest and the brightest surroundings."""
    for around in (0.0, 0.9, 1.0):
        picture = torch.full((1, 3, 41, 41), around)
        found = []
        for code in range(236, 256):
            picture[..., 18:23, 18:23] = code / 255
            found.append(float(lit(picture)[0, 0, 20, 20]))
        assert sorted(found) == found


def test_greys_stay_grey_and_hues_as_they_are() -> None:
    _, grey = lamp()
    assert torch.equal(lit(grey)[:, 0], lit(grey)[:, 2])
    _, warm = lamp((1.0, 0.8, 0.6))
    found = lit(warm)
    assert (found - warm).abs().max() > 0.01
    assert torch.allclose(found[:, 1:] * warm[:, :1], warm[:, 1:] * found[:, :1], atol=1e-6)


def test_codes_above_one_are_more_light_of_the_same_colour_up_to_the_peak() -> None:
    colour = torch.tensor([1.0, 0.97, 0.9]).view(1, 3, 1, 1)
    at = torch.linspace(1.0, 1.05, 24)
    nits = tone.light(colour * at, LOOK)[0, :, 0]
    assert (nits[0].diff() > 0).all()
    assert torch.allclose(nits / nits[0], (nits / nits[0])[:, :1].expand(3, 24), atol=1e-4)
    bright = LOOK.clone()
    bright[:, 0] = 4.5
    assert tone.light(colour * at * 2, bright).amax() <= tone.PEAK + 1e-3


def test_up_to_one_the_look_is_the_pixel_wise_mapping_of_bt1886_light() -> None:
    """A look of no rises is a straight line of light."""
    straight = LOOK.clone()
    straight[:, 1:12], straight[:, 12:15], straight[:, 15:] = 0.0, 0.0, 1.0
    sdr = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    wanted = convert(100 * 2.5 * bt1886_eotf(sdr), "bt709", "bt2020")
    assert torch.allclose(tone.light(sdr, straight), wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("reach", [1, 2, 8])
def test_averages_are_those_of_two_boxes(reach: int) -> None:
    x = torch.rand(1, 2, 20, 31, generator=torch.Generator().manual_seed(3))
    wanted = x
    for _ in range(2):
        padded = torch.nn.functional.pad(wanted, (reach,) * 4, mode="replicate")
        wanted = torch.nn.functional.avg_pool2d(padded, 2 * reach + 1, 1)
    assert torch.allclose(averaged(x, reach), wanted, atol=1e-6)
