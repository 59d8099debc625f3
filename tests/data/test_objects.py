"""Objects that move by themselves in front of simulated exposures."""

import torch

from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.data.exposures import drawn
from sdr2hdr.data.objects import SPEEDS, with_object


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_object_of_another_light_goes_its_own_way_at_a_steady_pace() -> None:
    still, other = torch.full((8, 7, 3, 96, 128), 0.4), torch.full((8, 3, 96, 128), 0.6)
    found, cover = with_object(still, other, generator(1))
    assert (
        cover.shape == (8, 7, 1, 96, 128) and float(cover.min()) >= 0 and float(cover.max()) > 0.99
    )
    assert torch.allclose(
        found.where(cover < 0.001, still), still, atol=1e-2
    )  # before it the scene stays
    inside = (cover > 0.99).expand_as(found)
    light = pq_eotf(found)[inside] / pq_eotf(torch.tensor(0.6))
    assert float(light.min()) > 0.24 and float(light.max()) < 4.1 and float(light.std()) > 0.1
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    steady = 0
    for clip in cover[:, :, 0]:
        edge = torch.cat([clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]], 1)
        if float(edge.max()) > 0.01:  # partly outside: its middle cannot be seen
            continue
        middles = (
            torch.stack([(clip * y).sum((1, 2)), (clip * x).sum((1, 2))], 1)
            / clip.sum((1, 2))[:, None]
        )
        steps = middles.diff(dim=0)
        assert torch.allclose(steps, steps[:1].expand_as(steps), atol=0.05)
        assert SPEEDS[0] - 0.05 < float(steps[0].norm()) < SPEEDS[1] + 0.05
        steady += 1
    assert steady


def test_its_surface_goes_with_it() -> None:
    rows = torch.linspace(0.2, 0.7, 96)[:, None].expand(96, 96)
    found, cover = with_object(
        torch.full((1, 3, 3, 96, 96), 0.1), rows.expand(1, 3, 96, 96), generator(4)
    )
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    seen = []
    for t in range(3):
        weight = cover[0, t, 0]
        at = [int(((weight * place).sum() / weight.sum()).round()) for place in (y, x)]
        seen.append(float(found[0, t, 0, at[0], at[1]]))
    assert max(seen) - min(seen) < 0.02 < abs(seen[0] - 0.1)


def test_half_of_the_shots_have_one_and_all_follow_from_the_generator() -> None:
    codes = torch.stack([torch.full((3, 3, 48, 48), level) for level in (0.3, 0.5)])
    moving = 0
    for seed in range(24):
        one, two = (drawn(codes, generator(seed)) for _ in range(2))
        assert torch.equal(one.frames, two.frames) and torch.equal(one.truth, two.truth)
        moving += float(one.truth[0, 1].std()) > 1e-3
    assert 6 <= moving <= 18
