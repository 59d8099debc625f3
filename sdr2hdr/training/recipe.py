"""A training recipe: everything that decides a weight, as data."""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sdr2hdr.errors import InputError


@dataclass(frozen=True)
class Stage:
    """``steps`` optimiser steps of ``batch`` clips of ``frames`` frames, cut to ``patch`` pixels."""

    steps: int
    batch: int
    frames: int
    patch: int


@dataclass(frozen=True)
class Recipe:
    """``clips`` training clips are made once; ``stages`` follow each other under one cosine of the learning rate."""

    name: str
    model: str
    clips: int
    stages: tuple[Stage, ...]
    learning_rate: float = 4e-4
    warmup: int = 100
    mse_weight: float = 10.0
    ema: float = 0.999
    seed: int = 0
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return sum(s.steps for s in self.stages)

    def stage_at(self, step: int) -> Stage:
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]


def read_recipe(path: Path) -> Recipe:
    """A recipe from TOML; raises InputError naming the file and the key that is unknown, missing or of the wrong kind."""
    try:
        data = tomllib.loads(path.read_text())
        stages = tuple(Stage(**s) for s in data.pop("stages"))
        unknown = set(data) - {f.name for f in fields(Recipe)}
        if unknown:
            raise InputError(
                f"Recipe {path} has the unknown key {sorted(unknown)[0]!r}; see docs/training.md for the known ones."
            )
        recipe = Recipe(stages=stages, **data)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise InputError(f"Recipe {path} cannot be read: {e}.") from e
    except (KeyError, TypeError) as e:
        raise InputError(f"Recipe {path} is not complete: {e}; see docs/training.md.") from e
    for s in stages:
        if min(s.steps, s.batch, s.frames, s.patch) < 1 or s.patch % 8:
            raise InputError(f"Recipe {path} has an impossible stage {s}: all must be positive, patch a multiple of 8.")
    return recipe
