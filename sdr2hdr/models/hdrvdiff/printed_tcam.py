"""TCAM, the temporal decoder and the reconstruction module as printed (sections 3.2 and 3.3).

A neighbour's features are aligned by spatial attention at the coarsest size, by deformable convolution of features at the middle
one, and by patch matching of learnt features at the finest. The sizes are 1/8, 1/4 and 1/2 of the picture's: the paper says none.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.hdrvdiff.restormer import HEADS_OF, RestormerBlock, channel_attention
from sdr2hdr.models.hdrvdiff.tcam import Extractor, Features, Gate, Sizes
from sdr2hdr.models.parts.precision import Float32Conv2d

_TAPS = 9
_GROUPS = 8
"""Groups of channels with offsets of their own, as EDVR has them (Wang et al. 2019)."""

REACH = 4
"""Positions of the finest size that patch matching searches each way. LAN-HDR searches everything, at a much smaller size: that
takes memory that grows with the square of the picture."""


class FeatureDeform(nn.Module):
    """Modulated deformable convolution, 3x3, of features; gradients reach features, offsets and masks."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.seek = nn.Sequential(
            nn.Conv2d(told, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 3 * _TAPS * _GROUPS, 3, padding=1),
        )
        self.join = nn.Conv2d(_TAPS * channels, channels, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """``x B,C,h,w`` at positions that ``told`` decides."""
        b, c, h, w = x.shape
        y, z, mask = self.seek(told).float().reshape(b * _GROUPS, 3, _TAPS, h, w).unbind(1)
        rows = torch.arange(h, device=x.device, dtype=torch.float32)[:, None]
        columns = torch.arange(w, device=x.device, dtype=torch.float32)
        source, found = x.float().reshape(b * _GROUPS, c // _GROUPS, h, w), []
        for tap in range(_TAPS):
            down = rows + tap // 3 - 1 + y[:, tap]
            across = columns + tap % 3 - 1 + z[:, tap]
            grid = torch.stack([(2 * across + 1) / w - 1, (2 * down + 1) / h - 1], dim=-1)
            taken = F.grid_sample(source, grid, align_corners=False)
            found.append((taken * mask[:, tap, None].sigmoid()).view(b, c, h, w))
        out: Tensor = self.join(torch.cat(found, dim=1).to(x.dtype))
        return out


class PatchMatch(nn.Module):
    """The moved features at the positions where patches of 3x3 learnt features correlate best with the reference's.

    The choice is hard; the correlation weighs what is taken, so that the learnt features get a gradient (Yang et al. 2020).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, channels // 2, 3, padding=1)

    def forward(self, reference: Tensor, moved: Tensor) -> Tensor:
        b, c, h, w = moved.shape
        q, k = self.embed(reference), self.embed(moved)
        place = self._place(q, k)

        def taken(wide: Tensor) -> Tensor:
            """Columns ``B,n,h*w`` of all positions that are searched, ``B,n,...``, at those that were found."""
            n = wide.shape[1]
            return wide.flatten(2).gather(2, place[:, None].expand(b, n, h * w))

        inside = F.unfold(torch.ones_like(q[:1, :1]), 3, padding=1).repeat(1, q.shape[1], 1, 1)
        own = F.unfold(q, 3, padding=1)
        found = taken(F.unfold(_wide(k, REACH + 1), 3)) * inside.view(1, -1, _TAPS, h * w).flatten(
            1, 2
        )
        alike = (own * found).sum(1) / (
            _length(own.square().sum(1)) * _length(found.square().sum(1))
        )
        return taken(_wide(moved, REACH)).view(b, c, h, w) * alike.view(b, 1, h, w)

    @torch.no_grad()
    def _place(self, q: Tensor, k: Tensor) -> Tensor:
        """The best position for each of ``q``, ``B,h*w``, as its number in ``k`` widened by the reach."""
        h, w = q.shape[-2:]
        wide = _wide(k, REACH)
        energy = wide.square().sum(1, keepdim=True)
        side = range(2 * REACH + 1)
        alike = torch.cat(
            [
                _patches(q * wide[..., y : y + h, x : x + w])
                / _length(_patches(energy[..., y : y + h, x : x + w]))
                for y in side
                for x in side
            ],
            dim=1,
        )
        best = alike.argmax(1)
        rows = torch.arange(h, device=q.device)[:, None] + best // len(side)
        columns = torch.arange(w, device=q.device) + best % len(side)
        return (rows * wide.shape[-1] + columns).flatten(1)


def _wide(x: Tensor, reach: int) -> Tensor:
    return F.pad(x, (reach,) * 4, mode="replicate")


def _patches(x: Tensor) -> Tensor:
    """Sums over channels and 3x3 positions, ``B,1,h,w`` of ``B,C,h,w``."""
    return _TAPS * F.avg_pool2d(x.sum(1, keepdim=True), 3, stride=1, padding=1)


def _length(energy: Tensor) -> Tensor:
    """The length of a patch with that sum of squares, never 0."""
    return (energy + 1e-4).sqrt()


class PrintedTCAM(nn.Module):
    """The aligned features of a neighbour, at each size, from coarse to fine."""

    def __init__(self, channels: Sizes) -> None:
        super().__init__()
        a, b, c = channels
        self.attend, self.match = Gate(c), PatchMatch(a)
        self.to_quarter, self.to_half = nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)
        self.deform = FeatureDeform(b, 3 * b)
        self.fuse_quarter = nn.Conv2d(2 * b, b, 3, padding=1)
        self.fuse_half = nn.Conv2d(2 * a, a, 3, padding=1)

    def forward(self, reference: Features, moved: Features) -> Features:
        eighth = self.attend(reference[2], moved[2])
        above = F.interpolate(self.to_quarter(eighth), scale_factor=2.0)
        quarter = self.deform(moved[1], torch.cat([reference[1], moved[1], above], dim=1))
        quarter = F.relu(self.fuse_quarter(torch.cat([quarter, above], dim=1)))
        above = F.interpolate(self.to_half(quarter), scale_factor=2.0)
        half = self.match(reference[0], moved[0])
        return F.relu(self.fuse_half(torch.cat([half, above], dim=1))), quarter, eighth


class Upward(nn.Module):
    """Restormer blocks from the smallest size up to a picture; each size joins what comes from below with its own maps."""

    def __init__(self, channels: Sizes, parts: int, blocks: int = 2) -> None:
        super().__init__()
        a, b, c = channels
        self.join = nn.ModuleList(
            nn.Conv2d((parts + below) * own, own, 1) for own, below in ((c, 0), (b, 1), (a, 1))
        )
        self.grow = nn.ModuleList([nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)])
        self.blocks = nn.ModuleList(
            nn.Sequential(*(RestormerBlock(own, 0) for _ in range(blocks))) for own in (c, b, a)
        )
        self.leave = Float32Conv2d(a, 12, 3, padding=1)

    def forward(self, maps: list[list[Tensor]]) -> tuple[Tensor, Features]:
        """The picture ``B,3,H,W`` and the features at 1/2, 1/4 and 1/8, of each size's maps, the smallest first."""
        found: list[Tensor] = []
        for i, own in enumerate(maps):
            below = [F.interpolate(self.grow[i - 1](found[-1]), scale_factor=2.0)] if found else []
            found.append(self.blocks[i](self.join[i](torch.cat([*own, *below], dim=1))))
        picture = F.pixel_shuffle(self.leave(found[-1]), 2)
        return picture, (found[2], found[1], found[0])


class PrintedTemporal(nn.Module):
    """TCAM and the temporal decoder: a tone-mapped HDR frame, and its features, of a frame and its neighbours (eq. 1)."""

    def __init__(self, channels: Sizes) -> None:
        super().__init__()
        self.extractor, self.tcam = Extractor(channels), PrintedTCAM(channels)
        self.decoder = Upward(channels, 2)

    def forward(self, reference: Tensor, near: list[Tensor]) -> tuple[Tensor, Features]:
        """``reference`` and each of ``near`` are ``B,6,H,W``. Aligned neighbours are averaged, so any number will do."""
        dtype, count = self.tcam.match.embed.weight.dtype, len(near)
        own = means = self.extractor(reference.to(dtype))
        if near:
            each = self.tcam(
                tuple(x.repeat(count, 1, 1, 1) for x in own),
                self.extractor(torch.cat(near).to(dtype)),
            )
            means = tuple(x.unflatten(0, (count, -1)).mean(0) for x in each)
        picture, features = self.decoder(
            [[a, b] for a, b in zip(own[::-1], means[::-1], strict=True)]
        )
        return picture, features


class PrintedZiCA(nn.Module):
    """Eq. 6: both features group-normalised and mapped, the temporal one asks, the prior's answers, zeros let it in."""

    def __init__(self, channels: int, prior: int, groups: int, control: float = 1.0) -> None:
        super().__init__()
        self.control = control
        self.fit = nn.Conv2d(prior, channels, 1)
        self.norm_temporal, self.norm_prior = (nn.GroupNorm(groups, channels) for _ in range(2))
        self.ask = nn.Conv2d(channels, channels, 1)
        self.answer = nn.Conv2d(channels, 2 * channels, 1)
        self.sharpness = nn.Parameter(torch.ones(channels // HEADS_OF))
        self.zero = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, temporal: Tensor, prior: Tensor) -> Tensor:
        q = self.ask(self.norm_temporal(temporal))
        k, v = self.answer(self.norm_prior(self.fit(prior))).chunk(2, dim=1)
        read = channel_attention(q, k, v, self.sharpness, 0)
        out: Tensor = temporal + self.control * self.zero(read)
        return out


class Reconstruction(nn.Module):
    """The module after the frozen ones: the prior's features join the temporal ones at each size and grow to the HDR frame."""

    def __init__(self, channels: Sizes, joins: list[nn.Module]) -> None:
        super().__init__()
        self.integrate, self.decoder = nn.ModuleList(joins), Upward(channels, 1)

    def forward(self, temporal: Features, prior: tuple[Tensor, ...]) -> Tensor:
        """``prior`` are the features of the latent decoder, the smallest first."""
        sizes = zip(self.integrate, temporal[::-1], prior, strict=True)
        picture, _ = self.decoder(
            [[join(own, theirs.to(own.dtype))] for join, own, theirs in sizes]
        )
        return cast(Tensor, picture)
