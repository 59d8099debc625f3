"""Two small frames are alike where they show the same place, whatever the light and the camera do."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sdr2hdr.scenes.likeness import Structure, likeness

Picture = NDArray[np.float32]


def world(seed: int) -> Picture:
    """Luma larger than a small frame, ``80,160``: rectangles over one another."""
    random = np.random.default_rng(seed)
    luma = np.full((80, 160), 0.5, np.float32)
    for y, x, h, w in random.integers((0, 0, 3, 3), (80, 160, 18, 30), (400, 4)):
        luma[y : y + h, x : x + w] = random.random()
    return luma


def seen(luma: Picture, down: int, right: int) -> Structure:
    """What a camera sees of it that looks at (20 + down, 48 + right)."""
    part = luma[20 + down : 56 + down, 48 + right : 112 + right]
    return Structure(np.stack([part, np.full_like(part, 0.5), np.full_like(part, 0.5)]))


@pytest.mark.parametrize("move", [(0, 0), (2, 1), (-1, -2), (0, 20), (0, -22), (10, 0), (-8, 14)])
def test_what_the_camera_still_sees_is_found_again(move: tuple[int, int]) -> None:
    """All but the part that left the picture, and what the blocks at its edge lose."""
    luma = world(1)
    correlation, share = likeness(seen(luma, 0, 0), seen(luma, *move))
    left = (1 - abs(move[0]) / 36) * (1 - abs(move[1]) / 64)
    assert share > left - 0.2
    assert correlation > left - 0.1


def test_light_does_not_count() -> None:
    luma = world(1)
    shade = np.linspace(0.3, 0.9, 160, dtype=np.float32)
    correlation, share = likeness(seen(luma, 0, 0), seen(luma * shade + np.float32(0.05), 0, 0))
    assert correlation > 0.9
    assert share > 0.95


@pytest.mark.parametrize("seed", range(2, 7))
def test_other_places_have_little_in_common(seed: int) -> None:
    """Less than the detector allows on either side of a cut."""
    correlation, share = likeness(seen(world(1), 0, 0), seen(world(seed), 0, 0))
    assert correlation < 0.5
    assert share < 0.3
