"""Three values weighted with the softmax of their scores, in bfloat16, as :func:`sdr2hdr.models.parts.blending.softmax_blend`."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.kernels.bands import in_bands
from sdr2hdr.kernels.compiled import kernel, row
from sdr2hdr.kernels.rows import Ints, Row, f4, narrow

_Halves = NDArray[np.uint16]

_AT_ONCE = 512
"""How many numbers are worked on at once; what is kept of them stays in the fastest cache."""


@row
def _widened(halves: _Halves, bits: Ints) -> None:
    """Numbers of bfloat16 as the bits of float32."""
    for i in range(len(bits)):
        bits[i] = np.uint32(halves[i]) << np.uint32(16)


@row
def _below(score: Row, other: Row, last: Row, out: Row) -> None:
    """``exp`` of a score less the largest of three, to 1e-4 of it: a polynomial of a sixteenth of it, to the power of 16."""
    for i in range(len(out)):
        top = max(score[i], other[i], last[i])
        x = max((score[i] - top) * f4(1 / 16), f4(-1.25))
        e = f4(0.00453362) * x + f4(0.03690928)
        e = ((e * x + f4(0.16375967)) * x + f4(0.49917788)) * x + f4(0.99991395)
        e = e * x + f4(0.99999853)
        e = e * e
        e = e * e
        e = e * e
        out[i] = e * e


@row
def _mean(a: Row, b: Row, c: Row, wa: Row, wb: Row, wc: Row, out: Row) -> None:
    for i in range(len(out)):
        out[i] = (a[i] * wa[i] + b[i] * wb[i] + c[i] * wc[i]) / (wa[i] + wb[i] + wc[i])


@kernel
def _blended(
    s0: _Halves, s1: _Halves, s2: _Halves, a0: _Halves, a1: _Halves, a2: _Halves, out: _Halves,
    first: int, last: int,
) -> None:  # fmt: skip
    """Rows ``first:last`` of arrays ``H,N``."""
    work = np.empty((10, _AT_ONCE), np.float32)
    bits = work.view(np.uint32)
    for y in range(first, last):
        for at in range(0, out.shape[1], _AT_ONCE):
            to = min(at + _AT_ONCE, out.shape[1])
            n = to - at
            for k, part in enumerate((s0, s1, s2, a0, a1, a2)):
                _widened(part[y, at:to], bits[k, :n])
            _below(work[0, :n], work[1, :n], work[2, :n], work[6, :n])
            _below(work[1, :n], work[2, :n], work[0, :n], work[7, :n])
            _below(work[2, :n], work[0, :n], work[1, :n], work[8, :n])
            _mean(
                work[3, :n], work[4, :n], work[5, :n], work[6, :n], work[7, :n], work[8, :n],
                work[9, :n],
            )  # fmt: skip
            narrow(bits[9, :n], out[y, at:to])


def blended(scores: list[Tensor], values: list[Tensor]) -> Tensor:
    """Three values ``B,C,H,W`` weighted with the softmax of their three scores; all bfloat16, on the CPU and channels last."""
    whole = torch.empty_like(values[0], memory_format=torch.channels_last)
    halves = [_rows(x) for x in (*scores, *values, whole)]
    in_bands(len(halves[-1]), partial(_blended, *halves))
    return whole


def _rows(x: Tensor) -> _Halves:
    """``B,C,H,W``, channels last, as ``B*H,W*C``."""
    last = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    flat: _Halves = last.view(torch.int16).flatten(2).flatten(0, 1).numpy().view(np.uint16)
    return flat
