"""What a model needs, as data, and the contract that all models keep."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

State = dict[str, Tensor]
"""What a model remembers within a scene: named tensors that can be saved. Empty for a model without memory."""


@dataclass(frozen=True)
class ModelSpec:
    """A model's needs. ``past`` and ``future`` count context frames, ``block`` the frames returned a call.

    ``tolerance`` is the largest difference between tiles and the whole frame, in PQ code values 0..1, as measured by
    ``benchmarks/tiles.py``. Neighbouring tiles share ``overlap`` places, of which the outer ``margin`` of each are not used.
    A model that ``has_aux`` also gives restored SDR frames, from a method ``forward_with_aux``. One with ``place`` is told, as
    ``place B,4``, where in the picture its frames lie: top, left, bottom, right in shares of it. One with ``exposures`` is told
    those of its frames, ``exposures B,T``, where they alternate. One with ``noise`` is given so many channels of it,
    ``noise B,C,H/8,W/8``, the same for the same place in every frame and tile. ``bytes_per_pixel`` estimates working memory a
    pixel of one frame in float32.
    """

    name: str
    title: str
    paper: str
    past: int = 0
    future: int = 0
    block: int = 8
    multiple: int = 1
    stateful: bool = False
    thumb: int = 0
    place: bool = False
    exposures: bool = False
    noise: int = 0
    tile: int = 1024
    overlap: int = 0
    margin: int = 0
    tolerance: float = 0.0
    precisions: tuple[str, ...] = ("float32",)
    bytes_per_pixel: int = 100
    has_weights: bool = True
    has_aux: bool = False
    config: dict[str, Any] = field(default_factory=dict)


class Model(Protocol):
    """The contract of every model; an ``nn.Module`` with these two methods."""

    def new_state(self, size: tuple[int, int]) -> State:
        """What a scene (or a tile ``height, width`` of it) starts with."""

    def __call__(
        self, frames: Tensor, state: State, *, past: int = 0, future: int = 0, thumbs: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """SDR BT.709 R'G'B' 0..1 ``B,T,3,H,W`` to BT.2020 PQ codes ``B,T-past-future,3,H,W``, and the state after them."""
