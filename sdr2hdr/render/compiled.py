"""The frame loop in compiled kernels; models that map each pixel alone become tables."""

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.light import FrameLight
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.kernels import hlg as in_hlg
from sdr2hdr.kernels.clipping import lit
from sdr2hdr.kernels.debanding import debanded
from sdr2hdr.kernels.metering import metered
from sdr2hdr.kernels.reading import AS_IT_IS, Reading, can_read, read, reading, turned
from sdr2hdr.kernels.steadying import Steadier
from sdr2hdr.kernels.table import grid, packed_table
from sdr2hdr.kernels.writing import mapped, packed
from sdr2hdr.models.base.steady import STEADY_REACH, UNLIKE
from sdr2hdr.models.model import RepairingModel
from sdr2hdr.models.spec import State
from sdr2hdr.render.coded import Coded
from sdr2hdr.render.renderer import Run
from sdr2hdr.render.stream import Finished, Planes, Stream

_Planes = tuple[Tensor, ...]

_TOGETHER = 160
"""Rows of a table's nodes that are mapped at once. PyTorch shares more than 32767 numbers out to its threads, and a power at the
end of a share may differ in its last bit: tables would depend on the number of threads."""


@dataclass(frozen=True)
class _Kind:
    """What pictures of one coding have in common: how their planes are read, as they are and steadied, and their table."""

    coding: Hashable
    table: NDArray[np.uint32]
    plain: Reading
    fine: Reading
    steadier: Steadier


class CompiledStream(Stream):
    """A stream on the CPU: within a code of :class:`Stream`, and several times as fast."""

    _table: tuple[Hashable, NDArray[np.uint32]] = (None, np.empty(0, np.uint32))
    """The last table, and what it is for."""

    def run(
        self,
        pictures: Iterator[Coded],
        run: Run,
        states: list[State],
        pts: Sequence[int],
        *,
        settled: bool,
    ) -> Iterator[Finished]:
        first = next(pictures)
        pictures = itertools.chain([first], pictures)
        if settled and isinstance(self.renderer.model, RepairingModel):
            return self._repaired(pictures, run, states[0], pts)
        if (
            settled
            and self.renderer.spec.pixelwise
            and can_read(first.layout, first.turn, self.renderer.size)
        ):
            return self._mapped(pictures, run, states[0], pts)
        return super().run(pictures, run, states, pts, settled=settled)

    def _mapped(
        self, pictures: Iterator[Coded], run: Run, state: State, pts: Sequence[int]
    ) -> Iterator[Finished]:
        """The frames of a run whose pixels are mapped alone, once they are steadied over their neighbours in the scene."""
        spec = self.renderer.spec
        low, high = run.needs(spec)
        held: deque[tuple[Coded, _Planes]] = deque()  # pictures, and their planes upright
        begin = low  # the number of held[0]
        kind: _Kind | None = None
        for number in range(run.first, run.last):
            while begin + len(held) < min(high, number + spec.future + 1):
                coming = next(pictures)
                held.append((coming, turned(_smoothed(coming), coming.turn)))
            while begin < number - spec.past:
                held.popleft()
                begin += 1
            at = number - begin
            picture, planes = held[at]
            if kind is None or kind.coding != picture.coding:
                kind = self._kind(picture, state)
            how = kind.plain
            if spec.past:
                # neighbours that are coded in another way, where a film's tags change, are not alike in their codes
                first, near = _alike([(p.coding, planes) for p, planes in held], at)
                planes, how = kind.steadier(near, at - first, begin + first), kind.fine
            out = mapped(planes, how, kind.table, pts[number], self.layout)
            yield Finished(out, self.light(out))

    def _repaired(
        self, pictures: Iterator[Coded], run: Run, state: State, pts: Sequence[int]
    ) -> Iterator[Finished]:
        """The frames of a run that are repaired, :func:`lit`, and then mapped pixel by pixel."""
        table = self._table_for("repaired", lambda codes: codes, state)
        frames = (self.rgb(picture) for picture in pictures)
        for number, sdr in enumerate(self.renderer.repaired(frames, run), run.first):
            seed = pts[number]
            out = mapped(lit(sdr[:3]).unbind(), AS_IT_IS, table, seed, self.layout)
            restored = self.packed(sdr[3:], seed, 1.0, self._sdr) if len(sdr) > 3 else None
            yield Finished(out, self.light(out), restored)

    def _kind(self, picture: Coded, state: State) -> _Kind:
        size, most = self.renderer.size, 1 << (16 - picture.layout.depth)
        finer = _finer(picture)
        plain = reading(picture.layout, picture.turn, size, finer)
        fine = reading(picture.layout, picture.turn, size, most)
        table = self._table_of(picture, state)
        steadier = Steadier(plain, most // finer, STEADY_REACH, UNLIKE)
        return _Kind(picture.coding, table, plain, fine, steadier)

    def _table_of(self, picture: Coded, state: State) -> NDArray[np.uint32]:
        """What the model makes of every R'G'B' that the file can hold, in a scene with this state."""
        return self._table_for(
            picture.coding, lambda codes: picture.recoded(codes.clamp_max(1.0)), state
        )

    def _table_for(
        self, coding: Hashable, recoded: Callable[[Tensor], Tensor], state: State
    ) -> NDArray[np.uint32]:
        """The table of what is made of the nodes' codes ``3,H,W`` after ``recoded``; the last one is kept."""
        key = (
            coding,
            tuple((name, value.numpy().tobytes()) for name, value in sorted(state.items())),
        )
        if self._table[0] != key:
            parts = [
                super(CompiledStream, self).coded(self.renderer.mapped(recoded(codes), state))
                for codes in torch.split(grid(), _TOGETHER, dim=1)
            ]
            self._table = key, packed_table(torch.cat(parts, dim=1))
        return self._table[1]

    def rgb(self, picture: Coded) -> Tensor:
        if not can_read(picture.layout):
            return picture.rgb()
        how = reading(picture.layout, finer=_finer(picture))
        return picture.turn(picture.recoded(read(_smoothed(picture), how)))

    def coded(self, codes: Tensor) -> Tensor:
        return in_hlg.hlg_of_pq(codes, self.renderer.peak) if self.hlg else codes

    def packed(self, codes: Tensor, seed: int, peak_code: float, layout: YuvLayout) -> Planes:
        return packed(codes, seed=seed, peak_code=peak_code, layout=layout)

    def light(self, planes: Planes) -> FrameLight:
        if self.hlg:
            return in_hlg.metered(planes, self.layout, self.renderer.peak)
        return metered(planes, self.peak_code, self.layout, channels=self.channels)


def _finer(picture: Coded) -> int:
    """How many steps of :func:`_smoothed` planes a code of the picture has."""
    return 1 if picture.deband == "off" else 1 << (16 - picture.layout.depth)


def _smoothed(picture: Coded) -> _Planes:
    """The planes with their gradients smoothed, if they are to be."""
    if picture.deband == "off":
        return picture.planes
    return debanded(picture.planes, picture.layout, picture.deband, _finer(picture))


def _alike(coded: list[tuple[Hashable, _Planes]], at: int) -> tuple[int, list[_Planes]]:
    """The planes around ``at`` that have its coding, and the first one's index."""
    first, last = at, at + 1
    while first > 0 and coded[first - 1][0] == coded[at][0]:
        first -= 1
    while last < len(coded) and coded[last][0] == coded[at][0]:
        last += 1
    return first, [planes for _, planes in coded[first:last]]
