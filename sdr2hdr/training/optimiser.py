"""What changes the weights: Adam, or Muon for convolutions and Adam for the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sdr2hdr.errors import InputError
from sdr2hdr.training.recipe import Recipe

LEAST = 16
"""Convolutions with fewer outputs are Adam's: they make pictures, and begin at zero."""


class Optimiser:
    """Changes ``weights`` in place as a recipe says. Raises InputError if this PyTorch has no Muon and the recipe asks for it.

    Muon (Jordan et al., 2024) sees a convolution as a matrix, of its outputs by all that each of them sees, and takes a step of
    one length in every direction of it. Steps are as long as Adam's usually are, so one learning rate serves both.
    """

    def __init__(self, recipe: Recipe, weights: Sequence[Tensor]) -> None:
        muon = recipe.optimiser == "muon"
        if muon and not hasattr(torch.optim, "Muon"):
            raise InputError(
                f"Recipe {recipe.name} trains with Muon, which PyTorch {torch.__version__} does not have; install PyTorch 2.9"
                ' or newer, or write optimiser = "adam".'
            )
        turned = [muon and w.ndim > 2 and len(w) >= LEAST for w in weights]
        self._convolutions = [w for w, is_muons in zip(weights, turned, strict=True) if is_muons]
        self._matrices = [w.view(len(w), -1) for w in self._convolutions]
        rest = [w for w, is_muons in zip(weights, turned, strict=True) if not is_muons]
        self._parts: dict[str, torch.optim.Optimizer] = {
            "adam": torch.optim.Adam(rest, lr=recipe.learning_rate, betas=recipe.betas)
        }
        if self._matrices:
            self._parts["muon"] = torch.optim.Muon(
                self._matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            )

    def step(self, rate: float) -> None:
        """Change the weights by their gradients, with the learning rate ``rate``."""
        for matrix, whole in zip(self._matrices, self._convolutions, strict=True):
            matrix.grad = None if whole.grad is None else whole.grad.reshape(matrix.shape)
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, by key."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` put into a checkpoint."""
        for name, part in self._parts.items():
            part.load_state_dict(checkpoint[name])
