"""MaxViT blocks as published (Tu et al. 2022): an inverted bottleneck, attention in blocks, attention in a grid over everything.

Batch normalisation is group normalisation here, as everywhere in Rombach's U-Net, in which the blocks stand.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDER = 4
"""How much wider the bottleneck and the two layers after attention are than the features."""


class InvertedBottleneck(nn.Module):
    """Widened, convolved channel by channel, weighed by the means over the picture (squeeze and excitation), narrowed."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        wide, few = _WIDER * channels, channels // 4
        self.widen = nn.Sequential(
            nn.GroupNorm(groups, channels), nn.Conv2d(channels, wide, 1), nn.GroupNorm(groups, wide)
        )
        self.near = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.GroupNorm(groups, wide)
        )
        self.weigh = nn.Sequential(
            nn.Conv2d(wide, few, 1), nn.SiLU(), nn.Conv2d(few, wide, 1), nn.Sigmoid()
        )
        self.narrow = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.near(F.gelu(self.widen(x))))
        out: Tensor = x + self.narrow(y * self.weigh(y.mean(dim=(2, 3), keepdim=True)))
        return out


class PartitionAttention(nn.Module):
    """Attention of heads of ``head`` channels among ``window`` x ``window`` positions, with a bias for each displacement.

    They are neighbours (a block), or lie evenly over the whole picture (``grid``). Sides that are no multiples of the window
    are continued by their border.
    """

    def __init__(self, channels: int, window: int, head: int, grid: bool) -> None:
        super().__init__()
        self.window, self.grid, self.heads = window, grid, max(1, channels // head)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.leave = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, _WIDER * channels),
            nn.GELU(),
            nn.Linear(_WIDER * channels, channels),
        )
        self.bias = nn.Parameter(torch.zeros(self.heads, 2 * window - 1, 2 * window - 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        w = self.window
        padded = F.pad(x, (0, -width % w, 0, -height % w), mode="replicate")
        rows, columns = padded.shape[2] // w, padded.shape[3] // w
        if self.grid:
            split = padded.reshape(b, c, w, rows, w, columns).permute(0, 3, 5, 2, 4, 1)
        else:
            split = padded.reshape(b, c, rows, w, columns, w).permute(0, 2, 4, 3, 5, 1)
        tokens = split.reshape(-1, w * w, c)
        q, k, v = (
            self.qkv(self.norm1(tokens))
            .view(-1, w * w, 3, self.heads, c // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        read = F.scaled_dot_product_attention(q, k, v, self.displacements().to(q.dtype))
        tokens = tokens + self.leave(read.transpose(1, 2).reshape_as(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        split = tokens.view(b, rows, columns, w, w, c)
        order = (0, 5, 3, 1, 4, 2) if self.grid else (0, 5, 1, 3, 2, 4)
        joined = split.permute(order).reshape(b, c, rows * w, columns * w)
        out: Tensor = joined[..., :height, :width].contiguous()
        return out

    def displacements(self) -> Tensor:
        """The biases of all pairs of positions, ``heads,w*w,w*w``."""
        w = self.window
        at = torch.arange(w, device=self.bias.device)
        y, x = at.repeat_interleave(w), at.repeat(w)
        return self.bias[:, y[:, None] - y + w - 1, x[:, None] - x + w - 1]


class MaxViTBlock(nn.Module):
    """The three in a row, on features ``B,C,h,w``."""

    def __init__(self, channels: int, window: int = 8, head: int = 32, groups: int = 32) -> None:
        super().__init__()
        self.parts = nn.Sequential(
            InvertedBottleneck(channels, groups),
            PartitionAttention(channels, window, head, grid=False),
            PartitionAttention(channels, window, head, grid=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.parts(x)
        return out
