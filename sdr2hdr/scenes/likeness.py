"""Do two small frames show the same place? Decided by structure, so that light and motion do not count.

Tensors are kept below the 32768 elements from which torch wakes other threads, and free of operations that always do: on a
busy machine waking them costs ten times the work.
"""

import functools

import torch
from torch import Tensor
from torch.nn.functional import pad

from sdr2hdr.scenes.small import HEIGHT, WIDTH

_BOX = 9  # side of the neighbourhood over which light is evened out
_BLOCK_Y, _BLOCK_X = 9, 8  # the blocks that are looked for one by one
_AT_ONCE = 14  # shifts tried together
_FAINT = 0.01  # local contrast below this is noise or coding error and fades out
_REACH_Y, _REACH_X = (
    12,
    24,
)  # camera motion looked for, in small pixels: over a third of the picture
_SLACK = 2  # motion of things against the camera
_SAME = 0.6  # a block this alike is found again


def detail(small: Tensor) -> Tensor:
    """Luma less its local mean, ``36,64``."""
    return small[0] - _box_mean(small[0])


def structure(small: Tensor) -> Tensor:
    """Luma freed from brightness and contrast: ``36,64``, local mean 0 and local deviation about 1 where there is texture.

    A change of light, even over a part of the picture, leaves it nearly as it is.
    """
    fine = detail(small)
    variance = _box_mean(fine**2)
    return fine / (variance * (variance + 1e-12).rsqrt() + _FAINT)  # sqrt would wake threads


def likeness(a: Tensor, b: Tensor) -> tuple[float, float]:
    """How much of the structure ``a`` (``36,64``) is found again in ``b``: (mean correlation, share of the texture found).

    Each block is looked for within a small range around its own place and around the place where the camera's motion,
    the peak of the pictures' cross-correlation, would have put it. Unrelated pictures give about 0.3 and 0.03.
    """
    y0, x0 = _camera_motion(a, b)
    near = range(-_SLACK, _SLACK + 1)
    shifts = sorted(
        {(dy, dx) for dy in near for dx in near}
        | {(y0 + dy, x0 + dx) for dy in near for dx in near}
    )
    my, mx = _REACH_Y + _SLACK, _REACH_X + _SLACK
    wide = pad(b, (mx, mx, my, my))
    energy = _block_mean(a[None] ** 2)
    found = torch.full(energy.shape[1:], -1.0)
    for k in range(0, len(shifts), _AT_ONCE):
        moved = torch.stack(
            [
                wide[my + dy : my + dy + HEIGHT, mx + dx : mx + dx + WIDTH]
                for dy, dx in shifts[k : k + _AT_ONCE]
            ]
        )
        correlation = _block_mean(moved * a) / ((energy + _block_mean(moved**2)) / 2 + 0.05)
        found = torch.maximum(found, correlation.amax(0))
    weight = energy[0] + 0.02
    weight = weight / weight.sum()
    return float((found * weight).sum()), float(weight[found > _SAME].sum())


def _block_mean(pictures: Tensor) -> Tensor:
    return pictures.view(-1, HEIGHT // _BLOCK_Y, _BLOCK_Y, WIDTH // _BLOCK_X, _BLOCK_X).mean((2, 4))


def _box_mean(picture: Tensor) -> Tensor:
    """Mean over the ``_BOX`` squared neighbours of each pixel, mirrored at the edges."""
    wide = picture.index_select(0, _mirrored(HEIGHT)).index_select(1, _mirrored(WIDTH))
    return wide.unfold(0, _BOX, 1).mean(-1).unfold(1, _BOX, 1).mean(-1)


@functools.cache
def _mirrored(n: int) -> Tensor:
    places = torch.arange(-(_BOX // 2), n + _BOX // 2).abs()
    return torch.where(places < n, places, 2 * (n - 1) - places)


def _camera_motion(a: Tensor, b: Tensor) -> tuple[int, int]:
    """The shift (down, right), to 2 pixels, by which ``b`` fits ``a`` best; small overlaps are held back."""
    a, b = (p.view(HEIGHT // 2, 2, WIDTH // 2, 2).mean((1, 3)) for p in (a, b))
    h, w = a.shape
    ry, rx = _REACH_Y // 2, _REACH_X // 2
    shifted = pad(b, (rx, rx, ry, ry)).unfold(0, h, 1).unfold(1, w, 1)  # down, right, h, w
    products = torch.cat([(shifted[k : k + 2] * a).sum((2, 3)) for k in range(0, 2 * ry + 1, 2)])
    overlap = (h - torch.arange(-ry, ry + 1).abs())[:, None] * (w - torch.arange(-rx, rx + 1).abs())
    best = int((products / (overlap + h * w / 8)).argmax())
    return 2 * (best // (2 * rx + 1) - ry), 2 * (best % (2 * rx + 1) - rx)
