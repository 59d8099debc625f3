"""The light and colours of a film, and its error against a truth."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sdr2hdr.color.light import LightMeter
from sdr2hdr.color.primaries import convert, luminance, rgb_to_xyz
from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf
from sdr2hdr.metrics.basic import mean_delta_e_itp, psnr

BINS = 128
"""Bins of the luminance histogram, even steps of PQ code."""

CELLS, CELL = (225, 200), 0.004
"""Rows and columns of a chromaticity count, and the side of a cell: y from 0 to 0.9, x from 0 to 0.8."""

GAMUTS = ("bt709", "p3-d65", "bt2020")

_PIXELS = 200_000  # of a frame at most for histogram and colour; MaxCLL, MaxFALL, PSNR and dE_ITP take all
_MARGIN = 0.01  # of the largest channel: what coding noise alone may put beyond a gamut


@dataclass(frozen=True)
class FilmFigures:
    """The figures of one film; lists have an entry per measured frame.

    ``brightest`` and ``average``: max(R, G, B) of a frame's brightest pixel, and its mean over the active picture, nits.
    ``p9999``: the level that one pixel in 10,000 passes, nits. ``luminance`` counts pixels by luminance in :data:`BINS`
    even steps of PQ code, ``chroma`` by CIE 1931 x, y in :data:`CELLS`. ``beyond``: share of the pixels of one nit and more
    outside each gamut. ``psnr`` (dB) and ``delta`` (dE_ITP) are against the truth, and empty without one.
    """

    brightest: Sequence[float]
    average: Sequence[float]
    max_cll: float
    max_fall: float
    p9999: float
    luminance: Tensor
    chroma: Tensor
    beyond: Mapping[str, float]
    psnr: Sequence[float] = ()
    delta: Sequence[float] = ()


class FilmMeter:
    """Measures one film's frames."""

    def __init__(self) -> None:
        self._light = LightMeter()
        self._brightest, self._sums, self._psnr, self._delta = (array("d") for _ in range(4))
        self._luminance = torch.zeros(BINS, dtype=torch.int64)
        self._chroma = torch.zeros(CELLS[0] * CELLS[1], dtype=torch.int64)
        self._beyond = dict.fromkeys(GAMUTS, 0)
        self._lit = 0
        self._xyz = rgb_to_xyz("bt2020").float()

    def add(self, codes: Tensor, truth: Tensor | None = None) -> None:
        """Measure a frame of PQ codes ``3,H,W``, against a truth of the same shape where there is one."""
        top, total = self._light.add_brightest(codes.amax(dim=0))
        self._brightest.append(top)
        self._sums.append(total)
        if truth is not None:
            self._psnr.append(psnr(codes, truth))
            self._delta.append(mean_delta_e_itp(codes, truth))
        step = max(1, round((codes[0].numel() / _PIXELS) ** 0.5 + 0.49))
        nits = pq_eotf(codes[:, ::step, ::step])
        y = luminance(nits)
        bins = (pq_inverse_eotf(y) * BINS).long().clamp_(0, BINS - 1)
        self._luminance += torch.bincount(bins.flatten(), minlength=BINS)
        self._count_colours(nits[:, y >= 1.0])  # the colour of darker pixels is mostly noise

    def _count_colours(self, lit: Tensor) -> None:
        """Count pixels ``3,N`` in nits by chromaticity and gamut."""
        self._lit += lit.shape[1]
        big_x, big_y, big_z = self._xyz @ lit
        total_xyz = (big_x + big_y + big_z).clamp_min(1e-9)
        columns = (big_x / total_xyz / CELL).long().clamp_(0, CELLS[1] - 1)
        rows = (big_y / total_xyz / CELL).long().clamp_(0, CELLS[0] - 1)
        self._chroma += torch.bincount(rows * CELLS[1] + columns, minlength=len(self._chroma))
        for key in self._beyond:
            there = lit if key == "bt2020" else convert(lit[..., None], "bt2020", key)[..., 0]
            self._beyond[key] += int((there.amin(dim=0) < -_MARGIN * there.amax(dim=0)).sum())

    def figures(self) -> FilmFigures:
        """The figures of all frames so far."""
        facts = self._light.facts()
        left, top, right, bottom = facts.box or (0, 0, 1, 1)
        active = (right - left) * (bottom - top)
        return FilmFigures(
            brightest=self._brightest,
            average=[s / active for s in self._sums],
            max_cll=facts.max_cll,
            max_fall=facts.max_fall,
            p9999=facts.p9999,
            luminance=self._luminance,
            chroma=self._chroma.view(CELLS),
            beyond={key: count / max(self._lit, 1) for key, count in self._beyond.items()},
            psnr=self._psnr,
            delta=self._delta,
        )
