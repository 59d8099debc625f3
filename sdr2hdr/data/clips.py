"""Pairs for training and for results: a clip of an HDR master, and an SDR file of it.

Every clip follows from (seed, split, number) alone. A clip holds decoded 8-bit 4:2:0 planes and the master as 16-bit PQ
codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color import tonemap, yuv
from sdr2hdr.color.exposure import brightness_between
from sdr2hdr.color.luma import weights
from sdr2hdr.color.transfer import WHITE, pq_eotf, pq_inverse_eotf
from sdr2hdr.data import aces, camera
from sdr2hdr.data.damage import USUAL_DAMAGE, Damage, Planes
from sdr2hdr.data.grading import LOOKS, USUAL, Mix, brightness_of, grade, rendition
from sdr2hdr.data.splits import Split, rng
from sdr2hdr.data.staging import restage
from sdr2hdr.data.stills import Still, load_linear, load_sdr, stills

LAYOUT = yuv.YuvLayout(
    matrix="bt709", full_range=False, depth=8, sub=(1, 1), siting="left", grey=False
)
PAIR_PEAK = 1000.0
"""The phone's masters are clipped here: the peak that is written by default, and the norm of the simulated grades."""

QPS = (22, 27, 32, 37, 42)

Area = tuple[slice, slice]
WHOLE: Area = (slice(None), slice(None))


@dataclass(frozen=True)
class Clip:
    """``planes``: uint8 Y'CbCr ``T,H,W`` and two of ``T,H/2,W/2``, or R'G'B' of three ``T,H,W``; ``clean``: the same before
    the codec; ``codes``: int32 PQ codes * 65535, ``T,3,H,W``; how it was made; and its ``brightness``
    (:mod:`sdr2hdr.color.exposure`)."""

    planes: Planes
    clean: Planes
    codes: Tensor
    scene: str
    look: str
    qp: int
    brightness: float

    @property
    def known_qp(self) -> float | None:
        """What models are told of the compression: the QP, None for a clip that went through no codec."""
        return float(self.qp) if self.qp else None

    def sdr(self, which: slice = slice(None), area: Area = WHOLE) -> Tensor:
        """R'G'B' ``T,3,H,W`` 0..1 as the converter would see it: all frames or some, the whole picture or an area."""
        return _rgb(self.planes, which, area)

    def undamaged(self, which: slice = slice(None), area: Area = WHOLE) -> Tensor:
        """The same before the codec."""
        return _rgb(self.clean, which, area)

    def hdr(self, which: slice = slice(None), area: Area = WHOLE) -> Tensor:
        """The master's PQ codes ``T,3,H,W`` 0..1, or an area of them."""
        return self.codes[which][..., *area].float() / 65535.0


Span = tuple[int, int]
"""First row or column of an area, and the one after its last."""


class Plane(Protocol):
    """A plane ``T,H,W`` of codes, in memory or in a file."""

    @property
    def shape(self) -> Sequence[int]: ...

    def __getitem__(self, index: tuple[slice, ...], /) -> Tensor: ...


def cut(planes: Sequence[Plane], frames: slice, rows: Span, columns: Span) -> Planes:
    """An area of planes ``T,H,W`` with one more chroma sample on every side, to interpolate with; edges repeat.

    ``rows`` and ``columns`` are of luma.
    """
    y, cb, cr = (
        _cut(p, frames, rows, columns, 2 if tuple(p.shape) == tuple(planes[0].shape) else 1)
        for p in planes
    )
    return y, cb, cr


def _cut(plane: Plane, frames: slice, rows: Span, columns: Span, step: int) -> Tensor:
    """``step`` is how many of the plane's samples a chroma sample of 4:2:0 spans: 2 for luma."""
    spans = [
        torch.arange((start // 2 - 1) * step, ((stop + 1) // 2 + 1) * step)
        for start, stop in (rows, columns)
    ]
    down, across = (x.clamp_(0, n - 1) for x, n in zip(spans, plane.shape[1:], strict=True))
    part = plane[frames, int(down[0]) : int(down[-1]) + 1, int(across[0]) : int(across[-1]) + 1]
    return part[:, (down - down[0])[:, None], across - across[0]]


def rgb(planes: Planes, rows: Span, columns: Span) -> Tensor:
    """R'G'B' ``T,3,h,w`` 0..1 of areas that were :func:`cut`, of Y'CbCr in 4:2:0 or of R'G'B' itself.

    They are converted as one tall picture: what mixes across their borders is cut away.
    """
    count, height, width = planes[0].shape
    if planes[1].shape == planes[0].shape:
        whole = torch.stack(planes, dim=1).float() / 255.0
    else:
        y, cb, cr = (p.flatten(0, 1) for p in planes)
        tall = yuv.from_yuv((y, cb, cr), LAYOUT)
        whole = tall.view(3, count, height, width).transpose(0, 1)
    top, left = 2 + rows[0] % 2, 2 + columns[0] % 2
    return whole[..., top : top + rows[1] - rows[0], left : left + columns[1] - columns[0]]


def _rgb(planes: Planes, which: slice, area: Area) -> Tensor:
    rows, columns = (a.indices(n)[:2] for a, n in zip(area, planes[0].shape[1:], strict=True))
    return rgb(cut(planes, which, rows, columns), rows, columns)


def to_planes(rgb: Tensor, rng: np.random.Generator, *, dither: float = 0.3) -> Planes:
    """R'G'B' ``T,3,H,W`` 0..1 to 8-bit 4:2:0 limited BT.709 planes, left-sited, some (a share ``dither``) with dither."""
    r, g, b = rgb.unbind(1)
    kr, kg, kb = weights("bt709")
    y = kr * r + kg * g + kb * b
    chroma = torch.stack([(b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)], dim=1)
    padded = F.pad(chroma, (1, 0, 0, 0), mode="replicate")
    across = (
        padded[..., :-1:2]
        + 2 * padded[..., 1::2]
        + F.pad(padded, (0, 1, 0, 0), mode="replicate")[..., 2::2]
    ) / 4
    chroma = (across[..., 0::2, :] + across[..., 1::2, :]) / 2
    dithered = rng.random() < dither

    def quantise(x: Tensor, gain: float, offset: float) -> Tensor:
        noise = torch.from_numpy(rng.random(x.shape, dtype=np.float32)) - 0.5 if dithered else 0.0
        return (
            (x * gain + offset + noise)
            .round()
            .clamp(16, 235 if offset == 16 else 240)
            .to(torch.uint8)
        )

    return (
        quantise(y, 219.0, 16.0),
        quantise(chroma[:, 0], 224.0, 128.0),
        quantise(chroma[:, 1], 224.0, 128.0),
    )


class ClipMaker:
    """Makes clips of one split of a corpus; holds its stills in memory (about 500 MB for ninety)."""

    def __init__(
        self,
        folder: Path,
        split: Split,
        *,
        size: tuple[int, int] = (160, 256),
        frames: int = 3,
        seed: int = 0,
        mix: Mix = USUAL,
        damage: Damage = USUAL_DAMAGE,
    ) -> None:
        self.split, self.size, self.frames, self.seed = split, size, frames, seed
        self.damage = damage
        self.mix, self.restaged = mix, mix.restaged if split == "train" else 0.0
        self.stills = stills(folder, split)
        self._light: dict[str, Tensor] = {}
        self._sdr: dict[str, Tensor] = {}
        self._brightness: dict[str, float] = {}

    @property
    def scenes(self) -> int:
        return len(self.stills)

    def light(self, still: Still) -> Tensor:
        if still.name not in self._light:
            self._light[still.name] = load_linear(still).half().clamp_max(60000)
        return self._light[still.name].float()

    def _rng(self, *key: int) -> np.random.Generator:
        return rng(self.seed, self.split, *key)

    def train_clip(self, number: int) -> Clip:
        """Clip ``number`` of an endless list: scene, move, grade, look, codec and QP all drawn from its own seed."""
        rng = self._rng(number)
        pairs = [s for s in self.stills if s.sdr is not None]
        kind = self.mix.kind(rng)
        qp = self.damage.qp(rng)
        if kind == "pair" and pairs:
            return self.pair_clip(pairs[int(rng.integers(len(pairs)))], qp, rng)
        if kind == "aces":
            scenes = [s for s in self.stills if not s.white_is_one]
            version = str(rng.choice(list(aces.PEAKS)))
            peak = int(rng.choice(aces.PEAKS[version]))
            return self.aces_clip(scenes[int(rng.integers(len(scenes)))], version, peak, qp, rng)
        still = None if kind == "chart" else self.stills[int(rng.integers(len(self.stills)))]
        return self.scene_clip(still, self.mix.look(rng), qp, rng)

    def val_clips(self) -> list[tuple[Still, str, int, int]]:
        """The grid results are reported on: every simulated scene, look and QP (still, look, QP, number)."""
        scenes = [s for s in self.stills if s.sdr is None]
        return [
            (s, look, qp, i * 100 + j)
            for i, s in enumerate(scenes)
            for j, look in enumerate(LOOKS)
            for qp in QPS
        ]

    def val_aces(self) -> list[tuple[Still, str, int, int]]:
        """The grid of ACES on val: every scene-linear still and version, undamaged and at QP 27 (still, version, QP, number)."""
        scenes = [s for s in self.stills if not s.white_is_one]
        return [
            (s, version, qp, 1_000_000 + i * 100 + j)
            for i, s in enumerate(scenes)
            for j, version in enumerate(aces.PEAKS)
            for qp in (0, 27)
        ]

    def val_aces_clip(self, still: Still, version: str, qp: int, number: int) -> Clip:
        """One cell of that grid, its HDR for 1000 nits; the same picture at every QP."""
        return self.aces_clip(still, version, 1000, qp, self._rng(number))

    def val_clip(self, still: Still, look: str, qp: int, number: int) -> Clip:
        """One cell of the grid; the same master and SDR rendition at every QP."""
        return self.scene_clip(still, look, qp, self._rng(number))

    def scene_clip(self, still: Still | None, look: str, qp: int, rng: np.random.Generator) -> Clip:
        """A simulated clip of a still, or of a synthetic chart if there is no still."""
        light = self._scene(still, rng)
        night, white_is_one = (
            still is not None and still.tag == "night",
            still is not None and still.white_is_one,
        )
        brightness = float(np.exp(rng.uniform(0.0, np.log(4.5)))) if look == "grades" else 0.0
        exposure = (
            (brightness / 3.0) ** 0.7 if brightness else 1.0
        )  # brighter grades are of brighter masters
        master = grade(light, look, rng, night=night, white_is_one=white_is_one, exposure=exposure)
        render = rendition(look, rng, master.peak, brightness)
        name, codes = still.name if still else "chart", pq_inverse_eotf(master.nits)
        brightness = brightness_of(render, master.peak)
        return finish(
            render(master.nits),
            codes,
            name,
            look,
            qp,
            rng,
            brightness=brightness,
            vary=self.split != "val",
            damage=self.damage,
        )

    def aces_clip(
        self, still: Still, version: str, peak: int, qp: int, rng: np.random.Generator
    ) -> Clip:
        """A scene through the SDR and the HDR output transform of a version of ACES; peaks above 1000 nits roll off to it."""
        light = aces.expose(self._scene(still, rng), rng, night=still.tag == "night")
        nits = tonemap.bt2390_eetf(
            pq_eotf(aces.to_hdr(light, version, peak)), float(peak), PAIR_PEAK
        )
        sdr, brightness = aces.to_sdr(light, version), aces.brightness(version, peak)
        codes = pq_inverse_eotf(nits)
        return finish(
            sdr,
            codes,
            still.name,
            version,
            qp,
            rng,
            brightness=brightness,
            vary=self.split != "val",
            damage=self.damage,
        )

    def _scene(self, still: Still | None, rng: np.random.Generator) -> Tensor:
        """Scene light ``T,3,H,W`` of a moving view, some of it restaged, some with grain."""
        light = (
            camera.chart(self.size, self.frames, rng) if still is None else self._views(still, rng)
        )
        if still is not None and self.restaged and rng.random() < self.restaged:
            light = restage(
                light,
                lambda: self._views(self.stills[int(rng.integers(len(self.stills)))], rng),
                rng,
            )
        if rng.random() < 0.3:  # grain belongs to the master as to its SDR rendition
            grain = torch.from_numpy(rng.standard_normal(light[:, :1].shape, dtype=np.float32))
            light = light * (grain * float(rng.uniform(0.0, 0.06))).exp()
        return light

    def _views(self, still: Still, rng: np.random.Generator) -> Tensor:
        if still.panorama:
            return camera.panorama_views(self.light(still), self.size, self.frames, rng)
        return camera.photo_views([self.light(still)], self.size, self.frames, rng)[0]

    def pair_clip(self, still: Still, qp: int, rng: np.random.Generator) -> Clip:
        """A moving window through a real pair: the phone's own SDR, and its HDR with SDR white at 203 nits."""
        if still.name not in self._sdr:
            self._sdr[still.name] = load_sdr(still).half()
            self._brightness[still.name] = brightness_between(
                self._sdr[still.name], self.light(still) * WHITE
            )
        pictures = [self.light(still), self._sdr[still.name].float()]
        light, sdr = camera.photo_views(pictures, self.size, self.frames, rng)
        codes = pq_inverse_eotf((light * WHITE).clamp_max(PAIR_PEAK))
        brightness = self._brightness[still.name]
        return finish(
            sdr,
            codes,
            still.name,
            "phone",
            qp,
            rng,
            brightness=brightness,
            vary=self.split != "val",
            damage=self.damage,
        )


def exact_clip(
    sdr: Tensor,
    codes: Tensor,
    scene: str,
    qp: int,
    rng: np.random.Generator,
    *,
    brightness: float,
    damage: Damage,
    compressed: Tensor | None = None,
) -> Clip:
    """The clip of 8-bit R'G'B' ``T,3,H,W`` 0..1 and PQ codes as they are; only with a ``qp`` it is 4:2:0 after a codec.

    ``compressed`` is R'G'B' that went through a codec already.
    """
    clean = planes = rgb_planes(sdr)
    if compressed is not None:
        planes = rgb_planes(compressed)
    elif qp:
        planes = damage.through(to_planes(sdr, rng, dither=0.0), qp, "libx265", rng)
    kept = (codes * 65535.0).round().to(torch.int32)
    return Clip(planes, clean, kept, scene, "paired", qp, brightness)


def rgb_planes(sdr: Tensor) -> Planes:
    """R'G'B' ``T,3,H,W`` 0..1 as three planes of 8 bits."""
    r, g, b = (sdr * 255.0).round().to(torch.uint8).unbind(1)
    return r, g, b


def finish(
    sdr: Tensor,
    codes: Tensor,
    scene: str,
    look: str,
    qp: int,
    rng: np.random.Generator,
    *,
    brightness: float,
    vary: bool = True,
    damage: Damage = USUAL_DAMAGE,
) -> Clip:
    """The clip of R'G'B' ``T,3,H,W`` and its master's PQ codes: quantised, and through a codec unless ``qp`` is 0.

    With ``vary`` bars are laid over some clips, and half of them are mirrored.
    """
    if vary:
        if rng.random() < 0.08:  # letterbox bars
            bar = int(rng.integers(4, sdr.shape[-2] // 5)) // 2 * 2
            for x in (sdr, codes):
                x[..., :bar, :] = 0.0
                x[..., -bar:, :] = 0.0
        if rng.random() < 0.5:
            sdr, codes = sdr.flip(-1), codes.flip(-1)
    codec = "libx264" if rng.random() < 0.6 else "libx265"
    clean = to_planes(sdr.clamp(0, 1), rng)
    kept = (codes * 65535.0).round().to(torch.int32)
    planes = damage.through(clean, qp, codec, rng)
    return Clip(planes, clean, kept, scene, look, qp, brightness)
