"""WMNet's layers without its memory: the encoder, T-MoE over three depths and three frames (eq. 10, 11), and the decoder."""

from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from sdr2hdr.models.parts.blocks import ResidualBlock, start_with_detail
from sdr2hdr.models.parts.fused import conv, conv_shuffle
from sdr2hdr.models.parts.precision import Float32, Float32Conv2d
from sdr2hdr.models.wmnet.experts import TemporalExperts


class Trunk(nn.Module):
    """Layers that both forms of the network have, under their published names."""

    encoder: tuple[str, ...] = ("conv_first.", "recon_trunk_res.")

    def build(self, channels: int, blocks: int, edges: str, experts: bool, *, alone: bool) -> None:
        """Make the layers; ``alone``: the output is the picture itself. Raises ValueError for options that do not fit."""
        if edges not in ("zero", "repeat"):
            raise ValueError("edges is zero or repeat")
        if blocks % 3:
            raise ValueError("blocks is a multiple of 3")
        self.conv_first = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.recon_trunk_res = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.propagation = TemporalExperts(channels, repeat=edges == "repeat") if experts else None
        self.upconv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.HRconv = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = (Float32Conv2d if alone else nn.Conv2d)(channels, 3, 3, padding=1)

    def start(self, modules: Iterable[nn.Module], *, alone: bool) -> None:
        """Initialise the network's own ``modules``. Residual blocks start close to the identity, and a correction at zero.

        The published code scales every 2-D convolution by 0.1, which costs the first thousands of steps of a short
        schedule.
        """
        trunk = set(self.recon_trunk_res.modules())
        for m in modules:
            if isinstance(
                m, nn.Conv3d
            ):  # single frames, which training begins with, teach the middle tap alone
                m.weight.data[:, :, 0] = 0.0
                m.weight.data[:, :, 2] = 0.0
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)
                if m in trunk:
                    m.weight.data.mul_(0.1)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
        if not alone:
            # noise at the output is unlearnt fastest by killing the layer before it
            nn.init.zeros_(self.conv_last.weight)
            start_with_detail(self.conv_first)

    def encode(self, frame: Tensor) -> list[Tensor]:
        """Features of three depths, each ``B,C,H/2,W/2``, of a frame ``B,3,H,W``."""
        # what the output is added to needs the frame in float32, so the network casts its own copy
        x = frame.to(self.conv_first.weight.dtype, memory_format=torch.channels_last)
        x = conv(self.conv_first, x, relu=True)
        depths = []
        third = len(self.recon_trunk_res) // 3
        for i, block in enumerate(self.recon_trunk_res, start=1):
            x = block(x)
            if i % third == 0:
                depths.append(x)
        return depths

    def features(self, frames: Tensor, which: range) -> Iterator[Tensor]:
        """What T-MoE makes of each of the frames ``which`` of ``B,T,3,H,W``: ``B,C,H/2,W/2``.

        Three frames of encoder features and three of mixed features are held, whatever the window's length.
        """
        first, last = max(which.start - 2, 0), min(which.stop + 2, frames.shape[1])
        depths: deque[list[Tensor] | None] = deque([None, None, None], maxlen=3)
        mixed: deque[Tensor | None] = deque([None, None, None], maxlen=3)
        for t in range(first, last + 2):
            depths.append(self.encode(frames[:, t]) if t < last else None)
            at = depths[1]  # frame t - 1
            mixed.append(self._mixed(depths[0], at, depths[2]) if at is not None else None)
            centre = mixed[1]  # frame t - 2
            if centre is None or t - 2 not in which:
                continue
            whole = self.propagation
            yield centre if whole is None else whole.fuse_at(mixed[0], centre, mixed[2])

    def _mixed(
        self, before: list[Tensor] | None, at: list[Tensor], after: list[Tensor] | None
    ) -> Tensor:
        return at[-1] if self.propagation is None else self.propagation.mix(before, at, after)

    def decode(self, feature: Tensor) -> Tensor:
        """The output ``B,3,H,W`` from features ``B,C,H/2,W/2``."""
        x = conv(self.HRconv, conv_shuffle(self.upconv, feature), relu=True)
        return self.conv_last(x) if isinstance(self.conv_last, Float32) else conv(self.conv_last, x)

    def reconstruct(self, pictures: Tensor) -> Tensor:
        """Phase I: pictures ``B,3,H,W`` from their masked low bands, by encoder and decoder alone."""
        return self.decode(self.encode(pictures)[-1])
