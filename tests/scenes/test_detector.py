"""Cuts in streams of made-up small frames: what is found, where, and what is left alone."""

import functools
import itertools
import weakref
from collections.abc import Iterable, Sequence
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from sdr2hdr.scenes.detector import DELAY, MIN_SCENE, Cut, Detector

BLACK = torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1).expand(3, 36, 64)
WHITE = torch.tensor([1.0, 0.5, 0.5]).view(3, 1, 1).expand(3, 36, 64)
HELD_AT_MOST = 210  # small frames


@functools.cache
def canvas(seed: int, height: int = 36, width: int = 64) -> Tensor:
    """A picture of one place, ``3,H,W`` Y'CbCr: discs of all sizes over one another, much like the world (dead leaves)."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.full((3, height, width), 0.5)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for cx, cy, size, luma, cb, cr in torch.rand(
        height * width // 30, 6, generator=generator
    ).tolist():
        disc = torch.hypot(x - cx * width, y - cy * height) < 1.5 / max(0.06, size)
        picture[:, disc] = torch.tensor([luma, 0.35 + 0.3 * cb, 0.35 + 0.3 * cr])[:, None]
    return picture


def still(seed: int, n: int) -> list[Tensor]:
    return [canvas(seed)] * n


def grainy(frames: Iterable[Tensor], seed: int = 0, strength: float = 0.01) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [(f + strength * torch.randn(f.shape, generator=generator)).clamp(0, 1) for f in frames]


def lit(frame: Tensor, gain: float) -> Tensor:
    return torch.cat([frame[:1] * gain, (frame[1:] - 0.5) * gain + 0.5]).clamp(0, 1)


def mix(a: Tensor, b: Tensor, n: int) -> list[Tensor]:
    return [a + (b - a) * k / (n + 1) for k in range(1, n + 1)]


def cuts(
    frames: Sequence[Tensor],
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 24),
) -> list[Cut]:
    detector = Detector(time_base)
    found: list[Cut] = []
    for k, frame in enumerate(frames):
        found += detector.push(frame, pts[k] if pts else k)
    return found + detector.close()


@pytest.mark.parametrize(
    "rate", [Fraction(25, 2), Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(120)]
)
def test_hard_cut_is_found_at_its_frame_at_any_rate(rate: Fraction) -> None:
    frames = grainy(still(1, 61) + still(2, 50) + still(3, 70))
    found = cuts(frames, time_base=1 / rate)
    assert [(c.frame, c.pts, c.kind) for c in found] == [(61, 61, "hard"), (111, 111, "hard")]
    assert all(0 < c.strength <= 1 for c in found)


def test_hard_cut_at_variable_rate_and_with_a_start_offset() -> None:
    frames = grainy(still(1, 40) + still(2, 40))
    pts = [90000 + 3000 * k + (40000 if k > 20 else 0) + 7 * (k % 3) for k in range(80)]
    assert [(c.frame, c.pts) for c in cuts(frames, pts, Fraction(1, 90000))] == [(40, pts[40])]


def test_monochrome_is_enough() -> None:
    frames = [
        torch.cat([f[:1], torch.full((2, 36, 64), 0.5)])
        for f in grainy(still(1, 30) + still(2, 30))
    ]
    assert [c.frame for c in cuts(frames)] == [30]


def test_a_cut_with_one_blended_frame_is_one_cut() -> None:
    frames = still(1, 30) + mix(canvas(1), canvas(2), 1) + still(2, 30)
    assert [c.frame in (30, 31) for c in cuts(grainy(frames))] == [True]


def test_a_cut_near_either_end_is_found() -> None:
    assert [c.frame for c in cuts(grainy(still(1, 2) + still(2, 40)))] == [2]
    assert [c.frame for c in cuts(grainy(still(1, 40) + still(2, 5)))] == [40]


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("flash", ["white", "brighter", "one side", "black"])
def test_flash_is_no_cut(length: int, flash: str) -> None:
    frames = still(1, 80)
    for k in range(40, 40 + length):
        side = torch.linspace(0, 1, 64).expand(3, 36, 64)
        frames[k] = {
            "white": WHITE,
            "brighter": lit(frames[k], 1.8),
            "one side": frames[k] * (1 - side) + WHITE * side,
            "black": BLACK,
        }[flash]
    assert cuts(grainy(frames)) == []


@pytest.mark.parametrize("gain", [0.3, 0.6, 1.5])
def test_light_switched_and_staying_is_no_cut(gain: float) -> None:
    assert cuts(grainy(still(1, 40) + [lit(canvas(1), gain)] * 40)) == []


def test_light_fading_within_a_scene_is_no_cut() -> None:
    gains = [1 - 0.02 * k for k in range(40)] + [0.2 + 0.02 * k for k in range(40)]
    assert cuts(grainy(lit(canvas(1), g) for g in gains)) == []


@pytest.mark.parametrize("speed", [1, 4, 9, 16])
def test_pan_is_no_cut(speed: int) -> None:
    wide = canvas(5, 36, 64 + 36 * speed)
    assert cuts(grainy(wide[:, :, speed * k : speed * k + 64] for k in range(36))) == []


def test_pan_that_starts_suddenly_is_no_cut() -> None:
    wide = canvas(5, 36, 64 + 40 * 12)
    places = [0] * 30 + [12 * k for k in range(40)]
    assert cuts(grainy(wide[:, :, x : x + 64] for x in places)) == []


def test_subtitles_popping_up_are_no_cut() -> None:
    frames = still(1, 90)
    for k in range(30, 60):
        frames[k] = frames[k].clone()
        frames[k][0, 28:31, 10:54:2] = 1
    assert cuts(grainy(frames)) == []


def test_heavy_grain_is_no_cut() -> None:
    assert cuts(grainy(still(1, 80), strength=0.08)) == []


@pytest.mark.parametrize("blank", [BLACK, WHITE], ids=["black", "white"])
@pytest.mark.parametrize("hold", [0, 1, 30, 400])
def test_fade_through_a_blank_picture_is_one_cut_where_the_new_picture_begins(
    blank: Tensor, hold: int
) -> None:
    a, b = canvas(1), canvas(2)
    frames = still(1, 50) + mix(a, blank, 12) + [blank] * hold + mix(blank, b, 15) + still(2, 60)
    found = cuts(grainy(frames, strength=0.002))
    begins = 50 + 12 + hold
    assert [(c.kind, begins - 2 <= c.frame <= begins + 5) for c in found] == [("fade", True)]


def test_hard_cuts_to_and_from_black_are_one_cut_where_the_new_picture_begins() -> None:
    found = cuts(grainy(still(1, 50) + [BLACK] * 20 + still(2, 50), strength=0.002))
    assert [c.frame for c in found] == [70]


def test_fade_to_black_and_back_to_the_same_picture_is_no_cut() -> None:
    a = canvas(1)
    frames = still(1, 50) + mix(a, BLACK, 12) + [BLACK] * 20 + mix(BLACK, a, 12) + still(1, 50)
    assert cuts(grainy(frames, strength=0.002)) == []


def test_fade_in_at_the_start_and_out_at_the_end_are_no_cuts() -> None:
    a = canvas(1)
    frames = [BLACK] * 10 + mix(BLACK, a, 20) + still(1, 60) + mix(a, BLACK, 20) + [BLACK] * 30
    assert cuts(grainy(frames, strength=0.002)) == []


@pytest.mark.parametrize("rate", [24, 60])
@pytest.mark.parametrize("seconds", [0.4, 1.0, 1.8])
def test_dissolve_is_one_cut_in_its_middle(rate: int, seconds: float) -> None:
    n = round(seconds * rate)
    frames = still(1, 2 * rate) + mix(canvas(1), canvas(2), n) + still(2, 2 * rate)
    found = cuts(grainy(frames), time_base=Fraction(1, rate))
    middle = 2 * rate + n / 2
    assert [(c.kind, abs(c.frame - middle) <= n / 4) for c in found] == [("dissolve", True)]


def test_something_bright_swelling_and_vanishing_is_no_cut() -> None:
    a = canvas(1)
    fire = lit(canvas(9), 1.3)
    frames = still(1, 50) + mix(a, fire, 4) + [fire] * 3 + mix(fire, a, 12) + still(1, 50)
    assert cuts(grainy(frames)) == []


@pytest.mark.parametrize(
    "frames", [[], still(1, 1), still(1, 200), [BLACK] * 50], ids=["none", "one", "static", "black"]
)
def test_nothing_happening_gives_nothing(frames: list[Tensor]) -> None:
    assert cuts(frames) == []


def test_cuts_do_not_hang_on_the_noise() -> None:
    frames = still(1, 40) + still(2, 50) + mix(canvas(2), canvas(3), 20) + still(3, 60)
    found = {tuple((c.frame, c.kind) for c in cuts(grainy(frames, seed))) for seed in range(4)}
    assert {tuple(kind for _, kind in one) for one in found} == {("hard", "dissolve")}
    frames_of_dissolve = [one[1][0] for one in found]
    assert max(frames_of_dissolve) - min(frames_of_dissolve) <= 4


def test_scenes_have_a_least_length_and_cuts_come_in_order() -> None:
    places = [s for k in range(12) for s in still(k, 3)] + [
        s for k in range(20, 26) for s in still(k, 15)
    ]
    found = [c.frame for c in cuts(grainy(still(99, 30) + places + still(98, 30)))]
    assert found == sorted(found)
    assert all(b - a >= MIN_SCENE for a, b in itertools.pairwise(found))
    assert found[-6:] == [81, 96, 111, 126, 141, 156]


@pytest.mark.parametrize("rate", [24, 240])
def test_memory_and_delay_are_bounded(rate: int) -> None:
    detector = Detector(Fraction(1, rate))
    alive: list[weakref.ref[Tensor]] = []
    most, late = 0, 0
    for k in range(12 * rate):
        frame = grainy([canvas(k // (2 * rate))], seed=k)[0]
        alive = [ref for ref in [*alive, weakref.ref(frame)] if ref() is not None]
        for cut in detector.push(frame, k):
            late = max(late, k - cut.frame)
        most = max(most, len(alive))
    assert most <= HELD_AT_MOST
    assert 0 < late <= DELAY * max(1, rate / 24)
