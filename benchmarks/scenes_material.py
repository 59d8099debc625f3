"""Made-up reels with known cuts: shots of real clips and of camera moves over stills, joined, blended and disturbed."""

import hashlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import OpenEXR
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

H, W = 180, 320
RATES = (Fraction(24000, 1001), Fraction(25), Fraction(30), Fraction(50))
VIDEO = {".mp4", ".webm", ".mkv", ".mov"}


@dataclass(frozen=True)
class Change:
    """A true change of scene: frames ``first``..``last`` (equal for a hard cut: the new scene's first frame)."""

    kind: str
    first: int
    last: int


@dataclass(frozen=True)
class Reel:
    """A made-up clip: frames ``T,3,H,W`` R'G'B' 0..1 and what a detector should say of it."""

    name: str
    group: str
    rate: Fraction
    frames: Tensor
    truth: tuple[Change, ...]


def _still(path: Path) -> Tensor:
    """A still as ``3,H,W`` R'G'B' 0..1; linear light is exposed for its median and rolled off."""
    if path.suffix == ".exr":
        pixels = OpenEXR.File(str(path)).channels()["RGB"].pixels
        light = (
            torch.from_numpy(pixels)
            .permute(2, 0, 1)
            .float()
            .nan_to_num(0, 60000, 0)
            .clamp(0, 60000)
        )
        light = light * (0.22 / light.mean(0).median().clamp(min=1e-6))
        picture = (1.2 * light / (1 + light)).clamp(0, 1) ** (1 / 2.2)
    else:
        with av.open(str(path)) as container:
            picture = torch.from_numpy(next(container.decode(video=0)).to_ndarray(format="rgb24"))
        picture = picture.permute(2, 0, 1).float() / 255
    scale = 1024 / picture.shape[2]
    return interpolate(picture[None], scale_factor=scale, mode="area")[0] if scale < 1 else picture


def _clip(path: Path, changes: list[Change]) -> list[Tensor]:
    """The shots of a clip between its changes, at most 150 frames each, ``T,3,H,W`` uint8."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(
                torch.from_numpy(frame.reformat(width=W, height=H, format="rgb24").to_ndarray())
            )
    starts = [0, *(c.first if c.kind == "hard" else c.last + 1 for c in changes)]
    shots = [
        frames[a:b][:150]
        for a, b in zip(starts, [*(c.first for c in changes), len(frames)], strict=True)
    ]
    return [torch.stack(s).permute(0, 3, 1, 2) for s in shots if len(s) >= 8]


class Pool:
    """Shots to make reels of: ``part`` 0 is for tuning, 1 for the end; no still is in both."""

    def __init__(self, clips: dict[Path, list[Change]], stills: list[Path], part: int) -> None:
        self.clips = [shot for path, changes in clips.items() for shot in _clip(path, changes)]
        mine = [
            p
            for p in stills
            if hashlib.sha256(p.stem.split(".")[0].encode()).digest()[0] % 2 == part
        ]
        self.stills = [_still(p) for p in mine]
        self._recent: list[int] = []

    def _pick(self, rng: random.Random, pictures: list[Tensor]) -> Tensor:
        """One that was not among the last few: two neighbouring shots of one place would be no change of scene."""
        fresh = [p for p in pictures if id(p) not in self._recent[-4:]] or pictures
        chosen = rng.choice(fresh)
        self._recent.append(id(chosen))
        return chosen

    def shot(self, rng: random.Random, n: int) -> Tensor:
        """``n`` frames of one ordinary shot."""
        if self.clips and rng.random() < 0.5:
            clip = self._pick(rng, self.clips)
            length = min(n, len(clip))
            start = rng.randrange(len(clip) - length + 1)
            run = list(range(start, start + length))
            there_and_back = (run + run[-2:0:-1]) * (n // max(1, len(run)) + 1)
            return clip[there_and_back[:n]].float() / 255
        return self.camera(
            rng, n, speed=rng.choice([0.0, 0.05, 0.15, 0.4]), zoom=rng.choice([1.0, 1.0, 1.2, 0.8])
        )

    def camera(
        self,
        rng: random.Random,
        n: int,
        *,
        speed: float,
        zoom: float = 1.0,
        shake: float = 0.0,
        blur: int = 1,
    ) -> Tensor:
        """A camera moving over a still: ``speed`` in widths per second at 25 fps, ``zoom`` from 1 at the first frame."""
        still = self._pick(rng, self.stills)
        field = rng.uniform(0.25, 0.45)
        aspect = still.shape[2] / still.shape[1] * H / W
        way = rng.uniform(-0.35, 0.35) + (0 if rng.random() < 0.5 else math.pi)
        x, y = rng.uniform(-0.5, 0.5), rng.uniform(-0.2, 0.2)
        frames = []
        for i in range(n):
            sub = []
            for k in range(blur):
                t = i + k / blur
                width = field * zoom ** (t / n)
                step = 2 * field * speed * t / 25
                # a still is as large as it is: the camera goes to and fro between its edges
                cx = _bounce(x + step * math.cos(way) + rng.gauss(0, shake) * field, 1 - width)
                cy = _bounce(
                    y + step * math.sin(way) * 0.5 + rng.gauss(0, shake) * field,
                    max(0.05, 1 - width * aspect),
                )
                theta = torch.tensor([[[width, 0, cx], [0, min(1.0, width * aspect), cy]]])
                grid = affine_grid(theta, [1, 3, H, W], align_corners=False)
                sub.append(
                    grid_sample(still[None], grid, padding_mode="reflection", align_corners=False)[
                        0
                    ]
                )
            frames.append(torch.stack(sub).mean(0))
        return torch.stack(frames)


def _bounce(x: float, limit: float) -> float:
    period = 4 * limit
    x = (x + limit) % period
    return x - limit if x < 2 * limit else 3 * limit - x


def _length(rng: random.Random, rate: Fraction) -> int:
    return round(rng.uniform(0.8, 3.0) * float(rate))


def _hard(rng: random.Random, pool: Pool, rate: Fraction) -> tuple[Tensor, list[Change]]:
    shots, truth, at = [], [], 0
    for k in range(6):
        shots.append(pool.shot(rng, _length(rng, rate)))
        truth += [Change("hard", at, at)] if k else []
        at += len(shots[-1])
    return torch.cat(shots), truth


def _dissolve(rng: random.Random, pool: Pool, rate: Fraction) -> tuple[Tensor, list[Change]]:
    parts, truth, at = [], [], 0
    overlaps = [round(rng.uniform(0.3, 1.6) * float(rate)) for _ in range(4)]
    old = pool.shot(rng, _length(rng, rate) + overlaps[0])
    for k, n in enumerate(overlaps):
        new = pool.shot(rng, n + _length(rng, rate) + (overlaps[k + 1] if k < 3 else 0))
        mix = _ramp(n)
        parts += [old[:-n], old[-n:] * (1 - mix) + new[:n] * mix]
        at += len(old)
        truth.append(Change("gradual", at - n, at - 1))
        old = new[n:]
    return torch.cat([*parts, old]), truth


def _fade(rng: random.Random, pool: Pool, rate: Fraction) -> tuple[Tensor, list[Change]]:
    parts, truth = [pool.shot(rng, _length(rng, rate))], []
    for _ in range(4):
        out, back = (round(rng.uniform(0.2, 1.2) * float(rate)) for _ in range(2))
        hold, colour = rng.choice([0, 1, 4, 12, 30]), float(rng.random() < 0.25)
        new = pool.shot(rng, back + _length(rng, rate) + 30)
        last = parts.pop()
        out = min(out, len(last) // 2)
        first = sum(len(p) for p in parts) + len(last) - out
        down, up = 1 - _ramp(out), _ramp(back)
        parts += [
            last[:-out],
            last[-out:] * down + colour * (1 - down),
            torch.full((hold, 3, H, W), colour),
        ]
        parts += [new[:back] * up + colour * (1 - up), new[back:]]
        truth.append(Change("gradual", first, first + out + hold + back - 1))
    return torch.cat(parts), truth


def _ramp(n: int) -> Tensor:
    return (torch.arange(1, n + 1) / (n + 1)).view(-1, 1, 1, 1)


def _flash(rng: random.Random, pool: Pool) -> Tensor:
    reel = pool.shot(rng, 110)
    for start in range(14, 100, rng.randint(14, 30)):
        place = torch.linspace(rng.uniform(0.2, 1), rng.uniform(0.2, 1), W).view(1, 1, W)
        for k in range(rng.randint(1, 3)):
            a = place * (1.0 if k == 0 else 0.6)
            reel[start + k] = reel[start + k] * (1 - a) + a
    return reel


def _light(rng: random.Random, pool: Pool) -> Tensor:
    reel = pool.shot(rng, 100)
    gain = rng.choice([0.3, 0.5, 1.6, 2.5])
    reel[rng.randint(25, 70) :] *= gain
    return reel


def _dim(rng: random.Random, pool: Pool) -> Tensor:
    n = 110
    down = 0.5 - 0.5 * torch.cos(torch.linspace(0, 2 * math.pi * rng.choice([1, 2]), n))
    return pool.shot(rng, n) * (1 - rng.uniform(0.5, 0.85) * down).view(-1, 1, 1, 1)


def _pan(rng: random.Random, pool: Pool) -> Tensor:
    return pool.camera(rng, 90, speed=rng.choice([1.0, 2.0, 3.0, 4.0]), blur=rng.choice([1, 4]))


def _zoom(rng: random.Random, pool: Pool) -> Tensor:
    rest = rng.choice([0.0, 0.2])
    return pool.camera(rng, rng.choice([20, 45, 70]), speed=rest, zoom=rng.choice([0.25, 0.4, 2.0]))


def _shake(rng: random.Random, pool: Pool) -> Tensor:
    return pool.camera(rng, 80, speed=0.1, shake=rng.choice([0.05, 0.1, 0.15]), blur=2)


def _explosion(rng: random.Random, pool: Pool) -> Tensor:
    reel = pool.shot(rng, 100)
    yy, xx = torch.meshgrid(torch.linspace(-0.56, 0.56, H), torch.linspace(-1, 1, W), indexing="ij")
    cx, cy, rise = rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3), rng.randint(2, 12)
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    for i in range(30, 90):
        t = (i - 30) / rise
        radius = 0.15 + 0.9 * min(t, 1.0)
        smoke = interpolate(torch.rand(1, 1, 12, 20, generator=generator), (H, W), mode="bicubic")[
            0, 0
        ]
        edge = ((radius - torch.hypot(xx - cx, yy - cy)) * 6 + smoke).clamp(0, 1)
        alpha = edge * (1.0 if t < 1 else math.exp(-(i - 30 - rise) / 15))
        fire = torch.stack([torch.ones_like(alpha), 0.5 + 0.5 * smoke, 0.4 * smoke]).clamp(0, 1)
        reel[i] = reel[i] * (1 - alpha) + fire * alpha
    return reel


def _passer(rng: random.Random, pool: Pool) -> Tensor:
    reel = pool.shot(rng, 90)
    coat = interpolate(pool.shot(rng, 1), (H, int(W * rng.uniform(0.3, 0.8))), mode="area")[0] * 0.6
    n, width = rng.randint(6, 25), coat.shape[2]
    for k in range(n):
        left = round(-width + (W + width) * (k + 1) / (n + 1))
        a, b = max(0, left), min(W, left + width)
        reel[40 + k, :, :, a:b] = coat[:, :, a - left : b - left]
    return reel


def _subtitles(rng: random.Random, pool: Pool) -> Tensor:
    reel = pool.shot(rng, 110)
    letters = torch.zeros(H, W)
    for row in range(2):
        for x in range(40, W - 40, 6):
            letters[140 + 16 * row : 150 + 16 * row, x : x + rng.choice([0, 2, 4])] = 1
    for start in (20, 60, 85):
        for i in range(start, start + 20):
            reel[i] = torch.maximum(reel[i], letters)
    return reel


def _grain(rng: random.Random, pool: Pool) -> Tensor:
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    reel = pool.shot(rng, 80) * rng.choice([0.2, 1.0])
    return reel + torch.randn(reel.shape, generator=generator) * rng.choice([0.06, 0.15])


TRAPS: tuple[Callable[[random.Random, Pool], Tensor], ...] = (
    _flash, _light, _dim, _pan, _zoom, _shake, _explosion, _passer, _subtitles, _grain,
)  # fmt: skip


def reels(pool: Pool, seed: int, rounds: int) -> Iterator[Reel]:
    """``rounds`` reels of hard cuts, of dissolves, of fades and of every trap, the same for the same seed and pool."""
    rng = random.Random(seed)
    for k in range(rounds):
        for group, make in (("hard", _hard), ("dissolve", _dissolve), ("fade", _fade)):
            rate = rng.choice(RATES)
            frames, truth = make(rng, pool, rate)
            yield _finish(rng, Reel(f"{group}{k}", group, rate, frames, tuple(truth)))
        for trap in TRAPS:
            name = trap.__name__[1:]
            yield _finish(rng, Reel(f"{name}{k}", name, rng.choice(RATES), trap(rng, pool), ()))


def _finish(rng: random.Random, reel: Reel) -> Reel:
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    strength = rng.choice([0.0, 0.01, 0.03])
    for frame in reel.frames:  # in place, for a reel is large
        frame.add_(torch.randn(frame.shape, generator=generator), alpha=strength).clamp_(0, 1)
    return reel


def write(reel: Reel, path: Path) -> None:
    """Encode with libx264 in one thread (its packets depend on the number of threads)."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=reel.rate)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        stream.options = {"crf": "26", "preset": "superfast", "x264-params": "threads=1"}
        for frame in reel.frames:
            picture = (frame * 255).round_().to(torch.uint8).permute(1, 2, 0).contiguous()
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")))
        out.mux(stream.encode(None))
