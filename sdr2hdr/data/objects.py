"""Independently moving objects in front of a scene: pieces of another picture on their own paths."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf

SPEEDS = (1.0, 10.0)
"""Pixels a frame, relative to the picture; a piece's is drawn evenly in its logarithm."""


def with_object(codes: Tensor, other: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """PQ codes ``B,T,3,H,W`` with one object in front of each clip, and its coverage of each pixel, ``B,T,1,H,W`` 0..1.

    It is a piece of ``other B,3,H,W`` (PQ codes of any pictures), an ellipse or something squarer with a soft edge, which
    moves at a constant velocity and is inside the picture at the middle frame. It is up to two stops brighter or darker
    there.
    """
    b, t, _, height, width = codes.shape
    device = codes.device

    def draw(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(b, generator=generator)).to(device)

    size = torch.tensor([width, height], device=device)
    radius = torch.stack([draw(0.08, 0.3), draw(0.08, 0.3)], 1) * min(width, height)
    here, there = (torch.stack([draw(0.1, 0.9), draw(0.1, 0.9)], 1) * size for _ in range(2))
    angle, speed = draw(0, 2 * math.pi), draw(*(math.log(s) for s in SPEEDS)).exp()
    path = torch.stack([angle.cos(), angle.sin()], 1) * speed[:, None]
    power, soft, gain = draw(2, 6), draw(0.5, 2.5), draw(-2, 2).exp2()

    steps = torch.arange(t, device=device) - t // 2
    centre = here[:, None] + path[:, None] * steps[:, None]  # B,T,2
    rows, columns = (torch.arange(n, device=device) + 0.5 for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    away = torch.stack([x, y], -1) - centre[:, :, None, None]  # B,T,H,W,2
    shape = (away.abs() / radius[:, None, None, None]).pow(power[:, None, None, None, None]).sum(-1)
    depth = (1 - shape.pow(1 / power[:, None, None, None])) * radius.amin(1)[:, None, None, None]
    cover = torch.sigmoid(depth / soft[:, None, None, None])[:, :, None]

    places = 2 * (there[:, None, None, None] + away) / size - 1
    piece = F.grid_sample(
        other.repeat_interleave(t, 0),
        places.flatten(0, 1),
        padding_mode="reflection",
        align_corners=False,
    ).view_as(codes)
    light = torch.lerp(pq_eotf(codes), pq_eotf(piece) * gain[:, None, None, None, None], cover)
    return pq_inverse_eotf(light), cover
