"""Do two small frames show the same place? Decided by structure, so that light and motion do not count.

The arithmetic is NumPy's: pictures are so small that a call costs more than its work, and NumPy's calls cost a third of torch's.
"""

from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sdr2hdr.scenes.small import HEIGHT, WIDTH

Picture = NDArray[np.float32]

_BOX = 9  # side of the neighbourhood over which light is evened out
_BLOCK_Y, _BLOCK_X = 9, 8  # the blocks that are looked for one by one
_FAINT = 0.01  # local contrast below this is noise or coding error and fades out
_REACH_Y, _REACH_X = (
    12,
    24,
)  # camera motion looked for, in small pixels: over a third of the picture
_SLACK = 2  # motion of things against the camera
_SAME = 0.6  # a block this alike is found again

_EDGE_Y, _EDGE_X = _REACH_Y + _SLACK, _REACH_X + _SLACK
_HALF = (HEIGHT // 2, WIDTH // 2)
_ROOM = (24, 48)  # at least ``_HALF`` and half of the reach, and quick to transform
_DOWN, _RIGHT = (np.arange(-reach // 2, reach // 2 + 1) for reach in (_REACH_Y, _REACH_X))
_OVERLAP = (_HALF[0] - abs(_DOWN))[:, None] * (_HALF[1] - abs(_RIGHT))
_MIRRORED_Y, _MIRRORED_X = (
    np.pad(np.arange(n), _BOX // 2, mode="reflect") for n in (HEIGHT, WIDTH)
)


class Structure:
    """Luma freed from brightness and contrast, of a small frame ``3,36,64`` (see ``small_frame``).

    ``picture`` ``36,64`` has local mean 0 and local deviation about 1 where there is texture. A change of light, even over a
    part of the picture, leaves it nearly as it is.
    """

    def __init__(self, small: Picture) -> None:
        fine = detail(small)
        deviation: Picture = np.sqrt(_box_mean(fine * fine))
        self.picture = fine / (deviation + np.float32(_FAINT))

    @cached_property
    def wide(self) -> Picture:
        """The picture with zeros all around."""
        wide = np.zeros((HEIGHT + 2 * _EDGE_Y, WIDTH + 2 * _EDGE_X), np.float32)
        wide[_EDGE_Y:-_EDGE_Y, _EDGE_X:-_EDGE_X] = self.picture
        return wide

    @cached_property
    def moved(self) -> Picture:
        """The wide picture's parts of the picture's size, ``down,right,36,64``: a view."""
        return sliding_window_view(self.wide, (HEIGHT, WIDTH))

    @cached_property
    def energies(self) -> Picture:
        """The mean squares of the blocks of ``moved``, ``down,right,4,8``: a view."""
        means = _sums(_sums(self.wide * self.wide, _BLOCK_Y, 0), _BLOCK_X, 1)
        means /= _BLOCK_Y * _BLOCK_X
        reach = HEIGHT - _BLOCK_Y + 1, WIDTH - _BLOCK_X + 1
        return sliding_window_view(means, reach)[:, :, ::_BLOCK_Y, ::_BLOCK_X]

    @cached_property
    def spectrum(self) -> NDArray[np.complex128]:
        """The Fourier transform of the picture at half its size."""
        half = self.picture.reshape(_HALF[0], 2, _HALF[1], 2).mean((1, 3))
        return np.fft.rfft2(half.astype(np.float64), _ROOM)


def detail(small: Picture) -> Picture:
    """Luma less its local mean, ``36,64``."""
    luma: Picture = small[0]
    return luma - _box_mean(luma)


def likeness(a: Structure, b: Structure) -> tuple[float, float]:
    """How much of the structure ``a`` is found again in ``b``: (mean correlation, share of the texture found).

    Each block is looked for within a small range around its own place and around the place where the camera's motion,
    the peak of the pictures' cross-correlation, would have put it. Unrelated pictures give about 0.3 and 0.03.
    """
    down, right = _camera_motion(a, b)
    found = _block_likeness(a, b, 0, 0)
    if down or right:
        found = np.maximum(found, _block_likeness(a, b, down, right))
    weight = a.energies[_EDGE_Y, _EDGE_X] + np.float32(0.02)
    weight /= weight.sum()
    return float((found * weight).sum()), float(weight[found > _SAME].sum())


def _block_likeness(a: Structure, b: Structure, down: int, right: int) -> Picture:
    """The highest correlation of each block of ``a`` near the place in ``b`` to which that motion takes it, ``4,8``."""
    y, x, n = _REACH_Y + down, _REACH_X + right, 2 * _SLACK + 1
    products = b.moved[y : y + n, x : x + n] * a.picture
    sums = products.reshape(n, n, HEIGHT // _BLOCK_Y, _BLOCK_Y, WIDTH).sum(3)
    means = sums.reshape(n, n, HEIGHT // _BLOCK_Y, WIDTH // _BLOCK_X, _BLOCK_X).sum(4)
    means /= _BLOCK_Y * _BLOCK_X
    both = a.energies[_EDGE_Y, _EDGE_X] + b.energies[y : y + n, x : x + n]
    best: Picture = (means / (both / 2 + np.float32(0.05))).max((0, 1))
    return best


def _sums(picture: Picture, count: int, axis: int) -> Picture:
    """The sums of ``count`` neighbours along an axis, which becomes ``count - 1`` shorter."""
    shorter = picture.shape[axis] - count + 1
    total: Picture = picture.take(range(shorter), axis)
    for first in range(1, count):
        total += (
            picture[first : first + shorter] if axis == 0 else picture[:, first : first + shorter]
        )
    return total


def _box_mean(picture: Picture) -> Picture:
    """Mean over the ``_BOX`` squared neighbours of each pixel, mirrored at the edges."""
    wide = picture[_MIRRORED_Y][:, _MIRRORED_X]
    return _sums(_sums(wide, _BOX, 0), _BOX, 1) / np.float32(_BOX**2)


def _camera_motion(a: Structure, b: Structure) -> tuple[int, int]:
    """The shift (down, right), to 2 pixels, by which ``b`` fits ``a`` best; small overlaps are held back."""
    products = np.fft.irfft2(b.spectrum * a.spectrum.conj(), _ROOM)[_DOWN[:, None], _RIGHT]
    # rounded, so that shifts that are equally good are so in spite of the transform's error
    fits = products.astype(np.float32) / (_OVERLAP + _HALF[0] * _HALF[1] / 8)
    down, right = divmod(int(fits.argmax()), len(_RIGHT))
    return 2 * int(_DOWN[down]), 2 * int(_RIGHT[right])
