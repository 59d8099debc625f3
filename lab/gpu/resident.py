"""Clips that lie in the memory of a GPU, and batches that are cut out of them there, so that training never waits for data."""

from pathlib import Path

import torch
from torch import Tensor

from sdr2hdr.data.footage import scene_of
from sdr2hdr.data.store import Batch, Facts, Sampler, place, read_clip
from sdr2hdr.models.inputs import thumbnail

_HALF = 1 << 15
_TOP = 65535.0


class ResidentSampler(Sampler):
    """The batches of :class:`~sdr2hdr.data.store.Sampler`, to one step in 65535, from clips of one size.

    A clip of three frames of 256x160 takes 2.2 MB: SDR, HDR and the SDR from before its codec as 16-bit codes.
    """

    def __init__(
        self, folder: Path, seed: int, count: int | None, device: torch.device, *, grid: int = 2
    ) -> None:
        super().__init__(folder, seed, count, grid=grid)
        self.device = device
        self._facts: list[Facts] = []
        told: list[float] = []
        self._scenes: list[str] = []
        sdr, hdr, clean = list[Tensor](), list[Tensor](), list[Tensor]()
        for path in self.paths:
            clip = read_clip(path)
            frames, _, height, width = clip.codes.shape
            self._facts.append(Facts(clip.qp, frames, height, width))
            told.append(clip.brightness)
            self._scenes.append(scene_of(clip.scene))
            for kept, picture in ((sdr, clip.sdr()), (hdr, clip.hdr()), (clean, clip.undamaged())):
                codes = (picture * _TOP).round_().sub_(_HALF).to(torch.int16)
                kept.append(codes.to(device))
        if len({(f.frames, f.height, f.width) for f in self._facts}) != 1:
            raise ValueError("clips that lie together must have one size")
        self._sdr, self._hdr, self._clean = (torch.stack(kept) for kept in (sdr, hdr, clean))
        self._brightness = torch.tensor(told, device=device)
        self._qp = torch.tensor([float(f.qp) for f in self._facts], device=device)
        self._thumbs: dict[int, Tensor] = {}

    def facts(self, index: int) -> Facts:
        return self._facts[index]

    def batch(
        self,
        step: int,
        size: int,
        frames: int,
        patch: int,
        thumb: int,
        *,
        undamaged: bool = False,
        strong_from: int = 0,
    ) -> Batch:
        draws = list(self.draws(step, size, frames, patch, strong_from))
        known = self._facts[0]
        numbers = torch.tensor(
            [[d.clip, d.first, d.top, d.left, d.flipped, d.transposed] for d in draws]
        ).to(self.device)
        clip, first, top, left, flipped, transposed = (n[:, None, None] for n in numbers.unbind(1))
        along = torch.arange(patch, device=self.device)
        down, across = along[:, None].expand(patch, patch), along.expand(patch, patch)
        # place i, j of the result is j, i of the flipped patch where it is transposed
        i, j = torch.where(transposed > 0, across, down), torch.where(transposed > 0, down, across)
        i = torch.where(flipped > 0, patch - 1 - i, i)
        rows, columns = (top + i)[:, None, None], (left + j)[:, None, None]
        t = (first + torch.arange(frames, device=self.device))[:, 0, :, None, None, None]
        channel = torch.arange(3, device=self.device)[None, None, :, None, None]
        where = (clip[:, :, :, None, None], t, channel, rows, columns)

        def cut(whole: Tensor) -> Tensor:
            return (whole[where].float() + _HALF) / _TOP

        sdr = cut(self._sdr)
        places = [place(d, patch, known.height, known.width) for d in draws]
        return Batch(
            sdr,
            cut(self._hdr),
            cut(self._clean) if undamaged else sdr,
            self._thumbs_of(thumb, numbers, frames, sdr),
            torch.tensor(places).to(self.device),
            self._brightness[numbers[:, 0]],
            self._qp[numbers[:, 0]],
            tuple(self._scenes[d.clip] for d in draws),
        )

    def _thumbs_of(self, thumb: int, numbers: Tensor, frames: int, sdr: Tensor) -> Tensor:
        """Thumbnails of the whole pictures, flipped and transposed as the patches."""
        if not thumb:
            return sdr[..., :0, :0]
        if thumb not in self._thumbs:
            made = [thumbnail(((c.float() + _HALF) / _TOP)[None], thumb)[0] for c in self._sdr]
            self._thumbs[thumb] = torch.stack(made)
        clip, first, _, _, flipped, transposed = numbers.unbind(1)
        t = first[:, None] + torch.arange(frames, device=self.device)
        found = self._thumbs[thumb][clip[:, None], t]
        shape = (-1, 1, 1, 1, 1)
        found = torch.where(flipped.view(shape) > 0, found.flip(-2), found)
        return torch.where(transposed.view(shape) > 0, found.transpose(-1, -2), found)
