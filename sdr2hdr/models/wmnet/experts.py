"""T-MoE (eq. 10, 11): experts of three depths, blended at every pixel, over three frames."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.parts.blending import SoftmaxBlend


def _shifted(
    taps: nn.Conv3d, window: tuple[Tensor | None, Tensor, Tensor | None], repeat: bool
) -> Tensor:
    """A 3x1x1 Conv3d at one frame: a 1x1 convolution over the frames before, at and after it.

    A missing one counts as zero, as published, or as a repetition of the frame itself (``repeat``).
    """
    w = taps.weight[..., 0, 0]
    held = [(x, w[:, :, k]) for k, x in enumerate(window) if x is not None]
    if repeat and len(held) < 3:
        at = w[:, :, 1] + sum(w[:, :, k] for k, x in enumerate(window) if x is None)
        held = [(x, at if x is window[1] else k) for x, k in held]
    kernel = torch.cat([k for _, k in held], dim=1)[..., None, None]
    return F.conv2d(torch.cat([x for x, _ in held], dim=1), kernel, taps.bias)


class TemporalExperts(nn.Module):
    """T-MoE (eq. 10, 11): softmax over three experts, each a 3x1x1 convolution of one depth's features, then a fusion."""

    def __init__(self, channels: int, repeat: bool = False) -> None:
        super().__init__()
        self.repeat = repeat
        self.blend = SoftmaxBlend()
        self.fc_a, self.fc_b, self.fc_c, self.fuse = (
            nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0)) for _ in range(4)
        )

    def mix(
        self, before: list[Tensor] | None, at: list[Tensor], after: list[Tensor] | None
    ) -> Tensor:
        """The weighted sum at one frame from the three depths' features ``B,C,h,w`` of it and its neighbours."""
        scores = [
            _shifted(
                expert,
                (before[d] if before else None, at[d], after[d] if after else None),
                self.repeat,
            )
            for d, expert in enumerate((self.fc_a, self.fc_b, self.fc_c))
        ]
        blended: Tensor = self.blend(scores, at)
        return blended

    def fuse_at(self, before: Tensor | None, at: Tensor, after: Tensor | None) -> Tensor:
        return at + _shifted(self.fuse, (before, at, after), self.repeat)
