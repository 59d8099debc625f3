"""TCAM and the temporal decoder of HDR-V-Diff: neighbours aligned to a reference from coarse to fine, and what they come to.

Patch matching moves a neighbour's pixels at the coarsest size (``matching.py``); what is left is corrected by a deformable
convolution at 1/4 of the size, and spatial attention lets through, at 1/8 and 1/2, what agrees with the reference. All neighbours
share the weights, and any number of them is averaged.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.hdrvdiff.restormer import Joined, RestormerBlock, ZiCA
from sdr2hdr.models.parts.blocks import ResidualBlock
from sdr2hdr.models.parts.deform import TAPS, deform_conv2d

Sizes = tuple[int, int, int]
"""Numbers of channels, of features at 1/2, 1/4 and 1/8 of the size."""

AREAS = (32, 16, 8)
"""Sides, in positions, of the areas that attention between channels works in: 64 pixels at each size."""

BLURS = (3, 7)
"""Sides, in pixels, of the means of the base that the decoder may go towards: in underexposed areas the base is mostly noise."""

_ADDED, _GATES = 0.01, 0.5
"""Scales of the outputs. The base is good: at full scale the first steps from zero overshoot what there is to correct, and
training would first learn to undo them."""

Features = tuple[Tensor, Tensor, Tensor]
"""At 1/2, 1/4 and 1/8."""


class Extractor(nn.Module):
    """Features of a frame ``B,6,H,W`` (eq. 1) at three sizes."""

    def __init__(self, channels: Sizes) -> None:
        super().__init__()
        a, b, c = channels
        self.at_half = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(24, a, 3, padding=1), nn.ReLU(), ResidualBlock(a)
        )
        self.at_quarter = nn.Sequential(
            nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU(), ResidualBlock(b)
        )
        self.at_eighth = nn.Sequential(
            nn.Conv2d(b, c, 3, stride=2, padding=1), nn.ReLU(), ResidualBlock(c)
        )

    def forward(self, six: Tensor) -> Features:
        half = self.at_half(six)
        quarter = self.at_quarter(half)
        return half, quarter, self.at_eighth(quarter)


class Gate(nn.Module):
    """Spatial attention (Yan et al. 2019): a small network gates the moved feature by how it agrees with the reference."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, reference: Tensor, moved: Tensor) -> Tensor:
        return moved * torch.sigmoid(
            self.second(F.relu(self.first(torch.cat([reference, moved], 1))))
        )


class TCAM(nn.Module):
    """The aligned features of a neighbour whose pixels patch matching has moved: ``six B,6,H,W``, as eq. 1 has it."""

    def __init__(self, channels: Sizes) -> None:
        super().__init__()
        a, b, c = channels
        self.gate_half, self.gate_eighth = Gate(a), Gate(c)
        self.above = nn.Conv2d(c, b, 1)
        self.seek, self.offset = (
            nn.Conv2d(3 * b, 24, 3, padding=1),
            nn.Conv2d(24, 6 * TAPS * 3, 3, padding=1),
        )
        self.deform = nn.Conv2d(6, b, 3, padding=1)

    def forward(self, reference: Features, moved: Features, six: Tensor) -> Features:
        eighth = self.gate_eighth(reference[2], moved[2])
        above = F.interpolate(self.above(eighth), scale_factor=2.0)
        found = self.offset(F.relu(self.seek(torch.cat([reference[1], moved[1], above], 1))))
        offset, mask = found.split([6 * TAPS * 2, 6 * TAPS], dim=1)
        small = F.avg_pool2d(six, 4)
        kernel = self.deform
        moved_again = deform_conv2d(small, offset, torch.sigmoid(mask), kernel.weight, kernel.bias)
        return self.gate_half(reference[0], moved[0]), F.relu(moved_again) + moved[1], eighth


@dataclass(frozen=True)
class Aligned:
    """A frame and its neighbours, moved onto it: ``reference B,6,H,W`` and each of ``moved`` as in eq. 1, float32.

    ``base B,3,H,W`` is the mapping or merge that is corrected, in the mu-law domain, and ``trusted B,1,H,W`` how far it can be
    trusted (0 to 1).
    """

    reference: Tensor
    moved: tuple[Tensor, ...]
    base: Tensor
    trusted: Tensor


class TemporalDecoder(nn.Module):
    """Restormer blocks from the smallest size up; the outputs correct the base: three channels to add, and how far to go
    towards means of it, or towards the prior's picture. ZiCA lets the prior's features in at each size.

    ``prior`` are its channels, smallest size first. With ``concat`` they are concatenated instead."""

    def __init__(self, channels: Sizes, prior: Sizes, concat: bool = False) -> None:
        super().__init__()
        a, b, c = channels
        self.join_eighth, self.at_eighth = (
            nn.Conv2d(2 * c, c, 1),
            nn.Sequential(*(RestormerBlock(c, AREAS[2]) for _ in range(2))),
        )
        self.grow_quarter, self.join_quarter = nn.Conv2d(c, b, 1), nn.Conv2d(3 * b, b, 1)
        self.at_quarter = RestormerBlock(b, AREAS[1])
        self.grow_half, self.join_half = nn.Conv2d(b, a, 1), nn.Conv2d(3 * a + 16, a, 1)
        self.at_half = RestormerBlock(a, AREAS[0])
        self.treat = nn.Conv2d(a + 16, 2 * a, 3, padding=1)
        self.leave = nn.Conv2d(2 * a, 4 * (3 + len(BLURS)), 3, padding=1)
        self.zica = nn.ModuleList(
            Joined(own, p) if concat else ZiCA(own, p, area)
            for own, p, area in zip((c, b, a), prior, AREAS[::-1], strict=True)
        )
        self.prior_treat = nn.Conv2d(2 * a + 28, 2 * a, 3, padding=1)
        self.prior_fit = nn.Conv2d(prior[2], a, 1)
        self.prior_leave = nn.Conv2d(2 * a, 4 * (3 + len(BLURS) + 1), 3, padding=1)

    def forward(
        self,
        own: Features,
        neighbours: Features,
        aligned: Aligned,
        prior: tuple[Tensor, tuple[Tensor, ...]] | None,
    ) -> Tensor:
        """The correction ``B,3,H,W`` float32. ``prior`` is a picture in the mu-law domain with its features, smallest first."""

        def let_in(x: Tensor, i: int) -> Tensor:
            return x if prior is None else self.zica[i](x, prior[1][i])

        x = self.join_eighth(torch.cat([own[2], neighbours[2]], 1))
        x = let_in(self.at_eighth(x), 0)
        x = F.interpolate(self.grow_quarter(x), scale_factor=2.0)
        x = let_in(self.at_quarter(self.join_quarter(torch.cat([x, own[1], neighbours[1]], 1))), 1)
        x = F.interpolate(self.grow_half(x), scale_factor=2.0)
        base = aligned.base
        known = F.pixel_unshuffle(torch.cat([base, aligned.trusted], 1), 2)
        known = known.to(x.dtype, memory_format=torch.channels_last)
        x = let_in(self.at_half(self.join_half(torch.cat([x, own[0], neighbours[0], known], 1))), 2)
        found = F.pixel_shuffle(self.leave(F.relu(self.treat(torch.cat([x, known], 1)))).float(), 2)
        offers = [_blurred(base, n) - base for n in BLURS]
        if prior is not None:
            away = F.pixel_unshuffle(prior[0] - base, 2).to(
                x.dtype, memory_format=torch.channels_last
            )
            seen = torch.cat([x, self.prior_fit(prior[1][2]), known, away], 1)
            more = F.pixel_shuffle(self.prior_leave(F.relu(self.prior_treat(seen))).float(), 2)
            found, offers = more + F.pad(found, (0, 0, 0, 0, 0, 1)), [*offers, prior[0] - base]
        added = _ADDED * found[:, :3]
        for i, offer in enumerate(offers, 3):
            added = added + _GATES * found[:, i : i + 1] * offer
        return added


def _blurred(picture: Tensor, size: int) -> Tensor:
    half = size // 2
    return F.avg_pool2d(F.pad(picture, (half, half, half, half), mode="replicate"), size, 1)


class Temporal(nn.Module):
    """TCAM and its decoder: from a frame and its aligned neighbours to a correction of its base."""

    def __init__(self, channels: Sizes, prior: Sizes, concat: bool = False) -> None:
        super().__init__()
        self.extractor, self.tcam = Extractor(channels), TCAM(channels)
        self.decoder = TemporalDecoder(channels, prior, concat)

    def forward(
        self, aligned: Aligned, prior: tuple[Tensor, tuple[Tensor, ...]] | None = None
    ) -> Tensor:
        dtype = self.decoder.leave.weight.dtype
        own = self.extractor(aligned.reference.to(dtype, memory_format=torch.channels_last))
        sums: list[Tensor] = [torch.zeros_like(x) for x in own]
        for six in aligned.moved:
            moved = self.extractor(six.to(dtype, memory_format=torch.channels_last))
            found = self.tcam(own, moved, six)
            sums = [s + x for s, x in zip(sums, found, strict=True)]
        count = max(1, len(aligned.moved))
        neighbours = (sums[0] / count, sums[1] / count, sums[2] / count)
        added: Tensor = self.decoder(own, neighbours, aligned, prior)
        return added
