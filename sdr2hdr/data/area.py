"""Areas of pictures that clips are cut from."""

import numpy as np

from sdr2hdr.errors import InputError


def window(
    rng: np.random.Generator, whole: tuple[int, int], size: tuple[int, int]
) -> tuple[tuple[slice, slice], int]:
    """A drawn area of a picture (height, width), and by how much it is to be shrunk to become ``size``."""
    shrink = int(rng.integers(1, min(a // b for a, b in zip(whole, size, strict=True)) + 1))
    at = [
        int(rng.integers(0, (a - b * shrink) // 2 + 1)) * 2
        for a, b in zip(whole, size, strict=True)
    ]
    y, x = (slice(a, a + b * shrink) for a, b in zip(at, size, strict=True))
    return (y, x), shrink


def drawn_area(
    rng: np.random.Generator, whole: tuple[int, int], size: tuple[int, int]
) -> tuple[slice, slice]:
    """A drawn area of a picture (height, width) of a size, at even rows and columns."""
    y, x = (int(rng.integers(0, (a - b) // 2 + 1)) * 2 for a, b in zip(whole, size, strict=True))
    return slice(y, y + size[0]), slice(x, x + size[1])


def check_size(named: str, found: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise InputError if pictures of ``found`` (width, height) are smaller than clips of ``size`` (height, width).

    ``named`` begins the sentence: "film.mkv is".
    """
    width, height = found
    if height < size[0] or width < size[1]:
        raise InputError(
            f"{named} {width}x{height}, smaller than the recipe's clips of {size[1]}x{size[0]}; ask for smaller ones in [clips]."
        )
