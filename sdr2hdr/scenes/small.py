"""The small frame: the only part of a picture that the scene detector sees."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sdr2hdr.color.luma import weights
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.kernels.compiled import why_not

HEIGHT, WIDTH = 36, 64
KR, KG, KB = weights("bt709")
# Samples of a plane per cell and axis at most: enough to average grain away, few enough for 4K; and a plane so thin stays
# below the 32768 elements from which torch wakes other threads, which costs more than the work where cores are busy.
_SAMPLES = 3


def small_frame(planes: tuple[Tensor, ...], layout: YuvLayout) -> Tensor:
    """Shrink a decoded picture of any size, shape and subsampling to ``3,36,64`` float32 Y'CbCr.

    ``planes`` are ``H,W`` integer tensors: Y', Cb, Cr, or Y' alone, or R', G', B', as the ``layout`` says. Luma is 0..1
    (black..white), chroma 0..1 around a neutral 0.5; a grey picture has chroma 0.5. Scaling of the codes: ITU-R BT.709-6
    item 4.6 (limited range), H.273 8.3 (full range). Which primaries and matrix the file has does not matter for telling
    two pictures apart, so R'G'B' goes through BT.709's.
    """
    small = [_shrink(p) / (1 << (layout.depth - 8)) for p in planes]  # in 8-bit steps
    if layout.matrix == "rgb":
        r, g, b = ((p / 255 if layout.full_range else (p - 16) / 219) for p in small)
        y = KR * r + KG * g + KB * b
        picture = torch.stack([y, (b - y) / 1.8556 + 0.5, (r - y) / 1.5748 + 0.5])
    else:
        y = small[0] / 255 if layout.full_range else (small[0] - 16) / 219
        step = 255 if layout.full_range else 224
        chroma = (
            [(p - 128) / step + 0.5 for p in small[1:3]]
            if len(small) >= 3
            else [torch.full_like(y, 0.5)] * 2
        )
        picture = torch.stack([y, *chroma])
    return picture.clamp_(0, 1)


def brightened(small: Tensor, gain: float) -> Tensor:
    """A small frame as a longer exposure would show it: codes times ``gain``, clipped. A gain of 1 changes nothing."""
    if gain == 1.0:
        return small
    y, cb, cr = small.unbind()
    r, b = y + 1.5748 * (cr - 0.5), y + 1.8556 * (cb - 0.5)
    g = (y - KR * r - KB * b) / KG
    r, g, b = ((x * gain).clamp(0, 1) for x in (r, g, b))
    y = KR * r + KG * g + KB * b
    return torch.stack([y, (b - y) / 1.8556 + 0.5, (r - y) / 1.5748 + 0.5])


def _shrink(plane: Tensor) -> Tensor:
    """Mean of up to ``_SAMPLES`` squared samples in each of the cells of the small frame."""
    if plane.dtype in (torch.uint8, torch.uint16) and why_not() is None:
        from sdr2hdr.kernels.small import shrunk

        return shrunk(plane, (HEIGHT, WIDTH), _SAMPLES)
    return shrink(plane)


def shrink(plane: Tensor) -> Tensor:
    """The same cells in torch."""
    h, w = plane.shape
    thin = plane[:: -(-h // (HEIGHT * _SAMPLES)), :: -(-w // (WIDTH * _SAMPLES))].to(torch.float32)
    return adaptive_avg_pool2d(thin[None], (HEIGHT, WIDTH))[0]
