"""Models that correct a base: a mapping of the frame that works without them."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from sdr2hdr.color.clipped import lit
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.models.base.corrections import BOUND, SCALE, Restrained, bounded
from sdr2hdr.models.base.mappings import MAPPINGS
from sdr2hdr.models.base.reader import VECTOR, LookMapping, LookReader, known, remembered
from sdr2hdr.models.base.steady import steadied
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.reader import SceneReader
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.spec import ModelSpec, State


class OnBase(Restrained, Model):
    """A model with a base, which it does not own.

    ``base`` is ``told``, the mapping of :class:`~sdr2hdr.models.look.network.Look` at the brightness that the model is told;
    ``look``, the mapping of the former look (:class:`LookMapping`), which guesses the brightness; ``bt2408`` or ``bt2446a``, a
    static mapping; or ``none``, as in the published networks, whose output stands alone. On both looks the network reads the
    vector of a :class:`LookReader`; on ``told`` the scene's look is that vector and then the 18 numbers of the mapping.

    All networks correct a base in one way, in float32, because PQ in bfloat16 is wrong by 0.09: the output is scaled by
    ``scale``, leaves greys grey, black black and intact areas nearly alone, and changes no code by more than ``BOUND``. The
    looks map frames that are :func:`steadied`, ``told`` also with light in their clipped areas (:func:`lit`); networks
    themselves see the frames as they are. Training never reinitialises the weights of readers.
    """

    scale = SCALE
    """The change of the base by an output of 1."""
    reach = 4
    """Pixels around a grey pixel that must be grey, too; the sides of frames are multiples of it."""

    def __init__(self, base: str = "look") -> None:
        super().__init__()
        if base not in ("none", "told", "look", *MAPPINGS):
            raise ValueError("base is none, told, look, bt2408 or bt2446a")
        self.base = base
        self.look: LookReader | None = None
        if base in ("told", "look"):
            self.look = LookReader() if base == "told" else LookMapping()
        self.reader = SceneReader() if base == "told" else None

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        base = spec.config.get("base", "look")
        if base == "told":
            return replace(spec, look=VECTOR + tone.NUMBERS, brightness=True, qp=True)
        if base == "look":
            return replace(spec, look=VECTOR, brightness=False, qp=True)
        corrects = base != "none"
        return replace(spec, look=0, brightness=False, greys=corrects, qp=corrects)

    def new_state(self, size: tuple[int, int], look: Tensor | None = None) -> State:
        return super().new_state(size, look) if look is None or self.look is None else known(look)

    def read_look(self, thumbs: Tensor, brightness: Tensor) -> Tensor:
        if self.look is None:
            return super().read_look(thumbs, brightness)
        vector = self.look.vector(thumbs)
        if self.reader is None:
            return vector
        return torch.cat([vector, self.reader(thumbs, brightness)], 1)

    def greys(self, codes: Tensor, state: State) -> Tensor:
        if self.base == "none":
            return super().greys(codes, state)
        look = None if self.look is None else state["look"][:1].float()
        return self.mapped(codes.expand(1, 3, 1, -1), look)[0, 1, 0]

    def scene_look(self, window: Window, t: int, state: State) -> tuple[Tensor | None, State]:
        """The look ``B,V`` of the scene up to frame ``t`` and the state that holds it; None without a reader."""
        if self.look is None:
            return None, state
        thumb = window.thumb(t)
        told = thumb.new_ones(len(thumb)) if self.reader is None else window.told
        return remembered(lambda: self.read_look(thumb, told), state)

    def base_frame(self, frames: Tensor, t: int) -> Tensor:
        """Frame ``t`` of ``B,T,3,H,W`` as the base maps it, ``B,3,H,W``."""
        return frames[:, t] if self.look is None else steadied(frames, t)

    def mapped(self, frame: Tensor, look: Tensor | None) -> Tensor:
        """The base's codes ``B,3,H,W``, float32, of a frame ``B,3,H,W`` in a scene of that look, pixel by pixel. Not for the base
        ``none``."""
        if self.look is None:
            return pq_inverse_eotf(MAPPINGS[self.base](frame.float()))
        if look is None:
            raise ValueError("the look mapping needs a look")
        if isinstance(self.look, LookMapping):
            return self.look.codes(frame, look)
        return tone.mapped(frame, look[:, VECTOR:])

    def base_codes(self, frame: Tensor, look: Tensor | None) -> Tensor:
        """The codes ``B,3,H,W`` of a frame that the network corrects: :meth:`mapped`, on ``told`` after clipped areas are lit."""
        return self.mapped(frame if self.reader is None else lit(frame.float().clamp(0, 1)), look)

    def corrected(
        self, added: Tensor, frame: Tensor, look: Tensor | None, qp: Tensor | None = None
    ) -> Tensor:
        """The codes ``B,3,H,W`` of a frame ``B,3,H,W`` with the network's output ``added``; alone for the base ``none``.

        ``qp B`` is that of :class:`~sdr2hdr.models.model.Inputs`.
        """
        if self.base == "none":
            return added
        change = bounded(added, frame, scale=self.scale, reach=self.reach, bound=BOUND)
        return self.base_codes(frame, look) + self.restrained(change, qp)

    def own_modules(self) -> Iterable[nn.Module]:
        readers = (r for r in (self.look, self.reader) if r is not None)
        theirs = {m for r in readers for m in r.modules()}
        return (m for m in self.modules() if m not in theirs)
