"""The light meter against CTA-861.3's definitions computed in float64 from the planes."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sdr2hdr.color.light import FrameLight, LightFacts, LightMeter
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.color.yuv import brightest, highest, to_yuv

Planes = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def nits_of(planes: Planes) -> NDArray[np.float64]:
    """max(R, G, B) in nits of every pixel, by BT.2020 table 4 and ST 2084 eq. 4.1; chroma co-sited top-left, linear between."""
    y, cb, cr = (p.numpy().astype(np.float64) for p in planes)
    full = []
    for c in ((cb - 512) / 896, (cr - 512) / 896):
        wide = np.pad(c, ((0, 1), (0, 1)), mode="edge")
        up = np.empty((2 * c.shape[0], 2 * c.shape[1]))
        up[::2, ::2] = c
        up[1::2, ::2] = (wide[:-1, :-1] + wide[1:, :-1]) / 2
        up[::2, 1::2] = (wide[:-1, :-1] + wide[:-1, 1:]) / 2
        up[1::2, 1::2] = (wide[:-1, :-1] + wide[1:, :-1] + wide[:-1, 1:] + wide[1:, 1:]) / 4
        full.append(up)
    luma = (y - 64) / 876
    r, b = luma + 1.4746 * full[1], luma + 1.8814 * full[0]
    g = (luma - 0.2627 * r - 0.0593 * b) / 0.678
    p = np.maximum(np.maximum(r, g), b).clip(0, 1) ** (1 / 78.84375)
    light = (p - 0.8359375).clip(0) / (18.8515625 - 18.6875 * p)
    return 10000 * light ** (1 / 0.1593017578125)


def test_light_is_the_same_with_any_number_of_threads(threads: Callable[[int], None]) -> None:
    lights = [FrameLight.of(brightest(picture(seed)).clamp_(0, 1)) for seed in range(3)]
    found = []
    for count in (1, 2, 3):
        threads(count)
        meter = LightMeter()
        for light in lights:
            meter.add_light(light)
        found.append(meter.facts())
    assert found[0] == found[1] == found[2]
    assert sum(found[0].histogram) == 3 * 90 * 160


def picture(seed: int, height: int = 90, width: int = 160, top: float = 0.72) -> Planes:
    small = torch.rand(1, 3, 9, 16, generator=torch.Generator().manual_seed(seed)) ** 2 * top
    rgb = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")[0]
    return to_yuv(rgb, seed=seed, peak_code=pq_code(1000))


def letterboxed(seed: int) -> Planes:
    y, cb, cr = picture(seed)
    y[:10], y[80:] = 64, 64
    for c in (cb, cr):
        c[:5], c[40:] = 512, 512
    return y, cb, cr


def measured(*frames: Planes) -> LightFacts:
    meter = LightMeter()
    for planes in frames:
        meter.add(planes)
    return meter.facts()


def test_against_float64() -> None:
    frames = [picture(seed, top=0.4 + seed / 20) for seed in range(6)]
    facts = measured(*frames)
    nits = [nits_of(planes) for planes in frames]
    assert facts.max_cll == pytest.approx(max(n.max() for n in nits), rel=1e-4)
    assert facts.max_fall == pytest.approx(max(n.mean() for n in nits), rel=1e-4)
    assert facts.p9999 == pytest.approx(np.percentile(np.stack(nits), 99.99), rel=0.01)


def test_the_spread_of_light_against_float64() -> None:
    frames = [picture(seed, top=0.4 + seed / 20) for seed in range(6)]
    facts = measured(*frames)
    nits = np.stack([nits_of(planes) for planes in frames])
    assert facts.mean == pytest.approx(nits.mean(), rel=0.003)
    for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99):
        wanted = np.percentile(nits, percent)
        assert facts.passed_by(1 - percent / 100) == pytest.approx(wanted, rel=0.01, abs=0.01)


def test_the_highest_channels_are_those_of_pure_colours() -> None:
    rgb = torch.full((3, 64, 64), pq_code(10))
    for channel, (row, nits) in enumerate(((4, 800.0), (20, 400.0), (40, 200.0))):
        rgb[channel, row : row + 8, 10:30] = pq_code(nits)
    planes = to_yuv(rgb, seed=None, peak_code=1.0)
    meter = LightMeter()
    meter.add_light(FrameLight.of(brightest(planes).clamp_(0, 1), highest(planes)))
    assert meter.facts().channels == pytest.approx((800, 400, 200), rel=0.03)
    assert max(meter.facts().channels) == pytest.approx(meter.facts().max_cll)


def test_one_bright_pixel_is_the_maximum_but_not_the_percentile() -> None:
    rgb = torch.full((3, 400, 400), pq_code(100))
    rgb[:, 100, 100] = pq_code(1000)
    facts = measured(to_yuv(rgb, seed=None, peak_code=1.0))
    assert facts.max_cll == pytest.approx(1000, rel=0.01)
    assert facts.p9999 == pytest.approx(100, rel=0.01)
    assert facts.max_fall == pytest.approx(100 + 900 / 160000, rel=0.005)


def test_flat_picture() -> None:
    facts = measured(to_yuv(torch.full((3, 64, 64), pq_code(100)), seed=None, peak_code=1.0))
    assert facts.max_cll == pytest.approx(100, rel=0.005)
    assert facts.max_fall == pytest.approx(facts.max_cll, rel=1e-4)
    assert facts.p9999 == pytest.approx(facts.max_cll, rel=0.005)


def test_letterbox_bars_do_not_lower_max_fall() -> None:
    frame = letterboxed(4)
    facts = measured(frame)
    assert facts.box is not None
    assert facts.box[1] in range(9, 12) and facts.box[3] in range(79, 82)
    nits = nits_of(frame)
    assert facts.max_fall == pytest.approx(nits[10:80].mean(), rel=0.02)
    assert facts.max_fall > 1.2 * nits.mean()


def test_a_dark_frame_does_not_shrink_the_active_picture() -> None:
    """A small light on black is measured over the picture that other frames fill."""
    spot = torch.zeros(3, 90, 160)
    spot[:, 40:50, 40:50] = pq_code(1000)
    facts = measured(to_yuv(spot, seed=None, peak_code=1.0), picture(1, top=0.2))
    assert facts.max_fall < 20


def test_chunks_merged_are_the_whole() -> None:
    frames = [letterboxed(seed) for seed in range(3)] + [picture(seed) for seed in range(3, 6)]
    whole = measured(*frames)
    a, b, c = measured(*frames[:2]), measured(*frames[2:3]), measured(*frames[3:])
    assert a.merge(b).merge(c) == a.merge(b.merge(c)) == whole
    assert LightFacts().merge(whole) == whole.merge(LightFacts()) == whole


def test_facts_survive_json() -> None:
    facts = measured(picture(2))
    assert LightFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert LightFacts.from_json(json.loads(json.dumps(LightFacts().to_json()))) == LightFacts()


@pytest.mark.parametrize("peak", [400, 1000, 4000])
def test_written_levels_never_pass_the_peak_nor_say_unknown(peak: int) -> None:
    white = measured(to_yuv(torch.ones(3, 32, 32), seed=1, peak_code=pq_code(peak)))
    cll, fall = white.written(peak)
    assert 0.97 * peak < fall <= cll <= peak
    black = measured(to_yuv(torch.zeros(3, 32, 32), seed=1, peak_code=pq_code(peak)))
    assert (black.max_cll, black.max_fall, black.p9999) == (0, 0, 0)
    assert black.written(peak) == (1, 1)  # 0 would mean unknown (CTA-861.3)
