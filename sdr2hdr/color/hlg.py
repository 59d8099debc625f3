"""A finished picture in HLG instead of PQ, and its light on the display that it was graded for.

Source: BT.2100-2 table 5. The picture's peak is the display's nominal peak, so that a display of that peak shows the same nits as
in PQ. At 1000 nits white of 203 nits has 75 % (BT.2408-7 table 1).
"""

from torch import Tensor

from sdr2hdr.color.transfer import (
    hlg_eotf,
    hlg_inverse_eotf,
    pq_code,
    pq_eotf,
    pq_inverse_eotf,
)
from sdr2hdr.color.yuv import YuvLayout, from_yuv


def hlg_of_pq(codes: Tensor, peak: float) -> Tensor:
    """PQ codes ``3,H,W`` of BT.2020 to HLG codes 0..1; light above the peak is clamped."""
    return hlg_inverse_eotf(pq_eotf(codes.clamp(0.0, pq_code(peak))), peak).clamp_(0.0, 1.0)


def shown(planes: tuple[Tensor, Tensor, Tensor], layout: YuvLayout, peak: float) -> Tensor:
    """The brightest channel of each pixel on the display as PQ codes ``H,W``, of planes in HLG."""
    return pq_inverse_eotf(hlg_eotf(from_yuv(planes, layout), peak).amax(0))
