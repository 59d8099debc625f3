"""Models that correct a base: a mapping of the frame that works without them."""

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn

from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.models.base.corrections import BOUND, FAINT, SCALE, bounded
from sdr2hdr.models.base.mappings import MAPPINGS
from sdr2hdr.models.base.reader import LookReader, known
from sdr2hdr.models.base.steady import steadied
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.spec import ModelSpec, State


class OnBase(Model):
    """A model with a base, which it does not own.

    ``base`` is ``look``, the mapping that a :class:`LookReader` chooses from the scene's look; ``bt2408`` or ``bt2446a``, a
    static mapping; or ``none``, as in the published networks, whose output stands alone.

    All networks correct a base in one way, in float32, because PQ in bfloat16 is wrong by 0.09: the output is scaled by
    ``SCALE``, leaves greys grey, black black and intact areas nearly alone, and changes no code by more than ``BOUND``. The
    look maps frames that are :func:`steadied`; networks themselves see the frames as they are. Training never reinitialises
    the reader's weights.
    """

    scale = SCALE
    """The change of the base by an output of 1."""
    reach = 4
    """Pixels around a grey pixel that must be grey, too; the sides of frames are multiples of it."""

    def __init__(self, base: str = "look") -> None:
        super().__init__()
        if base not in ("none", "look", *MAPPINGS):
            raise ValueError("base is none, look, bt2408 or bt2446a")
        self.base = base
        self.look = LookReader() if base == "look" else None

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        base = spec.config.get("base", "look")
        return spec if base == "look" else replace(spec, look=0, greys=base != "none")

    def new_state(self, size: tuple[int, int], look: Tensor | None = None) -> State:
        return super().new_state(size, look) if look is None or self.look is None else known(look)

    def read_look(self, thumbs: Tensor, brightness: Tensor) -> Tensor:
        if self.look is None:
            return super().read_look(thumbs, brightness)
        return self.look.vector(thumbs)

    def greys(self, codes: Tensor, state: State) -> Tensor:
        if self.base == "none":
            return super().greys(codes, state)
        look = None if self.look is None else state["look"][:1].float()
        return self.mapped(codes.expand(1, 3, 1, -1), look)[0, 1, 0]

    def scene_look(self, window: Window, t: int, state: State) -> tuple[Tensor | None, State]:
        """The look ``B,V`` of the scene up to frame ``t`` and the state that holds it; None without a reader."""
        return (None, state) if self.look is None else self.look.remember(window.thumb(t), state)

    def base_frame(self, frames: Tensor, t: int) -> Tensor:
        """Frame ``t`` of ``B,T,3,H,W`` as the base maps it, ``B,3,H,W``."""
        return frames[:, t] if self.look is None else steadied(frames, t)

    def mapped(self, frame: Tensor, look: Tensor | None) -> Tensor:
        """The base's codes ``B,3,H,W``, float32, of a frame ``B,3,H,W`` in a scene of that look. Not for the base ``none``."""
        if self.look is not None:
            if look is None:
                raise ValueError("the look mapping needs a look")
            return self.look.codes(frame, look)
        return pq_inverse_eotf(MAPPINGS[self.base](frame.float()))

    def corrected(self, added: Tensor, frame: Tensor, look: Tensor | None) -> Tensor:
        """The codes ``B,3,H,W`` of a frame ``B,3,H,W`` with the network's output ``added``; alone for the base ``none``."""
        if self.base == "none":
            return added
        return self.mapped(frame, look) + bounded(
            added,
            frame,
            scale=self.scale,
            reach=self.reach,
            bound=BOUND,
            faint=None if self.training else FAINT,
        )

    def own_modules(self) -> Iterable[nn.Module]:
        theirs = set() if self.look is None else set(self.look.modules())
        return (m for m in self.modules() if m not in theirs)
