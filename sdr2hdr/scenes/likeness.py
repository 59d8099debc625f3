"""Do two small frames show the same place? Told by structure, so that light and motion do not count."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from sdr2hdr.scenes.small import HEIGHT, WIDTH

_CELL = 9  # side of the neighbourhood that is compared as one
_FAINT = 0.01  # local contrast below this is noise or coding error and fades out
_REACH_Y, _REACH_X = 12, 24  # camera motion looked for, in small pixels: over a third of the picture
_SLACK = 2  # motion of things against the camera
_SAME = 0.6  # a neighbourhood this alike is found again


def structure(small: Tensor) -> Tensor:
    """Luma freed from brightness and contrast: ``36,64``, local mean 0 and local deviation about 1 where there is texture.

    A change of light, even over a part of the picture, leaves it nearly as it is.
    """
    half = _CELL // 2
    detail = small[:1] - avg_pool2d(pad(small[None, :1], (half,) * 4, mode="reflect"), _CELL, 1)[0]
    deviation = avg_pool2d(pad(detail[None] ** 2, (half,) * 4, mode="reflect"), _CELL, 1)[0].sqrt()
    return (detail / (deviation + _FAINT))[0]


def likeness(a: Tensor, b: Tensor) -> tuple[float, float]:
    """How much of the structure ``a`` (``36,64``) is found again in ``b``: (mean correlation, share of the texture found).

    Each neighbourhood is looked for within a small range around its own place and around the place where the camera's
    motion, the peak of the pictures' cross-correlation, would have put it. Unrelated pictures give about 0.3 and 0.03.
    """
    y0, x0 = _camera_motion(a, b)
    near = range(-_SLACK, _SLACK + 1)
    shifts = sorted({(dy, dx) for dy in near for dx in near} | {(y0 + dy, x0 + dx) for dy in near for dx in near})
    my, mx = _REACH_Y + _SLACK, _REACH_X + _SLACK
    wide = pad(b, (mx, mx, my, my))
    moved = torch.stack([wide[my + dy : my + dy + HEIGHT, mx + dx : mx + dx + WIDTH] for dy, dx in shifts])[:, None]
    energy_a = avg_pool2d((a * a)[None, None], _CELL, 1)
    energy_b = avg_pool2d(moved * moved, _CELL, 1)
    found = (avg_pool2d(moved * a, _CELL, 1) / ((energy_a + energy_b) / 2 + 0.05)).amax(0)[0]
    weight = energy_a[0, 0] + 0.02
    weight = weight / weight.sum()
    return float((found * weight).sum()), float(weight[found > _SAME].sum())


def _camera_motion(a: Tensor, b: Tensor) -> tuple[int, int]:
    """The shift (down, right) by which ``b`` fits ``a`` best, from the FFT; small overlaps are held back."""
    size = (2 * HEIGHT, 2 * WIDTH)
    spectrum = torch.fft.rfft2(a, s=size).conj() * torch.fft.rfft2(b, s=size)
    peaks = torch.fft.irfft2(spectrum, s=size).roll((_REACH_Y, _REACH_X), (0, 1))
    peaks = peaks[: 2 * _REACH_Y + 1, : 2 * _REACH_X + 1]
    overlap_y = HEIGHT - torch.arange(-_REACH_Y, _REACH_Y + 1).abs()
    overlap_x = WIDTH - torch.arange(-_REACH_X, _REACH_X + 1).abs()
    best = int((peaks / (overlap_y[:, None] * overlap_x + HEIGHT * WIDTH / 8)).argmax())
    return best // peaks.shape[1] - _REACH_Y, best % peaks.shape[1] - _REACH_X
