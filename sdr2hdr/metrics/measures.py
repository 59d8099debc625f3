"""The list of measures, and the meter that takes them of a sequence of frames."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import pstdev

import torch
from torch import Tensor

from sdr2hdr.color.ictcp import delta_e_itp
from sdr2hdr.color.mulaw import mu_law
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.metrics import library
from sdr2hdr.metrics.basic import mse, psnr
from sdr2hdr.metrics.blocks import blockiness
from sdr2hdr.metrics.detail import hf_psnr, msrl_psnr
from sdr2hdr.metrics.program import VARIABLES, hdr_vdp
from sdr2hdr.metrics.ssim import ssim, ssim_7
from sdr2hdr.metrics.temporal import e_warp, flicker, is_cut


@dataclass(frozen=True)
class Measure:
    """``title`` with its unit; ``higher`` is better or not; whether it needs a ``truth``, or two frames (``temporal``);
    ``quick`` ones are taken by default."""

    key: str
    title: str
    higher: bool
    digits: int = 3
    truth: bool = True
    temporal: bool = False
    quick: bool = False


MEASURES = {
    m.key: m
    for m in (
        Measure("psnr", "PSNR dB", True, 2, quick=True),
        Measure("ssim", "SSIM", True, 4, quick=True),
        Measure("mse", "MSE", False, 6),
        Measure("ssim_7", "SSIM 7x7", True, 4),
        Measure("psnr_t", "PSNR_T dB", True, 2),
        Measure("ssim_t", "SSIM_T", True, 4),
        Measure("hf_psnr", "HF-PSNR dB", True, 2),
        Measure("ms_ssim", "MS-SSIM", True, 4),
        Measure("sr_sim", "SR-SIM", True, 4),
        Measure("vsi", "VSI", True, 4),
        Measure("vifp", "VIFp", True, 4),
        Measure("haarpsi", "HaarPSI", True, 4),
        Measure("de_itp", "dE_ITP", False, 2, quick=True),
        Measure("de_itp_p95", "dE_ITP 95 %", False, 2, quick=True),
        Measure("de_itp_std", "dE_ITP over a sequence, deviation", False, 2),
        Measure("lpips", "LPIPS", False, 4),
        Measure("lpips_t", "LPIPS_T", False, 4),
        Measure("musiq", "MUSIQ", True, 2, truth=False),
        Measure("hdr_vdp", "HDR-VDP-3", True, 3),
        Measure("hdr_vdp_2", "HDR-VDP-2", True, 2),
        Measure("cvvdp", "ColorVideoVDP JOD", True, 3),
        Measure("e_warp", "E_warp", False, 6, truth=False, temporal=True),
        Measure("e_warp_raft", "E_warp, RAFT", False, 6, truth=False, temporal=True),
        Measure("msrl_psnr", "MSRL-PSNR dB", True, 2, temporal=True),
        Measure("flicker", "flicker", False, 3, truth=False, temporal=True, quick=True),
        Measure("blockiness", "blockiness", False, 3, truth=False, quick=True),
    )
}

CVVDP_RUN = 30
"""Frames that ColorVideoVDP sees at once."""

_OTHERS = {"cvvdp": "cvvdp", "musiq": "musiq", "e_warp_raft": "raft"}
"""What else comes from a function of :mod:`sdr2hdr.metrics.library`, and is no measure of a pair of frames."""

_PIQ = ("ms_ssim", "sr_sim", "vsi", "vifp", "haarpsi")


@dataclass(frozen=True)
class Chosen:
    """The available measures, and the reasons why other requested measures are not."""

    measures: tuple[Measure, ...]
    absent: dict[str, str]


def choose(names: Iterable[str] | None = None) -> Chosen:
    """The measures of these keys; None stands for the quick ones, ``all`` for all. Raises ValueError for an unknown key."""
    wanted: dict[str, None] = {}
    for name in ["quick"] if names is None else names:
        if name in ("quick", "all"):
            wanted |= dict.fromkeys(k for k, m in MEASURES.items() if m.quick or name == "all")
        elif name in MEASURES:
            wanted[name] = None
        else:
            raise ValueError(
                f"There is no measure '{name}'; there are {', '.join(MEASURES)}, and all."
            )
    absent = {}
    for name in wanted:
        try:
            _load(name)
        except library.AbsentError as e:
            absent[name] = str(e)
    return Chosen(tuple(m for k, m in MEASURES.items() if k in wanted and k not in absent), absent)


def _load(key: str) -> library.Full | None:
    """A library's measure of a pair of frames; None for those of our own. Raises AbsentError."""
    if key in _PIQ:
        return library.from_piq(key)
    if key == "lpips":
        return library.lpips()
    if key == "lpips_t":
        distance = library.lpips()
        return lambda result, truth: distance(_toned(result), _toned(truth))
    if key in VARIABLES:
        return hdr_vdp(key)
    if key in _OTHERS:
        getattr(library, _OTHERS[key])()
    return None


def _toned(codes: Tensor) -> Tensor:
    return mu_law(pq_eotf(codes)).clamp(0, 1)


_PLAIN: dict[str, Callable[[Tensor, Tensor], float]] = {
    "psnr": psnr,
    "ssim": ssim,
    "mse": mse,
    "ssim_7": ssim_7,
    "hf_psnr": hf_psnr,
}
"""Measures of two frames of codes."""


class Meter:
    """Measures one sequence of frames in order, with or without a truth; ``rate`` is in frames per second.

    Frames are ``3,H,W`` PQ codes in BT.2020. Without a truth, ``guide`` (such as the SDR source) gives the optical flow and
    the cuts. Values that do not exist for a frame (temporal ones of the first) are left out.
    """

    def __init__(self, measures: Iterable[Measure], *, rate: float = 25.0) -> None:
        self.measures = tuple(measures)
        self._rate = rate
        keys = {m.key for m in self.measures}
        self._full = {k: f for k in keys if (f := _load(k)) is not None}
        self._cvvdp = library.cvvdp() if "cvvdp" in keys else None
        self._musiq = library.musiq() if "musiq" in keys else None
        self._raft = library.raft() if "e_warp_raft" in keys else None
        self._differences: list[float] = []
        self._run: list[tuple[Tensor, Tensor]] = []
        self._before: tuple[Tensor, Tensor | None, Tensor] | None = None

    def add(
        self, result: Tensor, truth: Tensor | None = None, guide: Tensor | None = None
    ) -> dict[str, float]:
        """The values of one more frame, by key."""
        result = result.clamp(0, 1).float()
        truth = None if truth is None else truth.clamp(0, 1).float()
        guide = truth if truth is not None else result if guide is None else guide
        values: dict[str, float] = {}
        keys = [m.key for m in self.measures if truth is not None or not m.truth]
        if truth is not None:
            values |= self._against(result, truth, keys)
        if "blockiness" in keys:
            values["blockiness"] = blockiness(result)
        if self._musiq is not None:
            values["musiq"] = self._musiq(_toned(result))
        before, self._before = self._before, (result, truth, guide)
        temporal = [k for k in keys if MEASURES[k].temporal]
        if before is not None and temporal and not is_cut(guide, before[2]):
            if "e_warp" in keys:
                values["e_warp"] = e_warp(result, before[0], guide, before[2])
            if self._raft is not None:
                values["e_warp_raft"] = e_warp(result, before[0], guide, before[2], self._raft)
            if "msrl_psnr" in keys and truth is not None and before[1] is not None:
                values["msrl_psnr"] = msrl_psnr(result, before[0], truth, before[1])
            if "flicker" in keys:
                values["flicker"] = flicker(result, before[0], truth, before[1])
        return {k: v for k, v in values.items() if not math.isnan(v)}

    def skip(
        self, result: Tensor, truth: Tensor | None = None, guide: Tensor | None = None
    ) -> None:
        """Take a frame as the one before the next, without measuring it."""
        guide = truth if truth is not None else result if guide is None else guide
        self._before = (result, truth, guide)

    def forget(self) -> None:
        """The next frame does not follow the last one that was measured."""
        self._before = None

    def _against(self, result: Tensor, truth: Tensor, keys: list[str]) -> dict[str, float]:
        values: dict[str, float] = {}
        for key, measure in _PLAIN.items():
            if key in keys:
                values[key] = measure(result, truth)
        if {"psnr_t", "ssim_t"} & set(keys):
            toned = _toned(result), _toned(truth)
            values |= {k: f(*toned) for k, f in (("psnr_t", psnr), ("ssim_t", ssim)) if k in keys}
        if {"de_itp", "de_itp_p95", "de_itp_std"} & set(keys):
            differences = delta_e_itp(result, truth)
            if "de_itp" in keys:
                values["de_itp"] = differences.mean().item()
            if "de_itp_std" in keys:
                self._differences.append(differences.mean().item())
            if "de_itp_p95" in keys:
                values["de_itp_p95"] = p95(differences)
        for key, function in self._full.items():
            values[key] = function(result, truth)
        if self._cvvdp is not None:
            self._run.append((result.half(), truth.half()))
            if len(self._run) == CVVDP_RUN:
                values |= self._seen()
        return values

    def finish(self) -> dict[str, float]:
        """At the end of the sequence: the values of what was kept for a measure that sees many frames at once."""
        kept, self._differences = self._differences, []
        return self._seen() | ({"de_itp_std": pstdev(kept)} if len(kept) > 1 else {})

    def _seen(self) -> dict[str, float]:
        if self._cvvdp is None or not self._run:
            return {}
        result, truth = (torch.stack(frames).float() for frames in zip(*self._run, strict=True))
        self._run = []
        return {"cvvdp": self._cvvdp(result, truth, self._rate)}


def p95(values: Tensor) -> float:
    """The 95th percentile: the value that 5 % of all are above (``torch.quantile`` takes 16 million values at most)."""
    flat = values.flatten()
    return flat.kthvalue(max(1, math.ceil(0.95 * flat.numel()))).values.item()
