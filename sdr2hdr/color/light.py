"""The light of a film: MaxCLL and MaxFALL of the planes that go to the encoder.

Sources: CTA-861.3-A 6.9.3 and annex P (MaxCLL, MaxFALL), BT.2100-2 table 4 (PQ).
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sdr2hdr.color.transfer import pq_code, pq_eotf, pq_nits
from sdr2hdr.color.yuv import HDR10, YuvLayout, brightest

BINS = 4096
"""Bins of the histogram, equal steps of PQ code: a quarter of a 10-bit code each."""

_FINE = 16
FINE_BINS = BINS * _FINE
"""Steps of code in which light is weighed: a sixteenth of a bin each."""

_SHARE = FINE_BINS // 4
"""Steps that a CPU weighs at once. From 32768 numbers on, torch shares the work out to threads: they would stay busy afterwards,
waiting for more, and the order of a sum would depend on their number."""

BAR = pq_code(0.05)
"""Below this code a row or column counts as a bar: bars of a coded SDR file are not exactly black once they are converted."""


@dataclass(frozen=True)
class LightFacts:
    """The result of a meter. ``merge`` is associative, so the facts of chunks are the facts of the whole.

    ``max_cll``: the brightest channel of any pixel of any frame, nits. ``max_sum``: the largest sum over a frame's pixels
    of their brightest channel, nits. ``box``: the part of the picture that was ever lit (left, top, right, bottom; the last
    two exclusive). ``histogram``: pixels of all frames by PQ code of the brightest channel. ``channels``: the highest R, G
    and B, nits; zeros if frames were measured without them.
    """

    max_cll: float = 0.0
    max_sum: float = 0.0
    box: tuple[int, int, int, int] | None = None
    histogram: tuple[int, ...] = (0,) * BINS
    channels: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def max_fall(self) -> float:
        """The brightest frame's mean of max(R, G, B) over the active picture, nits: bars are not part of it."""
        if self.box is None:
            return 0.0
        left, top, right, bottom = self.box
        return self.max_sum / ((right - left) * (bottom - top))

    @property
    def p9999(self) -> float:
        """The level in nits that one pixel in 10,000 passes: the peak without its stray pixels, to a quarter of a code."""
        return self.passed_by(1e-4)

    def passed_by(self, share: float) -> float:
        """The level in nits that a share (0..1) of all pixels passes, to a quarter of a code."""
        above = sum(self.histogram) * share
        for index in range(BINS - 1, -1, -1):
            above -= self.histogram[index]
            if above < 0.0:
                return min(_bin_nits()[index], self.max_cll) if index else 0.0
        return 0.0

    @property
    def mean(self) -> float:
        """The mean of max(R, G, B) over all pixels of all frames, nits, to 0.3 %."""
        pairs = zip(self.histogram[1:], _bin_nits()[1:], strict=True)
        return sum(n * nits for n, nits in pairs) / max(1, sum(self.histogram))

    @property
    def codes(self) -> tuple[float, float]:
        """The lowest and the mean PQ code of the brightest channel of all pixels, to a quarter of a 10-bit code."""
        pixels = sum(self.histogram)
        lowest = next((index for index, n in enumerate(self.histogram) if n), 0)
        middles = sum(n * (index + 0.5) for index, n in enumerate(self.histogram) if index)
        return lowest / BINS, middles / BINS / max(1, pixels)

    @property
    def brightest_share(self) -> float:
        """The share (0..1) of all pixels that are as bright as the brightest, to a quarter of a code."""
        most = next((n for n in reversed(self.histogram) if n), 0)
        return most / max(1, sum(self.histogram))

    def merge(self, other: "LightFacts") -> "LightFacts":
        """The facts of both together."""
        box = self.box or other.box
        if self.box and other.box:
            (l1, t1, r1, b1), (l2, t2, r2, b2) = self.box, other.box
            box = (min(l1, l2), min(t1, t2), max(r1, r2), max(b1, b2))
        return LightFacts(
            max(self.max_cll, other.max_cll),
            max(self.max_sum, other.max_sum),
            box,
            tuple(a + b for a, b in zip(self.histogram, other.histogram, strict=True)),
            _highest(self.channels, other.channels),
        )

    def written(self, peak: int) -> tuple[int, int]:
        """MaxCLL and MaxFALL as written into a file: rounded up, not above the peak, and never 0, which means unknown."""
        cll, fall = (max(1, min(math.ceil(nits), peak)) for nits in (self.max_cll, self.max_fall))
        return cll, fall

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "LightFacts":
        """The inverse of :meth:`to_json`."""
        box = facts["box"]
        return cls(
            facts["max_cll"],
            facts["max_sum"],
            tuple(box) if box else None,
            tuple(facts["histogram"]),
            _three(facts["channels"]),
        )


def whole(parts: Iterable[LightFacts]) -> LightFacts:
    """The facts of all parts together."""
    return functools.reduce(LightFacts.merge, parts, LightFacts())


@functools.cache
def _bin_nits() -> tuple[float, ...]:
    """The nits of the middle of each bin of the histogram."""
    return tuple(pq_nits((index + 0.5) / BINS) for index in range(BINS))


def _three(values: Iterable[float]) -> tuple[float, float, float]:
    r, g, b = values
    return r, g, b


def _highest(
    a: tuple[float, float, float], b: tuple[float, float, float]
) -> tuple[float, float, float]:
    return _three(map(max, a, b))


@dataclass(frozen=True)
class FrameLight:
    """One frame's light, as tensors on the device of its planes.

    ``brightest``: the PQ code of the brightest channel. ``counts``: pixels in each of :data:`FINE_BINS` equal steps of the code
    of their brightest channel. ``rows``, ``columns``: which of them are lit (above :data:`BAR`). ``channels``: the highest
    PQ codes of R', G' and B', if they were asked for.
    """

    brightest: Tensor
    counts: Tensor
    rows: Tensor
    columns: Tensor
    channels: Tensor | None = None

    @classmethod
    def of(cls, code: Tensor, channels: Tensor | None = None) -> "FrameLight":
        """The light of max(R', G', B') of a frame's pixels, PQ codes ``H,W`` 0..1, which is written over."""
        rows, columns = (code.amax(dim).gt(BAR) for dim in (1, 0))
        top = code.max()
        # counting codes in steps so fine that a step is 0.03 % of light at most, then weighing the counts, is exact enough for
        # the mean of a frame and three times as fast as raising each pixel to two powers
        fine = code.mul_(FINE_BINS).to(torch.int64).clamp_(max=FINE_BINS - 1).flatten()
        if fine.device.type == "cpu":
            return cls(top, torch.bincount(fine, minlength=FINE_BINS), rows, columns, channels)
        counts = fine.new_zeros(
            FINE_BINS
        )  # bincount would wait for the device to learn how long its result is
        counts.scatter_add_(0, fine, torch.ones_like(fine))
        return cls(top, counts, rows, columns, channels)


class LightMeter:
    """Measures frames one by one, on the device that they are on; only :meth:`facts` waits for it."""

    def __init__(self) -> None:
        codes = (torch.arange(FINE_BINS, dtype=torch.float32) + 0.5) / FINE_BINS
        self._nits = pq_eotf(codes).double()
        self._nits[0] = 0.0  # black is black
        self._max_code = torch.zeros(())
        self._max_sum = torch.zeros((), dtype=torch.float64)
        self._channels = torch.zeros(3)
        self._histogram = torch.zeros(BINS, dtype=torch.int64)
        self._rows: Tensor | None = None  # which rows and columns were ever lit
        self._columns: Tensor | None = None

    def add(self, planes: tuple[Tensor, Tensor, Tensor], layout: YuvLayout = HDR10) -> None:
        """Measure one frame: planes as :func:`sdr2hdr.color.yuv.to_yuv` leaves them, all frames of one size."""
        self.add_light(FrameLight.of(brightest(planes, layout).clamp_(0.0, 1.0)))

    def add_brightest(self, code: Tensor) -> tuple[float, float]:
        """Measure one frame by max(R', G', B') of its pixels as PQ codes ``H,W`` 0..1, which is written over.

        Returns the frame's brightest pixel, and the sum of all pixels, in nits.
        """
        light = FrameLight.of(code)
        return pq_nits(float(light.brightest)), float(self.add_light(light))

    def add_light(self, light: FrameLight) -> Tensor:
        """Add one frame that was measured already. Returns the sum of its pixels in nits."""
        if self._rows is None or self._columns is None:
            self._rows, self._columns = (
                torch.zeros_like(light.rows),
                torch.zeros_like(light.columns),
            )
            device = light.counts.device
            self._nits, self._histogram = self._nits.to(device), self._histogram.to(device)
            self._max_code, self._max_sum = self._max_code.to(device), self._max_sum.to(device)
            self._channels = self._channels.to(device)
        self._max_code = torch.maximum(self._max_code, light.brightest)
        self._rows |= light.rows
        self._columns |= light.columns
        total = self._weigh(light.counts)
        self._max_sum = torch.maximum(self._max_sum, total)
        if light.channels is not None:
            self._channels = torch.maximum(self._channels, light.channels)
        return total

    def _weigh(self, counts: Tensor) -> Tensor:
        """Add pixels by code to the histogram. Returns the sum of their nits."""
        shares = FINE_BINS // _SHARE if counts.device.type == "cpu" else 1
        total = self._max_sum.new_zeros(())
        for pixels, nits, bins in zip(
            counts.view(shares, -1),
            self._nits.view(shares, -1),
            self._histogram.view(shares, -1),
            strict=True,
        ):
            total.add_((pixels * nits).sum())
            bins.add_(pixels.view(-1, _FINE).sum(1))
        return total

    def facts(self) -> LightFacts:
        """The facts so far."""
        box = None
        if self._rows is not None and self._columns is not None and self._rows.any():
            (top, bottom), (left, right) = (_span(lit) for lit in (self._rows, self._columns))
            box = (left, top, right, bottom)
        histogram = tuple(self._histogram.tolist())
        return LightFacts(
            pq_nits(float(self._max_code)),
            float(self._max_sum),
            box,
            histogram,
            _three(map(pq_nits, self._channels.tolist())),
        )


def _span(lit: Tensor) -> tuple[int, int]:
    places = lit.nonzero()
    return int(places[0]), int(places[-1]) + 1
