"""Finds changes of scene in a stream of small frames, with a bounded look-ahead and bounded memory."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from typing import Literal

import numpy as np
from torch import Tensor

from sdr2hdr.scenes.likeness import Picture, Structure, detail, likeness
from sdr2hdr.scenes.small import HEIGHT, WIDTH

# Ticks are frames at least TICK seconds apart: the measure of time for whatever takes time, at any frame rate.
TICK = 0.03
DELAY = 72  # ticks until an answer: 2.2 s to 3 s at 24 frames a second and more
MEMORY = 120  # ticks held: a picture that comes back is known again
MIN_SCENE = 6  # ticks: a cut this near to the cut before it is not a cut
_STRIDE_LIMIT = 4  # frames a tick at most: beyond 130 frames a second the neighbourhoods grow shorter, memory does not
_BEFORE, _AFTER = (
    (2, 4, 7),
    (1, 3, 6, 10),
)  # ticks around a hard cut that are compared; they step over flashes
_RETURNS = (15, 22, 30, 40, 50)  # ticks after a cut at which the old picture is looked for
_FRAMES = (_BEFORE[-1] + _AFTER[-1] + 2) * _STRIDE_LIMIT

_JUMP = 0.03  # the smallest difference of neighbours (mean of |dY'| + 2|dCb| + 2|dCr|) that can be a cut
_STANDS_OUT = 1.3  # times the upper quartile of its neighbourhood
_BLANK = 0.02  # contrast of a blank picture
_VALLEY = 0.35  # a fade's darkest (or palest) contrast to the contrast on both of its sides
_OTHER_COLOURS = 0.012  # mean distance of the sorted chroma
_MIXED = 1.25  # detail in the middle of a dissolve at most, to that of the two pictures mixed
_WAIT = 22  # ticks after a gradual change until it is judged
# ticks from the last old to the first new picture of a dissolve, and from the old one to those at which the mix is tested
_LENGTHS = np.array([5, 6, 8, 11, 15, 20, 28, 40, 48])
_INSIDE = (_LENGTHS[:, None] * (np.arange(1, 8) / 8)).round().astype(np.int64)
_CHANGE = 0.0015  # the smallest mean square between the pictures of a dissolve
_WEIGHTS = np.array([1.0, 2.0, 2.0], np.float32)[:, None, None]


@dataclass(frozen=True)
class Cut:
    """The first frame of a new scene: its number and pts, what led to it, and how sure that is (0..1).

    A fade's cut is where the new picture begins to appear, a dissolve's where both pictures are equally strong.
    """

    frame: int
    pts: int
    kind: Literal["hard", "fade", "dissolve"]
    strength: float


class _Frame:
    """A small frame and its measurements."""

    def __init__(self, index: int, pts: int, small: Picture, previous: "_Frame | None") -> None:
        self.index, self.pts, self.small = index, pts, small
        self.weighted = small * _WEIGHTS
        self.jump = 0.0
        if previous is not None:
            self.jump = float(abs(self.weighted - previous.weighted).mean()) * 3
        self.contrast = float(self.weighted.reshape(3, -1).std(1, ddof=1).sum())
        self.blank = self.contrast < _BLANK

    @cached_property
    def structure(self) -> Structure:
        return Structure(self.small)

    @cached_property
    def colours(self) -> Picture:
        """Cb and Cr in order of size (``2,2304``): their mean distance between two frames does not feel motion."""
        return np.sort(self.small[1:].reshape(2, -1))


@dataclass(frozen=True, eq=False)
class _Dissolve:
    """A window of ticks that look like a mix of the first and the last."""

    old: _Frame
    new: _Frame
    middle: _Frame
    share: float  # of the new picture in the middle
    change: float
    misfit: float

    def overlaps(self, other: "_Dissolve") -> bool:
        """Both windows are of the same transition: one's middle lies in the other."""
        return (
            self.old.index <= other.middle.index <= self.new.index
            or other.old.index <= self.middle.index <= other.new.index
        )


class Detector:
    """Push small frames in order, get cuts in order; ``close`` gives the last ones. Frame 0 is never a cut.

    ``time_base`` is the length of a pts in seconds. An answer comes at most ``DELAY`` ticks after its frame.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = float(time_base)
        self._count = 0
        self._frames: deque[_Frame] = deque(maxlen=_FRAMES)
        self._ticks: deque[_Frame] = deque(maxlen=MEMORY)
        # the last ticks' pictures and their products with one another; tick n lies in slot n % DELAY
        self._vectors = np.zeros((DELAY, 3 * HEIGHT * WIDTH // 16), np.float32)
        self._products = np.zeros((DELAY, DELAY), np.float32)
        self._slot = DELAY - 1  # of the newest tick
        self._judged = -1  # the last frame tested for a hard cut
        self._dissolves: list[_Dissolve] = []  # not yet judged
        self._cuts: list[Cut] = []  # found, not yet handed out
        self._last_cut = 0
        self._gradual_end = 0  # the frame at which the last fade or dissolve was over
        self._doubts: list[
            tuple[Cut, list[_Frame]]
        ] = []  # young cuts and what was seen before them

    def push(self, small: Tensor, pts: int) -> list[Cut]:
        """Take the next frame (``3,36,64`` Y'CbCr 0..1, see ``small_frame``); returns the cuts that are now certain."""
        previous = self._frames[-1] if self._frames else None
        frame = _Frame(self._count, pts, small.numpy(), previous)
        self._count += 1
        self._frames.append(frame)
        self._seek_hard(_AFTER[-1] * self._stride())
        if self._is_tick(frame):
            self._remember(frame)
            self._review()
            self._seek_dissolve()
            self._seek_fade(len(self._ticks) - 1 - _WAIT)
            if len(self._ticks) >= _WAIT:
                self._settle_dissolves(self._ticks[-_WAIT].index)
        return self._release(self._ticks[-DELAY].index if len(self._ticks) >= DELAY else 0)

    def close(self) -> list[Cut]:
        """The stream has ended: judge what is left with the frames there are."""
        self._seek_hard(_AFTER[1])
        for place in range(max(0, len(self._ticks) - _WAIT), len(self._ticks) - 1):
            self._seek_fade(place)
        self._settle_dissolves(self._count)
        return self._release(self._count)

    def _release(self, before: int) -> list[Cut]:
        ready = sorted((c for c in self._cuts if c.frame < before), key=lambda c: c.frame)
        self._cuts = [c for c in self._cuts if c.frame >= before]
        self._last_cut = max([self._last_cut, *(c.frame for c in ready)])
        return ready

    def _stride(self) -> int:
        """Frames a tick, measured over the frames at hand."""
        first, last = self._frames[0], self._frames[-1]
        seconds = (last.pts - first.pts) * self._time_base
        if seconds <= 0:
            return 1
        return min(_STRIDE_LIMIT, max(1, round(TICK * 1.2 * (last.index - first.index) / seconds)))

    def _is_tick(self, frame: _Frame) -> bool:
        """A blank run counts as one tick, so that what lies before and after it is compared however long it lasts."""
        if not self._ticks:
            return True
        last = self._ticks[-1]
        return (frame.pts - last.pts) * self._time_base >= TICK and not (frame.blank and last.blank)

    def _remember(self, frame: _Frame) -> None:
        self._ticks.append(frame)
        rows = frame.weighted.reshape(3, HEIGHT // 4, 4, WIDTH).sum(2)
        picture = rows.reshape(3, HEIGHT // 4, WIDTH // 4, 4).sum(3) / 16
        # without its mean brightness: a change of light alone is no change of picture
        picture[0] -= picture[0].mean()
        picture[1:] -= 1
        self._slot = (self._slot + 1) % DELAY
        self._vectors[self._slot] = vector = picture.reshape(-1)
        # not a matrix product: that would wake threads for a trifle
        row = np.einsum("ij,j->i", self._vectors, vector) / len(vector)
        self._products[self._slot] = self._products[:, self._slot] = row

    def _is_free(self, first: int, last: int) -> bool:
        """No cut lies in these frames, and the first is not in a scene that was left."""
        return first >= self._last_cut and not any(first < c.frame <= last for c in self._cuts)

    def _found(
        self,
        frame: _Frame,
        kind: Literal["hard", "fade", "dissolve"],
        sure: float,
        before: list[_Frame],
    ) -> None:
        known = [c.frame for c in self._cuts] + [self._last_cut] * (
            self._last_cut > 0
        )  # the first scene may be short
        if all(abs(frame.index - k) >= MIN_SCENE * self._stride() for k in known):
            self._cuts.append(Cut(frame.index, frame.pts, kind, min(1.0, max(0.0, sure))))
            self._doubts.append((self._cuts[-1], before))

    def _seek_hard(self, ahead: int) -> None:
        """Test the frames that have ``ahead`` frames after them."""
        for place, frame in enumerate(self._frames):
            if frame.index > self._judged and place + ahead < len(self._frames):
                self._judged = frame.index
                self._test_hard(place)

    def _test_hard(self, place: int) -> None:
        """A jump that stands out, after which nothing is like anything before: not a flash, a pan or a change of light."""
        frames, stride = self._frames, self._stride()
        frame = frames[place]
        reach = 7 * stride
        around = sorted(
            f.jump
            for f in islice(frames, max(1, place - reach), place + reach + 1)
            if f is not frame
        )
        peak = max(f.jump for f in islice(frames, max(0, place - 2), place + 3))
        restless = around[len(around) * 3 // 4] if around else 0.0
        if frame.jump < max(_JUMP, peak, _STANDS_OUT * restless):
            return
        scene_start = max([self._last_cut, *(c.frame for c in self._cuts)])
        if scene_start and frame.index - scene_start < MIN_SCENE * stride:
            return
        earliest = max(0, scene_start - frames[0].index)
        before = sorted({max(earliest, place - k * stride) for k in _BEFORE}, reverse=True)
        after = sorted({min(len(frames) - 1, place + k * stride) for k in _AFTER})
        before_frames, after_frames = [frames[k] for k in before], [frames[k] for k in after]
        if all(f.blank for f in before_frames) or all(f.blank for f in after_frames):
            return  # left to the search for fades, which waits for the next picture
        # in unrest the pictures must have less in common: 0.4 where the jump barely stands out, 0.5 where it does
        limit = min(
            0.5, 0.4 + 0.1 * (frame.jump / max(restless, 1e-6) - _STANDS_OUT) / (2 - _STANDS_OUT)
        )
        alike = _alike(before_frames, after_frames, limit, 0.3)
        if alike is not None and _is_steady(alike, [before_frames, after_frames]):
            self._found(frame, "hard", 1 - alike, before_frames)

    def _review(self) -> None:
        """Take a cut back if the old picture returns without another cut: an explosion, something passing by."""
        now = self._ticks[-1]
        for cut, before in list(self._doubts):
            age = sum(t.index > cut.frame for t in self._ticks)
            if (
                age > _RETURNS[-1]
                or cut not in self._cuts
                or not self._is_free(cut.frame, now.index)
            ):
                self._doubts.remove((cut, before))
            elif age in _RETURNS and _alike(before, [now], 0.6, 0.5) is None:
                self._cuts.remove(cut)

    def _seek_fade(self, place: int) -> None:
        """A valley of contrast between two pictures that are not of the same place."""
        if place < 1:
            return
        ticks = list(self._ticks)
        valley = ticks[place]
        left, right = ticks[max(0, place - _WAIT) : place], ticks[place + 1 : place + 1 + _WAIT]
        left = [t for t in left if self._is_free(t.index, valley.index)]
        if not left or valley.contrast > min(t.contrast for t in left + right[:4]):
            return
        old = max(left, key=lambda t: t.contrast)
        new = max(right, key=lambda t: t.contrast)
        least = min(old.contrast, new.contrast)
        if valley.contrast > max(_BLANK, _VALLEY * least) or least < 2 * _BLANK:
            return
        if 0.2 < float(valley.small[0].mean()) < 0.8:
            return  # neither black nor white: the camera passes something plain
        first = next((t for t in right if not t.blank), new)
        if not self._is_free(old.index, new.index):
            return
        if (
            alike := _alike([old, left[-len(left) // 2]], [new, right[len(right) // 2]], 0.55, 0.5)
        ) is not None:
            start = next(
                (f for f in self._frames if valley.index < f.index <= first.index and not f.blank),
                first,
            )
            self._found(start, "fade", 1 - alike, [old])
            self._gradual_end = new.index

    def _seek_dissolve(self) -> None:
        """Least squares: are the ticks between two ticks mixes of the two, with a share that grows smoothly?

        Of overlapping windows the one with the greatest change is kept: it holds the whole of the transition.
        """
        count = int((len(self._ticks) > _LENGTHS).sum())
        new, g = self._slot, self._products
        old = (new - _LENGTHS[:count]) % DELAY
        change = g[new, new] + g[old, old] - 2 * g[old, new]
        if not (change > _CHANGE).any():
            return
        inside, old = (old[:, None] + _INSIDE[:count]) % DELAY, old[:, None]
        from_old, least = g[inside, old], np.maximum(change, 1e-6)[:, None]
        share = (g[inside, new] - from_old - (g[old, new] - g[old, old])) / least
        misfit = (g[inside, inside] - 2 * from_old + g[old, old]) / least - share**2
        steps = np.diff(share, axis=1, prepend=0, append=1)
        fits = (
            (change > _CHANGE)
            & (misfit.mean(1) < 0.08)
            & (misfit.max(1) < 0.25)
            & (steps.max(1) < 0.4)
        )
        for k in np.flatnonzero(fits):
            first, last = self._ticks[-1 - int(_LENGTHS[k])], self._ticks[-1]
            if first.blank or last.blank or not self._is_free(first.index, last.index):
                continue
            half = int(abs(share[k] - 0.5).argmin())
            middle = self._ticks[int(_INSIDE[k, half] - _LENGTHS[k]) - 1]
            window = _Dissolve(
                first,
                last,
                middle,
                float(share[k, half]),
                float(change[k]),
                float(misfit[k].mean()),
            )
            rivals = [d for d in self._dissolves if d.overlaps(window)]
            if all(d.change < window.change for d in rivals):
                self._dissolves = [*(d for d in self._dissolves if d not in rivals), window]

    def _settle_dissolves(self, until: int) -> None:
        """Judge those windows that were over by frame ``until``."""
        for window in [d for d in self._dissolves if d.new.index <= until]:
            self._dissolves.remove(window)
            self._test_dissolve(window)

    def _test_dissolve(self, found: _Dissolve) -> None:
        """It is one if neither the old picture comes back nor the new one was there before."""
        if (
            not self._is_free(found.old.index, found.new.index)
            or found.middle.index < self._gradual_end
        ):
            return
        before = [
            t
            for t in self._ticks
            if t.index < found.old.index and self._is_free(t.index, found.old.index)
        ][-3::-8]
        after = [
            t
            for t in self._ticks
            if t.index > found.new.index and self._is_free(found.new.index, t.index)
        ][2::8]
        faint, strong = sorted((found.old.contrast, found.new.contrast))
        if faint < min(2 * _BLANK, _VALLEY * strong):
            return  # half of a fade
        if (alike := _alike([found.old, *before], [found.new, *after], 0.42, 0.4)) is None:
            return
        mix = found.old.small * (1 - found.share) + found.new.small * found.share
        if detail(found.middle.small).std() > _MIXED * detail(mix).std():
            return  # pictures laid over one another lose detail, a moving camera's do not
        if not _is_steady(alike, [[found.old, *before[:1]], [found.new, *after[:1]]]):
            return
        self._found(
            found.middle, "dissolve", (1 - alike) * (1 - found.misfit), [found.old, *before[:1]]
        )
        self._gradual_end = found.new.index


def _is_steady(alike: float, sides: list[list[_Frame]]) -> bool:
    """Unlikeness says something only where one of the scenes is much liker itself a moment apart than the other."""
    least = min(alike + 0.25, 0.75)
    return any(
        likeness(a.structure, b.structure)[0] > least
        for a, b, *_ in (s for s in sides if len(s) > 1)
    )


def _alike(
    before: Iterable[_Frame], after: list[_Frame], mean: float, share: float
) -> float | None:
    """The greatest likeness of a frame before and one after, or None if two of them show the same place."""
    greatest = 0.0
    for a in before:
        for b in after:
            found, found_share = likeness(a.structure, b.structure)
            if found > mean or found_share > share:
                leave = _leave(a, b)
                if found > mean + leave or found_share > share + 1.5 * leave:
                    return None
            greatest = max(greatest, found)
    return greatest


def _leave(a: _Frame, b: _Frame) -> float:
    """How much liker two frames may be that show different places: different colours speak against one place.

    A change of light alters them little."""
    apart = float(abs(a.colours - b.colours).mean(1).max())
    return 0.0 if apart < _OTHER_COLOURS else min(0.15, 0.06 + 2 * (apart - _OTHER_COLOURS))
