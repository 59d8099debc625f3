"""Networks that repair the SDR picture, which is then lit in its clipped areas and mapped by the look.

What a network can do for a picture is to repair what the codec took; its tone and colour are the look's.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from sdr2hdr.color.clipped import lit
from sdr2hdr.models.base.corrections import SDR_FAINT, Restrained, bounded
from sdr2hdr.models.base.steady import steadied
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.network import Look
from sdr2hdr.models.model import RepairingModel, Window
from sdr2hdr.models.spec import State


class Repairing(Restrained, RepairingModel, Look):
    """A repairing network in front of :class:`Look`."""

    scale = 0.1
    """The change of an SDR code 0..1 by an output of 1."""
    bound = 10 / 255
    """The largest change of a code."""
    faint = SDR_FAINT
    reach = 4
    """Pixels around a grey pixel that must be grey, too; the sides of frames are multiples of it."""

    def own_modules(self) -> Iterable[nn.Module]:
        theirs = set(self.reader.modules())
        return (m for m in self.modules() if m not in theirs)

    @abstractmethod
    def added(self, frames: Tensor, which: range, qp: Tensor | None = None) -> Iterator[Tensor]:
        """The network's output ``B,3,H,W`` for each of the frames ``which`` of ``B,T,3,H,W``, before scale and bound.

        ``qp B`` is that of :class:`~sdr2hdr.models.model.Inputs`.
        """

    def restored(self, frames: Tensor, *, still: bool = False) -> Tensor:
        middle = frames.shape[1] // 2
        return self.restored_frames(frames, range(middle, middle + 1))[:, 0]

    def restored_frames(self, frames: Tensor, which: range, qp: Tensor | None = None) -> Tensor:
        outputs = zip(which, self.added(frames, which, qp), strict=True)
        found = [self.corrected(frames[:, t].float(), x, qp) for t, x in outputs]
        return torch.stack(found, dim=1)

    def corrected(self, frame: Tensor, added: Tensor, qp: Tensor | None) -> Tensor:
        """A frame ``B,3,H,W`` with the network's output."""
        return frame + self.restrained(self.limited(added, frame), qp)

    def limited(self, added: Tensor, frame: Tensor) -> Tensor:
        """The correction ``B,3,H,W`` of a frame ``B,3,H,W`` that an output comes to (:func:`bounded`)."""
        return bounded(added, frame, scale=self.scale, reach=self.reach, bound=self.bound)

    def repair(self, window: Window) -> tuple[Tensor, Tensor]:
        frames, which = window.frames, window.inner
        restored = self.restored_frames(frames, which, window.qp)
        steadier = [steadied(frames, t) - frames[:, t].float() for t in which]
        return restored + torch.stack(steadier, dim=1), restored

    def mapped(self, frames: Tensor, state: State) -> Tensor:
        return tone.mapped(frames, state["look"].float())

    def render_with_aux(self, window: Window, state: State) -> tuple[Tensor, Tensor, State]:
        frames, restored = self.repair(window)
        codes = []
        for frame, t in zip(frames.unbind(1), window.inner, strict=True):
            _, state = self.scene_look(window, t, state)
            codes.append(self.mapped(lit(frame.clamp(0, 1)), state))
        return torch.stack(codes, dim=1), restored, state
