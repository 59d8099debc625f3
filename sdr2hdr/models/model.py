"""The contract of all models, as types."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from torch import Tensor, nn

from sdr2hdr.errors import ModelError
from sdr2hdr.models.spec import ModelSpec, State


class Inputs(TypedDict, total=False):
    """Optional inputs of a model; its spec says which of them it reads.

    The first ``past`` and the last ``future`` frames are context: the model sees them, but neither returns them nor changes
    its state for them. ``thumbs B,T,3,S,S`` is the whole picture at a small size, R'G'B' 0..1. ``place B,4`` is the
    position of the frames in the picture: top, left, bottom, right as fractions (default: the whole picture). ``exposures
    B,T`` are relative times if they alternate, else None. ``noise B,C,h,w`` is normally distributed and belongs to areas of
    the picture (:func:`sdr2hdr.models.inputs.field`). ``brightness B`` is what is asked for
    (:mod:`sdr2hdr.color.exposure`). ``qp B`` is how strongly the scene was compressed (:mod:`sdr2hdr.media.quantiser`), NaN where
    that is not known.
    """

    past: int
    future: int
    thumbs: Tensor | None
    place: Tensor | None
    exposures: Tensor | None
    noise: Tensor | None
    brightness: Tensor | None
    qp: Tensor | None


@dataclass(frozen=True)
class Window:
    """Frames ``B,T,3,H,W``, SDR BT.709 R'G'B' 0..1, with their :class:`Inputs`."""

    frames: Tensor
    past: int = 0
    future: int = 0
    thumbs: Tensor | None = None
    place: Tensor | None = None
    exposures: Tensor | None = None
    noise: Tensor | None = None
    brightness: Tensor | None = None
    qp: Tensor | None = None

    @property
    def inner(self) -> range:
        """The frames to return: all but the context."""
        return range(self.past, self.frames.shape[1] - self.future)

    def thumb(self, t: int) -> Tensor:
        """The thumbnail ``B,3,S,S`` of frame ``t``; raises ValueError if the caller gave none."""
        if self.thumbs is None:
            raise ValueError("this model needs thumbs: the whole picture at a small size")
        return self.thumbs[:, t]

    @property
    def told(self) -> Tensor:
        """The brightness ``B`` that is asked for; raises ValueError if the caller gave none."""
        if self.brightness is None:
            raise ValueError("this model needs the brightness that is asked for")
        return self.brightness


class Model(nn.Module, ABC):
    """SDR frames in, PQ codes out. A network implements :meth:`render`; its :class:`ModelSpec` states its needs."""

    remembers = False
    """Whether training may carry the state over to another clip of the scene (:mod:`sdr2hdr.training.memories`). It then holds
    ``slots B,n,...``, of which some may be empty: ``held B,n``."""

    def new_state(self, size: tuple[int, int], look: Tensor | None = None) -> State:
        """The state at the start of a scene, for a tile of ``height, width``.

        ``look B,V`` is the scene's look if it is known before the first frame; only for models that read one.
        """
        if look is not None:
            raise ValueError("this model reads no look")
        return {}

    def forward(
        self, frames: Tensor, state: State, **inputs: Unpack[Inputs]
    ) -> tuple[Tensor, State]:
        """BT.2020 PQ codes ``B,T-past-future,3,H,W``, not clamped, and the state after them.

        ``frames B,T,3,H,W`` are SDR BT.709 R'G'B' 0..1. At the ends of a scene there is less context, never a frame of
        another scene. Raises ValueError if the spec asks for an input that is missing.
        """
        return self.render(Window(frames, **inputs), state)

    if TYPE_CHECKING:
        # nn.Module types its calls as Any
        def __call__(
            self, frames: Tensor, state: State, **inputs: Unpack[Inputs]
        ) -> tuple[Tensor, State]: ...

    @abstractmethod
    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        """The implementation of :meth:`forward`."""

    def read_look(self, thumbs: Tensor, brightness: Tensor) -> Tensor:
        """The looks ``B,V`` of thumbnails ``B,3,S,S``; only for models that read a look.

        ``brightness B`` is what is asked for; models whose spec has no ``brightness`` ignore it.
        """
        raise ValueError("this model reads no look")

    def greys(self, codes: Tensor, state: State) -> Tensor:
        """PQ codes ``N`` of greys of SDR codes ``N`` 0..1, before any correction, in a scene with this state.

        Only for models whose spec has ``greys``; the first item of the state's batch decides.
        """
        raise ValueError("this model has no mapping of greys")

    def own_modules(self) -> Iterable[nn.Module]:
        """The modules that training initialises: all but those of a look reader that comes trained."""
        return self.modules()

    def initialise(self) -> None:
        """Initialise the weights for training."""

    @classmethod
    def form(cls, config: Mapping[str, Any]) -> "type[Model]":
        """The class of the network with these options; another than this one where a paper's form has little in common."""
        return cls

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        """The spec of the network for ``spec.config``, which may change its needs or abilities."""
        return spec

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """The tensors of a published part of this network under the names of its parameters, for training to start with.

        Raises ModelError, naming ``source``, if they are not those of such a part.
        """
        raise ModelError(
            f"{source}: this model has no part with published weights; leave the start out."
        )


class RestoringModel(Model):
    """A model that restores the SDR picture on its way to HDR (``has_aux`` in its spec)."""

    def forward_with_aux(
        self, frames: Tensor, state: State, **inputs: Unpack[Inputs]
    ) -> tuple[Tensor, Tensor, State]:
        """:meth:`forward` with the restored SDR frames, R'G'B' ``B,T-past-future,3,H,W``, after the codes; not clamped."""
        return self.render_with_aux(Window(frames, **inputs), state)

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        codes, _, state = self.render_with_aux(window, state)
        return codes, state

    @abstractmethod
    def render_with_aux(self, window: Window, state: State) -> tuple[Tensor, Tensor, State]:
        """The implementation of :meth:`forward_with_aux`."""

    @abstractmethod
    def restored(self, frames: Tensor, *, still: bool = False) -> Tensor:
        """The restored middle frame ``B,3,H,W`` of as many frames ``B,T,3,H,W`` as the model sees at once.

        ``still`` leaves out the alignment of the frames, which makes the first stage of training much faster.
        """


class PyramidModel(Model):
    """A model that can make the picture at several sizes (``sizes`` in its spec)."""

    def forward_sizes(
        self, frames: Tensor, state: State, **inputs: Unpack[Inputs]
    ) -> tuple[list[Tensor], State]:
        """:meth:`forward`, but the codes of every size, the smallest first; each has twice the sides of the one before."""
        return self.render_sizes(Window(frames, **inputs), state)

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        sizes, state = self.render_sizes(window, state)
        return sizes[-1], state

    @abstractmethod
    def render_sizes(self, window: Window, state: State) -> tuple[list[Tensor], State]:
        """The implementation of :meth:`forward_sizes`."""


class RepairingModel(RestoringModel):
    """A restoring model whose picture is lit in its clipped areas (:func:`sdr2hdr.color.clipped.lit`) and then mapped pixel by
    pixel, by what the state holds: that mapping can become a table."""

    shares_work = False
    """Whether frames next to each other cost less together than apart, so that training takes all frames of a clip."""

    @abstractmethod
    def restored_frames(self, frames: Tensor, which: range, qp: Tensor | None = None) -> Tensor:
        """The restored frames ``which`` of ``B,T,3,H,W``; at the ends there is no frame before or after.

        ``qp`` is that of :class:`Inputs`.
        """

    @abstractmethod
    def mapped(self, frames: Tensor, state: State) -> Tensor:
        """PQ codes ``B,3,H,W`` of repaired and lit frames ``B,3,H,W`` in a scene with this state."""


class MaskedModel(Model):
    """A model whose encoder can be trained to reconstruct masked pictures (``masked`` among the tasks of its spec)."""

    encoder: tuple[str, ...]
    """Prefixes of the parameters that later training takes over: the encoder's and the look reader's."""

    @abstractmethod
    def reconstruct(self, pictures: Tensor) -> Tensor:
        """Pictures ``B,3,H,W`` reconstructed from masked ones."""
