"""The frame loop in compiled kernels; models that map each pixel alone become tables."""

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.color.light import FrameLight
from sdr2hdr.color.yuv import HDR10, YuvLayout
from sdr2hdr.kernels import blending as in_blending
from sdr2hdr.kernels import correcting as in_correcting
from sdr2hdr.kernels import haar as in_haar
from sdr2hdr.kernels import hlg as in_hlg
from sdr2hdr.kernels.clipping import lit
from sdr2hdr.kernels.correcting import Limits
from sdr2hdr.kernels.debanding import debanded
from sdr2hdr.kernels.metering import metered
from sdr2hdr.kernels.reading import AS_IT_IS, Reading, can_read, read, reading, turned
from sdr2hdr.kernels.steadying import Steadier
from sdr2hdr.kernels.table import Table, grid, packed_table
from sdr2hdr.kernels.writing import mapped, packed
from sdr2hdr.models.base.corrections import leniency
from sdr2hdr.models.base.steady import STEADY_REACH, UNLIKE, steadied
from sdr2hdr.models.look.repairing import Repairing, corrected
from sdr2hdr.models.model import RepairingModel
from sdr2hdr.models.parts.blending import SoftmaxBlend, softmax_blend
from sdr2hdr.models.parts.fast_trunk import DETAIL, FastTrunk, bands, neighbours
from sdr2hdr.models.spec import State
from sdr2hdr.render.coded import Coded
from sdr2hdr.render.renderer import Renderer, Run, windows
from sdr2hdr.render.stream import Finished, Planes, Stream

_Planes = tuple[Tensor, ...]

_TOGETHER = 160
"""Rows of a table's nodes that are mapped at once. PyTorch shares more than 32767 numbers out to its threads, and a power at the
end of a share may differ in its last bit: tables would depend on the number of threads."""


@dataclass(frozen=True)
class _Kind:
    """What pictures of one coding have in common: what steadies their planes, and how these are then read."""

    coding: Hashable
    fine: Reading
    steadier: Steadier


@dataclass(frozen=True)
class _Upright:
    """A picture, and its smoothed planes put upright, with how they are read."""

    picture: Coded
    planes: _Planes
    how: Reading

    @cached_property
    def rgb(self) -> Tensor:
        """What a network sees of it."""
        return self.picture.recoded(read(self.planes, self.how))


class CompiledStream(Stream):
    """A stream on the CPU: within a code of :class:`Stream`, and several times as fast."""

    _table: tuple[Hashable, Table] = (None, np.empty(0, np.uint64))
    """The last table, and what it is for."""

    def __init__(self, renderer: Renderer, layout: YuvLayout = HDR10, **how: bool) -> None:
        super().__init__(renderer, layout, **how)
        for module in renderer.model.modules():
            if isinstance(module, FastTrunk):
                module.bands = _bands
            if isinstance(module, Repairing):
                module.correct = _corrected
            if isinstance(module, SoftmaxBlend):
                module.blend = _blended

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
        readable = can_read(first.layout, first.turn, self.renderer.size)
        if settled and isinstance(self.renderer.model, RepairingModel):
            return self._repaired(pictures, run, states[0], pts, readable)
        if settled and self.renderer.spec.pixelwise and readable:
            return self._mapped(pictures, run, states[0], pts)
        return super().run(pictures, run, states, pts, settled=settled)

    def _mapped(
        self, pictures: Iterator[Coded], run: Run, state: State, pts: Sequence[int]
    ) -> Iterator[Finished]:
        """The frames of a run whose pixels are mapped alone, once they are steadied over their neighbours in the scene."""
        found = self._steadied(map(self._upright, pictures), run, self.renderer.spec.past)
        for number, (one, planes, how) in enumerate(found, run.first):
            table = self._table_of(one.picture, state)
            out = mapped(planes, how, table, pts[number], self.layout)
            yield Finished(out, self.light(out))

    def _steadied(
        self, pictures: Iterator[_Upright], run: Run, reach: int
    ) -> Iterator[tuple[_Upright, _Planes, Reading]]:
        """The pictures of a run, from those that it needs, with their planes steadied over ``reach`` neighbours on each side and
        how these are read."""
        low, high = run.needs(self.renderer.spec)
        held: deque[_Upright] = deque()
        begin = low  # the number of held[0]
        kind: _Kind | None = None
        for number in range(run.first, run.last):
            while begin + len(held) < min(high, number + reach + 1):
                held.append(next(pictures))
            while begin < number - reach:
                held.popleft()
                begin += 1
            one = held[number - begin]
            if kind is None or kind.coding != one.picture.coding:
                kind = self._kind(one)
            planes, how = one.planes, one.how
            if reach:
                # neighbours that are coded in another way, where a film's tags change, are not alike in their codes
                first, near = _alike(held, number - begin)
                planes, how = kind.steadier(near, number - begin - first, begin + first), kind.fine
            yield one, planes, how

    def _repaired(
        self,
        pictures: Iterator[Coded],
        run: Run,
        state: State,
        pts: Sequence[int],
        readable: bool,
    ) -> Iterator[Finished]:
        """The frames of a run that are repaired, steadied, :func:`lit`, and then mapped pixel by pixel."""
        table = self._table_for("repaired", lambda codes: codes, state)
        changes = self._changes(pictures, run, readable)
        for number, (restored, change) in enumerate(changes, run.first):
            seed = pts[number]
            out = mapped(
                lit((restored + change).clamp_(0.0, 1.0)).unbind(),
                AS_IT_IS,
                table,
                seed,
                self.layout,
            )
            aux = None
            if self.renderer.aux:
                aux = self.packed(restored.clamp(0.0, 1.0), seed, 1.0, self._sdr)
            yield Finished(out, self.light(out), aux)

    def _changes(
        self, pictures: Iterator[Coded], run: Run, readable: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The restored frames ``3,H,W`` of a run, and by what steadying changes what they were made of."""
        if not readable:
            seen, again = itertools.tee(self.rgb(p) for p in pictures)
            spec = replace(self.renderer.spec, block=1)
            by_formula = (
                steadied(window[None], past)[0] - window[past]
                for window, past, _ in windows(again, run, spec)
            )
            yield from zip(self.renderer.repaired(seen, run), by_formula, strict=True)
            return
        here, there = itertools.tee(map(self._upright, pictures))
        restored = self.renderer.repaired((one.rgb for one in here), run)
        for found, (one, planes, how) in zip(
            restored, self._steadied(there, run, STEADY_REACH), strict=True
        ):
            yield found, one.picture.recoded(read(planes, how)) - one.rgb

    def _upright(self, picture: Coded) -> _Upright:
        how = reading(picture.layout, picture.turn, self.renderer.size, _finer(picture))
        return _Upright(picture, turned(_smoothed(picture), picture.turn), how)

    def _kind(self, one: _Upright) -> _Kind:
        picture, most = one.picture, 1 << (16 - one.picture.layout.depth)
        fine = reading(picture.layout, picture.turn, self.renderer.size, most)
        steadier = Steadier(one.how, most // _finer(picture), STEADY_REACH, UNLIKE)
        return _Kind(picture.coding, fine, steadier)

    def _table_of(self, picture: Coded, state: State) -> Table:
        """What the model makes of every R'G'B' that the file can hold, in a scene with this state."""
        return self._table_for(
            picture.coding, lambda codes: picture.recoded(codes.clamp_max(1.0)), state
        )

    def _table_for(
        self, coding: Hashable, recoded: Callable[[Tensor], Tensor], state: State
    ) -> Table:
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


def _bands(frames: Tensor, which: range, dtype: torch.dtype) -> Iterator[Tensor]:
    """As :func:`sdr2hdr.models.parts.fast_trunk.bands`; kernels make them of one clip in bfloat16 without gradients."""
    if dtype != torch.bfloat16 or len(frames) != 1 or frames.requires_grad:
        yield from bands(frames, which, dtype)
        return
    clip = frames[0].float()
    for before, at, after in neighbours(which, len(clip)):
        yield in_haar.bands(clip[before], clip[at], clip[after], DETAIL)


def _corrected(
    net: Repairing, frame: Tensor, begun: Tensor, added: Tensor, qp: Tensor | None
) -> Tensor:
    """As :func:`sdr2hdr.models.look.repairing.corrected`; kernels do it to one frame, where no gradient is needed."""
    if len(frame) != 1 or net.training or added.requires_grad or begun.requires_grad:
        return corrected(net, frame, begun, added, qp)
    faint = net.faint * (1.0 if qp is None else float(leniency(qp)))
    limits = Limits(net.scale, net.bound, faint)
    one, seen, output = (x[0].float() for x in (frame, begun, added))
    return in_correcting.corrected(one, seen, output, limits)[None]


def _blended(scores: list[Tensor], values: list[Tensor]) -> Tensor:
    """As :func:`sdr2hdr.models.parts.blending.softmax_blend`; a kernel does it in bfloat16, where no gradient is needed."""
    tensors = (*scores, *values)
    if any(x.dtype != torch.bfloat16 or x.requires_grad for x in tensors):
        return softmax_blend(scores, values)
    return in_blending.blended(scores, values)


def _finer(picture: Coded) -> int:
    """How many steps of :func:`_smoothed` planes a code of the picture has."""
    return 1 if picture.deband == "off" else 1 << (16 - picture.layout.depth)


def _smoothed(picture: Coded) -> _Planes:
    """The planes with their gradients smoothed, if they are to be."""
    if picture.deband == "off":
        return picture.planes
    return debanded(picture.planes, picture.layout, picture.deband, _finer(picture))


def _alike(held: Sequence[_Upright], at: int) -> tuple[int, list[_Planes]]:
    """The planes around ``at`` that have its coding, and the first one's index."""
    coding = held[at].picture.coding
    first, last = at, at + 1
    while first > 0 and held[first - 1].picture.coding == coding:
        first -= 1
    while last < len(held) and held[last].picture.coding == coding:
        last += 1
    return first, [held[n].planes for n in range(first, last)]
