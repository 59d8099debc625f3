"""A mapping of pixels as a table: R'G'B' to Y'CbCr of HDR10, 67 nodes an axis, tetrahedral between them.

Nodes are closer together in the dark, where PQ rises steeply (:func:`axis`). The 65th is code 1, the last one is for clipped
areas (:data:`sdr2hdr.color.clipped.HIGHEST`). A node is a word of 64 bits, in whose halves are Y' and Cb, and Cr, in 64ths of a
10-bit code. Interpolating Y'CbCr gives what interpolating R'G'B' would give, since the one is linear in the other.
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

BEND, ROOT, CELLS = f4(_BEND), f4(_ROOT), f4(_CELLS)
FIRST, LAST = i4(0), i4(SIZE - 2)
FINE = f4(1.0 / _FINE)
STEP_G = i4(SIZE)
TO_R, TO_G, TO_B = i4(SIZE * SIZE), i4(SIZE), i4(1)
ACROSS = i4(TO_R + TO_G + TO_B)

Nodes = NDArray[np.uint32]
Table = NDArray[np.uint64]
Room = tuple[Nodes, Row, Table, NDArray[np.uint32]]
"""Of a row of pixels: where three of the four nodes are, the shares of all, the nodes, and the nodes by halves."""


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


def packed_table(codes: Tensor) -> Table:
    """The table of PQ codes ``3,67*67,67`` 0..1 that a mapping gives for :func:`grid`."""
    r, g, b = codes.double().flatten(1)
    y = KR * r + KG * g + KB * b
    cb, cr = (b - y) / (2.0 * (1.0 - KB)), (r - y) / (2.0 * (1.0 - KR))
    words = [
        (p * steps * _FINE).round_().long()
        for p, steps in ((y, Y_STEPS), (cb, C_STEPS), (cr, C_STEPS))
    ]
    pairs = torch.stack([words[0] + (words[1] << 16), words[2]], dim=1)
    return pairs.flatten().to(torch.int32).numpy().view(np.uint64)


@row
def room_for_look_ups(width: int) -> Room:
    words = np.empty((4, width), np.uint64)
    return (
        np.empty((3, width), np.uint32),
        np.empty((4, width), np.float32),
        words,
        words.view(np.uint32),
    )


@row
def _placed(r: Row, g: Row, b: Row, nodes: tuple[Nodes, ...], shares: tuple[Row, ...]) -> None:
    """Where the darkest node of each pixel's cell is, and the two on the way to the brightest one, and the shares of all four."""
    a, b1, c = nodes
    wa, wb, wc, wd = shares
    for i in range(len(r)):
        x0 = (np.sqrt(r[i] + BEND) - ROOT) * CELLS
        x1 = (np.sqrt(g[i] + BEND) - ROOT) * CELLS
        x2 = (np.sqrt(b[i] + BEND) - ROOT) * CELLS
        # no index leaves the table, whatever a pixel is
        i0 = max(min(i4(x0), LAST), FIRST)
        i1 = max(min(i4(x1), LAST), FIRST)
        i2 = max(min(i4(x2), LAST), FIRST)
        f0, f1, f2 = x0 - f4(i0), x1 - f4(i1), x2 - f4(i2)
        high, low = max(f0, f1, f2), min(f0, f1, f2)
        middle = max(min(f0, f1), min(max(f0, f1), f2))
        # from the cell's darkest corner along the axis of the largest share first, of the smallest last
        first = i4(TO_R if (f0 >= f1 and f0 >= f2) else (TO_G if f1 >= f2 else TO_B))
        last = i4(TO_B if (f2 <= f0 and f2 <= f1) else (TO_G if f1 <= f0 else TO_R))
        # every sum is cast: 64 bits, which it else becomes, would halve the width of the vector code
        node = i4(i4(i4(i4(i0 * STEP_G) + i1) * STEP_G) + i2)
        a[i] = u4(node)
        b1[i] = u4(i4(node + first))
        c[i] = u4(i4(i4(node + ACROSS) - last))
        wa[i] = (f4(1.0) - high) * FINE
        wb[i] = (high - middle) * FINE
        wc[i] = (middle - low) * FINE
        wd[i] = low * FINE


@row
def _fetched(table: Table, nodes: tuple[Nodes, ...], words: tuple[Table, ...]) -> None:
    """The four nodes of each pixel's cell."""
    a, b, c = nodes
    wa, wb, wc, wd = words
    brightest = table[ACROSS:]
    for i in range(len(a)):
        wa[i], wb[i], wc[i], wd[i] = table[a[i]], table[b[i]], table[c[i]], brightest[a[i]]


@row
def _mixed(
    shares: tuple[Row, ...], words: tuple[NDArray[np.uint32], ...], y: Row, cb: Row, cr: Row
) -> None:
    """Nodes, given by halves, in their shares: Y' 0..876 and Cb, Cr around 0."""
    wa, wb, wc, wd = shares
    a, b, c, d = words
    half, sixteen = u4(0xFFFF), i4(16)
    for i in range(len(y)):
        va, vb, vc, vd = a[2 * i], b[2 * i], c[2 * i], d[2 * i]
        y[i] = (
            wa[i] * f4(i4(va & half))
            + wb[i] * f4(i4(vb & half))
            + wc[i] * f4(i4(vc & half))
            + wd[i] * f4(i4(vd & half))
        )
        cb[i] = (
            wa[i] * f4(i4(va) >> sixteen)
            + wb[i] * f4(i4(vb) >> sixteen)
            + wc[i] * f4(i4(vc) >> sixteen)
            + wd[i] * f4(i4(vd) >> sixteen)
        )
        va, vb, vc, vd = a[2 * i + 1], b[2 * i + 1], c[2 * i + 1], d[2 * i + 1]
        cr[i] = wa[i] * f4(i4(va)) + wb[i] * f4(i4(vb)) + wc[i] * f4(i4(vc)) + wd[i] * f4(i4(vd))


@row
def looked_up(r: Row, g: Row, b: Row, table: Table, room: Room, y: Row, cb: Row, cr: Row) -> None:
    """R'G'B' 0..1 to Y' 0..876 and Cb, Cr around 0, in 10-bit codes; ``room`` is made by :func:`room_for_look_ups`.

    Nodes are fetched by a loop of their own: where a processor cannot fetch several at once, it would take every index out of a
    vector and put every node into one.
    """
    nodes, shares, words, halves = room
    three = nodes[0], nodes[1], nodes[2]
    by = shares[0], shares[1], shares[2], shares[3]
    _placed(r, g, b, three, by)
    _fetched(table, three, (words[0], words[1], words[2], words[3]))
    _mixed(by, (halves[0], halves[1], halves[2], halves[3]), y, cb, cr)
