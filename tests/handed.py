"""The frames that a conversion hands to its encoder: what it makes, before the codec's loss."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sdr2hdr.media.encoder import ChunkEncoder

Planes = tuple[Tensor, Tensor, Tensor]


def frames_handed(
    monkeypatch: pytest.MonkeyPatch, conversion: Callable[[], object]
) -> list[tuple[Planes, int]]:
    """Planes and pts in display order, of a conversion in this process."""
    handed: list[tuple[Planes, int]] = []
    encode = ChunkEncoder.encode

    def recording(self: ChunkEncoder, planes: Planes, pts: int, duration: int | None) -> None:
        handed.append((tuple(p.clone() for p in planes), pts))
        encode(self, planes, pts, duration)

    with monkeypatch.context() as patch:
        patch.setattr(ChunkEncoder, "encode", recording)
        conversion()
    return sorted(handed, key=lambda h: h[1])


def codes_handed(monkeypatch: pytest.MonkeyPatch, conversion: Callable[[], object]) -> torch.Tensor:
    """10-bit codes ``T,N`` of those frames: Y', Cb and Cr in a row."""
    frames = frames_handed(monkeypatch, conversion)
    return torch.stack([torch.cat([p.flatten().to(torch.int32) for p in f]) for f, _ in frames])
