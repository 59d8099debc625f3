"""ICtCp and the colour difference of BT.2124.

Sources: BT.2100-2 table 7 (ICtCp, PQ), BT.2124-0 annex 1 (dE_ITP).
"""

import torch
from torch import Tensor

from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf

RGB_TO_LMS = ((1688, 2146, 262), (683, 2951, 462), (99, 309, 3688))
LMS_TO_ICTCP = ((2048, 2048, 0), (6610, -13613, 7003), (17933, -17390, -543))


def _apply(matrix: tuple[tuple[int, int, int], ...], x: Tensor) -> Tensor:
    a, b, c = x.unbind(-3)
    return torch.stack([(row[0] * a + row[1] * b + row[2] * c) / 4096.0 for row in matrix], dim=-3)


def ictcp(nits: Tensor) -> Tensor:
    """BT.2020 linear RGB in nits ``...,3,H,W`` to ICtCp (I 0..1; Ct, Cp about -0.5..0.5)."""
    return _apply(LMS_TO_ICTCP, pq_inverse_eotf(_apply(RGB_TO_LMS, nits.float())))


def delta_e_itp(a: Tensor, b: Tensor) -> Tensor:
    """dE_ITP ``...,H,W`` between two pictures of PQ codes 0..1 in BT.2020, ``...,3,H,W``; 1 is just noticeable."""
    d = ictcp(pq_eotf(a)) - ictcp(pq_eotf(b))
    i, ct, cp = d.unbind(-3)
    return 720.0 * torch.sqrt(i * i + 0.25 * ct * ct + cp * cp)
