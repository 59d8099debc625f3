"""The split of scenes into training, selection and results, and the random numbers of each."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

Split = Literal["train", "select", "val"]
TrainingSplit = Literal["train", "select"]

_ORDER: tuple[Split, ...] = ("train", "val", "select")  # part of every seed: clips change with it


def rng(seed: int, split: Split, *key: int) -> np.random.Generator:
    """The random numbers of one clip: they follow from (seed, split, key) alone."""
    return np.random.default_rng([seed, _ORDER.index(split), *key])


def is_val(name: str) -> bool:
    """Whether a scene is for results, in a corpus that does not list its splits: one in eight by the name's hash."""
    return _digest(name)[0] % 8 == 0


def is_select(name: str) -> bool:
    """Whether a scene for training is set aside to choose the best weight on: one in eight by the name's hash."""
    return _digest(name)[-1] % 8 == 0


def set_aside(names: Sequence[str], split: TrainingSplit) -> list[str]:
    """The names for ``train`` or for ``select``; ``select`` gets none if ``train`` were left with nothing."""
    held = {n for n in names if is_select(n)}
    if held == set(names):
        held = set()
    return [n for n in names if (n in held) == (split == "select")]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
