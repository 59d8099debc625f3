"""The learning rate of a step, as a recipe has it."""

import math
from bisect import bisect_right

from sdr2hdr.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of ``step``, which counts from 0: a warm-up, then the recipe's schedule, over all stages or over each."""
    stage, within = recipe.stage_at(step)
    at, steps = (within, stage.steps) if recipe.anew else (step, recipe.steps)
    if at < recipe.warmup:
        return recipe.learning_rate * (at + 1) / recipe.warmup
    if recipe.schedule == "halved":
        return recipe.learning_rate * max(0.5 ** _halvings(recipe, at), recipe.floor)
    x = (at - recipe.warmup) / max(steps - recipe.warmup, 1)
    left = 1 - x if recipe.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * x))
    return recipe.learning_rate * (recipe.floor + (1 - recipe.floor) * left)


def _halvings(recipe: Recipe, step: int) -> int:
    """How often the rate was halved before a step."""
    times = sorted(recipe.halved_at)
    count = bisect_right(times, step)
    last = times[-1] if times else 0
    if recipe.halved_every and step >= last:
        count += (step - last) // recipe.halved_every
    return count
