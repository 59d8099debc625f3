"""Lightweight optical flow without weights: the position of each pixel of a frame in another frame.

Source: Bouguet, "Pyramidal implementation of the Lucas Kanade feature tracker" (Intel, 2000), made dense: every pixel has
its own Gaussian window, and each level of the pyramid starts from the flow of the coarser one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST = 640
"""Pixels of the longer side that flow is found at, at most; larger pictures are shrunk first, their flow is enlarged."""

_SIGMA, _RADIUS = 2.5, 5
_STEPS = 4  # at each level
_COARSEST = 16  # pixels of the shorter side of the smallest level, at least
_STEEP = 1e-5  # added to the gradients' squares: without texture the coarser level's flow stays


def flow(here: Tensor, there: Tensor) -> Tensor:
    """For each pixel of ``here`` its way to the same thing in ``there``: ``2,H,W`` in pixels, x to the right, then y down.

    Both are one plane ``H,W`` of a perceptual signal 0..1 (luma of PQ or SDR codes).
    """
    height, width = here.shape
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    first = F.interpolate(torch.stack([here, there])[:, None].float(), size, mode="area")
    levels = [first]
    while min(levels[-1].shape[-2:]) >= 2 * _COARSEST:
        levels.append(F.avg_pool2d(levels[-1], 2))
    way = levels[-1].new_zeros(1, 2, *levels[-1].shape[-2:])
    for level in reversed(levels):
        way = _resized(way, (level.shape[-2], level.shape[-1]))
        way = _refined(level[:1], level[1:], way)
    return _resized(way, (height, width))[0]


def warp(there: Tensor, way: Tensor) -> Tensor:
    """``C,H,W`` of another frame brought here by a flow ``2,H,W``; what lies outside repeats the border."""
    return F.grid_sample(there[None], _grid(way[None]), "bilinear", "border", align_corners=True)[0]


def seen_in_both(way: Tensor, back: Tensor) -> Tensor:
    """Which pixels ``H,W`` are not hidden in the other frame, nor outside it.

    A pixel is hidden where going there (``way``) and back (``back``, the other frame's flow to this one) does not lead home:
    |w + b|^2 >= 0.01 (|w|^2 + |b|^2) + 0.5 (Sundaram, Brox, Keutzer 2010, eq. 5; as Lai et al. 2018 use it).
    """
    home = warp(back, way)
    strays = (way + home).square().sum(0)
    lengths = way.square().sum(0) + home.square().sum(0)
    alike: Tensor = strays < 0.01 * lengths + 0.5
    return alike & _inside(_grid(way[None]))[0]


def _resized(way: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = way.shape[-2:]
    if (height, width) == size:
        return way
    larger = F.interpolate(way, size, mode="bilinear", align_corners=False)
    return larger * larger.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)


def _grid(way: Tensor) -> Tensor:
    height, width = way.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=way.device),
        torch.arange(width, device=way.device),
        indexing="ij",
    )
    across = (x + way[:, 0]) * (2.0 / max(width - 1, 1)) - 1.0
    down = (y + way[:, 1]) * (2.0 / max(height - 1, 1)) - 1.0
    return torch.stack([across, down], dim=-1)


def _inside(grid: Tensor) -> Tensor:
    # rounding may leave a pixel that stays on the border a hair outside
    return (grid.abs() <= 1.0 + 1e-4).all(-1)


def _window(planes: Tensor) -> Tensor:
    """Gaussian means ``N,H,W`` of planes ``N,H,W``, borders repeated."""
    taps = torch.exp(
        -(torch.arange(-_RADIUS, _RADIUS + 1, device=planes.device) ** 2) / (2 * _SIGMA**2)
    )
    taps = (taps / taps.sum()).to(planes.dtype)
    x = F.pad(planes[:, None], (_RADIUS,) * 4, mode="replicate")
    x = F.conv2d(x, taps.view(1, 1, 1, -1))
    return F.conv2d(x, taps.view(1, 1, -1, 1))[:, 0]


def _gradients(plane: Tensor) -> tuple[Tensor, Tensor]:
    x = F.pad(plane, (1, 1, 1, 1), mode="replicate")
    across = (x[..., 1:-1, 2:] - x[..., 1:-1, :-2]) * 0.5
    down = (x[..., 2:, 1:-1] - x[..., :-2, 1:-1]) * 0.5
    return across[0, 0], down[0, 0]


def _refined(here: Tensor, there: Tensor, way: Tensor) -> Tensor:
    """Gauss-Newton steps on a level: ``here`` and ``there`` ``1,1,H,W``, ``way`` ``1,2,H,W``."""
    gx, gy = _gradients(here)
    xx, xy, yy = _window(torch.stack([gx * gx, gx * gy, gy * gy]))
    xx, yy = xx + _STEEP, yy + _STEEP
    inverse = 1.0 / (xx * yy - xy * xy)
    for _ in range(_STEPS):
        grid = _grid(way)
        moved = F.grid_sample(there, grid, "bilinear", "border", align_corners=True)
        error = ((here - moved) * _inside(grid))[
            0, 0
        ]  # pixels outside the picture carry no information
        bx, by = _window(torch.stack([gx * error, gy * error]))
        step = torch.stack([(yy * bx - xy * by) * inverse, (xx * by - xy * bx) * inverse])
        # a step longer than the window is unreliable, and so is a pixel that differs from its neighbours
        way = way + step.clamp_(-2.0, 2.0)
        way = _window(way[0])[None] if min(way.shape[-2:]) > 2 * _RADIUS else way
    return way
