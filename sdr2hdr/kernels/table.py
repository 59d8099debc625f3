"""A mapping of pixels as a table: R'G'B' to Y'CbCr of HDR10, 67 nodes an axis, tetrahedral between them.

Nodes are closer together in the dark, where PQ rises steeply (:func:`axis`). The 65th is code 1, the last one is for clipped
areas (:data:`sdr2hdr.color.clipped.HIGHEST`). A node is two words of 32 bits, one of Y' and Cb,
one of Cr, in 64ths of a 10-bit code; a processor fetches those of several pixels at once. Interpolating Y'CbCr gives what
interpolating R'G'B' would give, since the one is linear in the other.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.color.yuv import C_STEPS, KB, KG, KR, Y_STEPS
from sdr2hdr.kernels.compiled import row
from sdr2hdr.kernels.rows import Row, f4, i4, u4

SIZE = 67
_BEND = 0.01
_ROOT = _BEND**0.5
_CELLS = 64 / ((1.0 + _BEND) ** 0.5 - _ROOT)
_FINE = 64.0

BEND, ROOT, CELLS, LAST = f4(_BEND), f4(_ROOT), f4(_CELLS), i4(SIZE - 2)
FINE = f4(1.0 / _FINE)
STEP_G = i4(SIZE)
WORDS_R, WORDS_G, WORDS_B = i4(2 * SIZE * SIZE), i4(2 * SIZE), i4(2)
ACROSS = i4(WORDS_R + WORDS_G + WORDS_B)
TO_R, TO_G, TO_B = i4(ACROSS - WORDS_R), i4(ACROSS - WORDS_G), i4(ACROSS - WORDS_B)


def axis() -> Tensor:
    """The codes 0..1.058 of the 67 nodes of an axis: equal steps of the square root of the code plus 0.01."""
    steps = torch.arange(SIZE, dtype=torch.float64) / _CELLS + _ROOT
    codes: Tensor = (steps * steps - _BEND).clamp_min(0.0).float()
    return codes


def grid() -> Tensor:
    """The R'G'B' of all nodes as a picture ``3,67*67,67``: a row for each red and green."""
    codes = axis()
    return torch.stack(torch.meshgrid(codes, codes, codes, indexing="ij")).reshape(
        3, SIZE * SIZE, SIZE
    )


def packed_table(codes: Tensor) -> NDArray[np.uint32]:
    """The table of PQ codes ``3,67*67,67`` 0..1 that a mapping gives for :func:`grid`."""
    r, g, b = codes.double().flatten(1)
    y = KR * r + KG * g + KB * b
    cb, cr = (b - y) / (2.0 * (1.0 - KB)), (r - y) / (2.0 * (1.0 - KR))
    words = [
        (p * steps * _FINE).round_().long()
        for p, steps in ((y, Y_STEPS), (cb, C_STEPS), (cr, C_STEPS))
    ]
    pairs = torch.stack([words[0] + (words[1] << 16), words[2]], dim=1)
    return pairs.flatten().to(torch.int32).numpy().view(np.uint32)


@row
def looked_up(r: Row, g: Row, b: Row, table: NDArray[np.uint32], y: Row, cb: Row, cr: Row) -> None:
    """R'G'B' 0..1 to Y' 0..876 and Cb, Cr around 0, in 10-bit codes."""
    for i in range(len(y)):
        x0 = (np.sqrt(r[i] + BEND) - ROOT) * CELLS
        x1 = (np.sqrt(g[i] + BEND) - ROOT) * CELLS
        x2 = (np.sqrt(b[i] + BEND) - ROOT) * CELLS
        i0, i1, i2 = min(i4(x0), LAST), min(i4(x1), LAST), min(i4(x2), LAST)
        f0, f1, f2 = x0 - f4(i0), x1 - f4(i1), x2 - f4(i2)
        high, low = max(f0, f1, f2), min(f0, f1, f2)
        middle = max(min(f0, f1), min(max(f0, f1), f2))
        # from the cell's darkest corner along the axis of the largest share first, of the smallest last
        first = i4(WORDS_R if (f0 >= f1 and f0 >= f2) else (WORDS_G if f1 >= f2 else WORDS_B))
        last = i4(TO_B if (f2 <= f0 and f2 <= f1) else (TO_G if f1 <= f0 else TO_R))
        # every sum is cast: 64 bits, which it else becomes, would halve the width of the vector code
        node = i4(i4(i4(i4(i4(i0 * STEP_G) + i1) * STEP_G) + i2) * i4(2))
        mask = u4(0xFFFFF)  # says that no index is negative
        a = u4(node) & mask
        b1 = u4(i4(node + first)) & mask
        c = u4(i4(node + last)) & mask
        d = u4(i4(node + ACROSS)) & mask
        wa, wb, wc, wd = (
            (f4(1.0) - high) * FINE,
            (high - middle) * FINE,
            (middle - low) * FINE,
            low * FINE,
        )
        va, vb, vc, vd = table[a], table[b1], table[c], table[d]
        half = u4(0xFFFF)
        y[i] = (
            wa * f4(i4(va & half))
            + wb * f4(i4(vb & half))
            + wc * f4(i4(vc & half))
            + wd * f4(i4(vd & half))
        )
        sixteen = i4(16)
        cb[i] = (
            wa * f4(i4(va) >> sixteen)
            + wb * f4(i4(vb) >> sixteen)
            + wc * f4(i4(vc) >> sixteen)
            + wd * f4(i4(vd) >> sixteen)
        )
        one = u4(1)
        va, vb, vc, vd = table[a + one], table[b1 + one], table[c + one], table[d + one]
        cr[i] = wa * f4(i4(va)) + wb * f4(i4(vb)) + wc * f4(i4(vc)) + wd * f4(i4(vd))
