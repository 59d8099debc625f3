"""A training task: the models that can do it, the weights it trains, and its loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from sdr2hdr.data.store import Batch
from sdr2hdr.errors import InputError
from sdr2hdr.models.model import Model
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.training.memories import Memories
from sdr2hdr.training.recipe import Recipe, Stage

Net_contra = TypeVar("Net_contra", bound=Model, contravariant=True)

Features = Callable[[Tensor], Sequence[Tensor]]
"""A feature space: maps of some layers for pictures ``N,3,H,W``."""


@dataclass(frozen=True)
class Step:
    """The position in training: step ``within`` its stage. The ``generator`` is seeded from the recipe and the step alone,
    so that a resumed run draws the same; ``features`` are those of the perceptual loss and ``memories`` those of scenes, if
    the recipe has any."""

    recipe: Recipe
    stage: Stage
    within: int
    spec: ModelSpec
    generator: torch.Generator
    features: Features | None = None
    memories: Memories | None = None


class Task(ABC, Generic[Net_contra]):
    """One kind of training stage. Recipes and the ``tasks`` of a ModelSpec use its ``name``."""

    name: str
    reads_thumbs: ClassVar[bool] = True
    makes_hdr: ClassVar[bool] = False
    """Whether the task trains the output of the whole network, so that select clips can choose the best weights."""

    def undamaged(self, recipe: Recipe, spec: ModelSpec) -> bool:
        """Whether batches need the SDR before compression."""
        return False

    def check(self, recipe: Recipe, stage: Stage, spec: ModelSpec) -> None:
        """Raise InputError if the recipe's model cannot do the stage."""
        if self.name not in spec.tasks:
            raise InputError(
                f"Recipe {recipe.name} has a stage of the task {self.name}, which model {recipe.model} cannot do; "
                "leave it out."
            )

    def trains(self, parameter: str) -> bool:
        """Whether the stage trains the parameter of that name, unless the recipe freezes it."""
        return True

    def leaves(self, net: Net_contra, parameter: str) -> bool:
        """Whether the next stage of another task takes the parameter over; otherwise it is reinitialised."""
        return True

    @abstractmethod
    def loss(self, net: Net_contra, batch: Batch, step: Step) -> Tensor:
        """The loss of a batch, a scalar with gradients."""
