"""Noise where nothing moves is averaged; what moves, fades or flashes is not held back."""

import torch

from sdr2hdr.models.base.steady import steadied


def moving(count: int) -> torch.Tensor:
    """A texture of 40 codes that moves by two pixels a frame, ``1,T,3,H,W``."""
    torch.manual_seed(0)
    picture = torch.nn.functional.interpolate(
        torch.rand(1, 3, 24, 40), scale_factor=4, mode="bilinear"
    )[0]
    picture = 0.4 + (picture - 0.5) * (40 / 255)
    return torch.stack([picture.roll(2 * t, -1) for t in range(count)])[None]


def test_noise_of_one_code_is_more_than_halved_in_variance() -> None:
    torch.manual_seed(1)
    noise = torch.randn(1, 5, 3, 64, 64) / 255
    found = steadied(0.5 + noise, 2)
    assert float((found - 0.5).square().mean()) < 0.5 * float(noise.square().mean())


def test_a_moving_texture_stays_as_it_is() -> None:
    frames = moving(5)
    assert float((steadied(frames, 2) - frames[:, 2]).abs().mean()) < 0.1 / 255


def test_a_fade_is_not_held_back() -> None:
    picture = torch.rand(3, 32, 32) * 0.5
    fade = torch.stack([picture + t / 255 for t in range(5)])[None]
    torch.testing.assert_close(steadied(fade, 2), fade[:, 2], atol=1e-6, rtol=0)


def test_a_flash_and_the_ends_of_a_scene_stay_as_they_are() -> None:
    frames = torch.full((1, 5, 3, 16, 16), 0.3)
    frames[:, 2] = 0.6
    torch.testing.assert_close(steadied(frames, 2), frames[:, 2], atol=1e-6, rtol=0)
    torch.testing.assert_close(steadied(frames, 1), frames[:, 1], atol=1e-6, rtol=0)
    noisy = torch.rand(1, 5, 3, 16, 16)
    assert torch.equal(steadied(noisy, 0), noisy[:, 0]) and torch.equal(
        steadied(noisy, 4), noisy[:, 4]
    )
