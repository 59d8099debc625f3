"""A model's needs and abilities, as data."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

WHOLE = 8192
"""The edge of a tile that is the whole picture, for networks whose parts see all of what they are given."""

State = dict[str, Tensor]
"""A model's memory within a scene: named tensors that can be saved. Empty for a model without memory."""


@dataclass(frozen=True)
class ModelSpec:
    """A model's needs and abilities; :func:`sdr2hdr.models.registry.spec` fits them to a configuration.

    ``past`` and ``future`` are the context frames that the model sees before and after the frames it returns; ``block``
    is how many frames it returns per call. The sides of its frames are multiples of ``multiple`` pixels. ``thumb`` is
    the side of the thumbnails of the whole picture that it reads, in pixels (0: none), and ``look`` the length of the
    look vector that it reads from them (0: none). A model with ``state_from_thumbs`` has a state that depends on
    thumbnails alone, so that a scene can be remembered without rendering it.

    A model with ``place`` is told which part of the picture its frames are; one with ``exposures`` is told those of its
    frames if they alternate. One with ``noise`` is given that many channels of noise, one value for every ``noise_cell``
    x ``noise_cell`` pixels. :class:`~sdr2hdr.models.model.Inputs` has the shapes.

    Neighbouring tiles share ``overlap`` pixels, of which the outer ``margin`` of each tile are not used. ``tile`` is the
    default edge of a tile. ``tolerance`` is the largest difference between tiles and the whole frame in PQ codes 0..1,
    as measured by ``benchmarks/tiles.py``. ``bytes_per_pixel`` estimates the working memory for one frame in float32.

    A model with ``brightness`` is told which one is asked for (:mod:`sdr2hdr.color.exposure`), and gives it. One with ``qp`` is
    told how strongly its source was compressed. A model with
    ``greys`` says what it makes of them (:meth:`~sdr2hdr.models.model.Model.greys`), so its brightness and highlights can be
    changed.

    A ``pixelwise`` model maps each pixel alone, the same in the whole scene once its look is known, after its frames were
    steadied over ``past`` and ``future`` neighbours (:mod:`sdr2hdr.models.base.steady`).

    ``has_aux``: the model is a :class:`~sdr2hdr.models.model.RestoringModel`. ``tasks`` are the kinds of training stage
    that it knows. ``sizes``: the model is a :class:`~sdr2hdr.models.model.PyramidModel` that makes the picture at so many sizes
    (0: at its own alone). ``config`` are the arguments that its class is built with, and ``published`` those of the network as
    its paper or its published code has it, if it can be built so.
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
    look: int = 0
    state_from_thumbs: bool = False
    place: bool = False
    exposures: bool = False
    noise: int = 0
    noise_cell: int = 8
    tile: int = 1024
    overlap: int = 0
    margin: int = 0
    tolerance: float = 0.0
    precisions: tuple[str, ...] = ("float32",)
    bytes_per_pixel: int = 100
    has_weights: bool = True
    has_aux: bool = False
    brightness: bool = False
    qp: bool = False
    greys: bool = True
    pixelwise: bool = False
    sizes: int = 0
    tasks: tuple[str, ...] = ("mapping",)
    config: dict[str, Any] = field(default_factory=dict)
    published: dict[str, Any] | None = None

    @property
    def learnt(self) -> bool:
        """Whether the mapping is a trained one whose brightness can be set; standards and tables keep their own."""
        return bool(self.tasks) and self.greys
