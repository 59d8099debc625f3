"""Networks that repair the SDR picture, which is then lit in its clipped areas and mapped by the look.

What a network can do for a picture is to repair what the codec took; its tone and colour are the look's.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from sdr2hdr.color.clipped import lit
from sdr2hdr.models.base.corrections import Restrained, bounded
from sdr2hdr.models.base.steady import steadied
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.network import Look
from sdr2hdr.models.model import RepairingModel, Window
from sdr2hdr.models.parts.fast_trunk import FastTrunk
from sdr2hdr.models.spec import ModelSpec, State

_CHANNELS, _DEEP = 32, 64
"""The first network's features of half and of a quarter of the size."""
_OVERLAP, _MARGIN = 160, 48
"""What tiles share at least, and leave out, with a first network."""


class Repairing(Restrained, RepairingModel, Look):
    """A repairing network in front of :class:`Look`.

    It may have a ``first`` one: the small network of :class:`~sdr2hdr.models.wmnet.fast.WMNetFast`, which repairs every frame
    at a quarter of the size, where large blocks are; the network itself then repairs what that leaves.
    """

    scale = 0.1
    """The change of an SDR code 0..1 by an output of 1."""
    bound = 10 / 255
    """The largest change of a code. Both are the first network's, too, whatever a subclass has."""
    faint = 1 / 255
    reach = 4
    """Pixels around a grey pixel that must be grey, too; the sides of frames are multiples of it."""
    sees = 0
    """How many frames before and after a frame the network sees, its first one aside."""

    def __init__(self) -> None:
        super().__init__()
        self.first: FastTrunk | None = None
        self.correct: Correct = corrected

    def put_first(self, blocks: int, qp: bool) -> None:
        """Make the small network that is to be the first, of so many blocks (0: none), which is told the ``qp``."""
        if qp and not blocks:
            raise ValueError("the QP is told to the first network, so qp needs first_blocks")
        if blocks:
            self.first = FastTrunk()
            self.first.build(_CHANNELS, _DEEP, blocks, qp)
            self.shares_work = True

    def initialise(self) -> None:
        """Initialise the first network; subclasses do their own layers."""
        if self.first is not None:
            self.first.start()

    @classmethod
    def with_first(cls, spec: ModelSpec) -> ModelSpec:
        """The spec of the network as configured: its first one sees a frame more."""
        if not spec.config.get("first_blocks"):
            return spec
        near = max(spec.past, cls.sees + 1)
        overlap, margin = max(spec.overlap, _OVERLAP), max(spec.margin, _MARGIN)
        return replace(spec, past=near, future=near, overlap=overlap, margin=margin)

    def later_modules(self) -> Iterable[nn.Module]:
        """The modules of the network itself, without the look's reader and the first network."""
        theirs = set() if self.first is None else set(self.first.modules())
        return (m for m in self.own_modules() if m not in theirs)

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
        near = range(max(which.start - self.sees, 0), min(which.stop + self.sees, frames.shape[1]))
        begun = self.begun(frames, near, qp)
        inner = range(which.start - near.start, which.stop - near.start)
        outputs = zip(which, inner, self.added(begun, inner, qp), strict=True)
        found = [self.correct(self, frames[:, t], begun[:, i], x, qp) for t, i, x in outputs]
        return torch.stack(found, dim=1)

    def begun(self, frames: Tensor, near: range, qp: Tensor | None) -> Tensor:
        """The frames ``near`` of ``B,T,3,H,W`` as the network sees them: what its first one made of them, if it has one."""
        if self.first is None:
            return frames[:, near.start : near.stop]
        outputs = zip(near, self.first.added(frames, near, qp), strict=True)
        return torch.stack(
            [frames[:, t].float() + _limited(Repairing, x, frames[:, t]) for t, x in outputs], dim=1
        )

    def mapped(self, frames: Tensor, state: State) -> Tensor:
        return tone.mapped(frames, state["look"].float())

    def render_with_aux(self, window: Window, state: State) -> tuple[Tensor, Tensor, State]:
        frames, which, codes = window.frames, window.inner, []
        restored = self.restored_frames(frames, which, window.qp)
        for frame, t in zip(restored.unbind(1), which, strict=True):
            _, state = self.scene_look(window, t, state)
            steadier = frame + (steadied(frames, t) - frames[:, t].float())
            codes.append(self.mapped(lit(steadier.clamp(0, 1)), state))
        return torch.stack(codes, dim=1), restored, state


Correct = Callable[[Repairing, Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""The kind of :func:`corrected`."""


def corrected(
    net: Repairing, frame: Tensor, begun: Tensor, added: Tensor, qp: Tensor | None
) -> Tensor:
    """A frame ``B,3,H,W`` with the network's output for the ``begun`` one that it saw."""
    frame, begun = frame.float(), begun.float()
    change = _limited(net, added, begun)
    if net.first is not None:
        change = change.add_(begun - frame).clamp_(-net.bound, net.bound)
    return frame + net.restrained(change, qp)


def _limited(how: Repairing | type[Repairing], added: Tensor, frame: Tensor) -> Tensor:
    """The correction ``B,3,H,W`` of a frame ``B,3,H,W`` that an output comes to (:func:`bounded`)."""
    return bounded(added, frame, scale=how.scale, reach=how.reach, bound=how.bound)
