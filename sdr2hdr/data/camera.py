"""Simulated camera moves through panoramas and photos: real radiance, real motion, any number of frames."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_FLOOR = 1e-5
"""Added before the logarithm in which light is interpolated: linear kernels would ring around suns and lamps."""


def _sample(logs: Tensor, grid: Tensor) -> Tensor:
    out = F.grid_sample(
        logs[None].expand(grid.shape[0], -1, -1, -1),
        grid,
        "bilinear",
        "border",
        align_corners=False,
    )
    return (out.exp() - _FLOOR).clamp_min_(0.0)


def panorama_views(
    light: Tensor, size: tuple[int, int], count: int, rng: np.random.Generator
) -> Tensor:
    """``count`` perspective views ``T,3,height,width`` of an equirectangular ``3,h,2h`` along a random smooth path."""
    height, width = size
    fov = math.radians(rng.uniform(45, 95))
    yaw, pitch = rng.uniform(-math.pi, math.pi), math.radians(rng.normal(0, 16))
    speed = fov / width * rng.choice([0.0, 1.0, 4.0], p=[0.25, 0.5, 0.25])  # about pixels a frame
    turn, tilt, zoom = rng.normal(0, speed), rng.normal(0, 0.4 * speed), rng.normal(0, 0.004)
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height * 2 - 1,
        (torch.arange(width) + 0.5) / width * 2 - 1,
        indexing="ij",
    )
    grids = []
    for t in range(count):
        half = math.tan(fov / 2) * (1 + zoom * t)
        p, a = pitch + tilt * t, yaw + turn * t
        dx, dy, dz = x * half, y * half * height / width, torch.ones_like(x)
        dy, dz = dy * math.cos(p) - dz * math.sin(p), dy * math.sin(p) + dz * math.cos(p)
        lon = torch.atan2(dx, dz) + a
        lat = torch.asin(dy / torch.sqrt(dx * dx + dy * dy + dz * dz))
        u = torch.remainder(lon / math.pi + 1.0, 2.0) - 1.0
        grids.append(torch.stack([u, lat / (math.pi / 2)], dim=-1))
    # a wrapped column on either side, so that the seam at 180 degrees is interpolated like any other column
    logs = (light + _FLOOR).log()
    w = logs.shape[-1]
    logs = torch.cat([logs[..., -1:], logs, logs[..., :1]], dim=-1)
    grid = torch.stack(grids)
    grid[..., 0] *= w / (w + 2)
    return _sample(logs, grid)


def photo_views(
    pictures: list[Tensor], size: tuple[int, int], count: int, rng: np.random.Generator
) -> list[Tensor]:
    """The same moving window ``T,3,height,width`` through aligned pictures ``3,H,W`` (linear light, or any positive signal)."""
    height, width = size
    _, h, w = pictures[0].shape
    reach = min(h / height, w / width)
    scale = (
        float(np.exp(rng.uniform(0, math.log(reach)))) if reach > 1 else reach
    )  # source pixels a view pixel
    factor = max(1, round(scale))
    pictures = [F.avg_pool2d(p[None], factor)[0] if factor > 1 else p for p in pictures]
    _, h, w = pictures[0].shape
    scale = min(scale / factor, (h - 1) / height, (w - 1) / width)
    speed = rng.choice([0.0, 1.0, 4.0], p=[0.25, 0.5, 0.25]) * scale
    spare = np.array([max(w - width * scale, 0.0), max(h - height * scale, 0.0)])
    start, step = rng.uniform(0, 1, 2) * spare, rng.normal(0, speed, 2)
    ys, xs = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    grids = []
    for t in range(count):
        x0, y0 = np.clip(start + step * t, 0, spare)
        gy, gx = torch.meshgrid(
            (ys * scale + y0) / h * 2 - 1, (xs * scale + x0) / w * 2 - 1, indexing="ij"
        )
        grids.append(torch.stack([gx, gy], dim=-1).float())
    grid = torch.stack(grids)
    return [_sample((p + _FLOOR).log(), grid) for p in pictures]


def chart(size: tuple[int, int], count: int, rng: np.random.Generator) -> Tensor:
    """A made scene ``T,3,height,width``: patches and ramps of random light and colour."""
    height, width = size
    out = torch.full((3, height, width), float(np.exp(rng.normal(-2.5, 1.5))))
    for _ in range(int(rng.integers(3, 16))):
        h, w = (int(rng.integers(8, max(9, int(0.7 * s)))) for s in size)
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        light = float(np.exp(rng.normal(-1.7, 1.6)))
        colour = (
            torch.from_numpy(rng.dirichlet([1.0, 1.2, 1.0]) * 3).float()
            if rng.random() < 0.6
            else torch.ones(3)
        )
        patch = light * colour[:, None, None].expand(3, h, w)
        if rng.random() < 0.5:  # a ramp over some stops
            stops = torch.linspace(0, float(rng.uniform(2, 9)), w if rng.random() < 0.7 else h)
            patch = patch * torch.exp2(-stops if stops.numel() == w else -stops[:, None])
        out[:, y : y + h, x : x + w] = patch
    shift = int(rng.integers(-2, 3))
    return torch.stack([out.roll(shift * t, dims=-1) for t in range(count)])
