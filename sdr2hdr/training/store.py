"""Clips on disk: made once, by as many processes as wanted, read by the loop as memory maps."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdr2hdr.models.layers import thumbnail
from sdr2hdr.training.dataset import Clip, ClipMaker


def write_clip(clip: Clip, path: Path) -> None:
    """One clip as an uncompressed archive; it appears whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("wb") as f:
        y, cb, cr = (p.numpy() for p in clip.planes)
        meta = np.array([clip.scene, clip.look, str(clip.qp)])
        np.savez(f, y=y, cb=cb, cr=cr, codes=clip.codes.numpy().astype(np.uint16), meta=meta)
    part.replace(path)


def read_clip(path: Path) -> Clip:
    """A clip written by :func:`write_clip`."""
    with np.load(path, allow_pickle=False) as z:
        y, cb, cr = (torch.from_numpy(z[k]) for k in ("y", "cb", "cr"))
        scene, look, qp = (str(v) for v in z["meta"])
        return Clip((y, cb, cr), torch.from_numpy(z["codes"].astype(np.int32)), scene, look, int(qp))


def make_clips(maker: ClipMaker, folder: Path, numbers: range) -> int:
    """Make the training clips that the folder lacks; returns how many were made."""
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    for n in numbers:
        path = folder / f"{n:06d}.npz"
        if not path.exists():
            write_clip(maker.train_clip(n), path)
            made += 1
    return made


class Sampler:
    """Batches of patches from a folder of clips, drawn from (seed, step): resuming at a step gives the batch it would have."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.paths = sorted(folder.glob("*.npz"))
        self.seed = seed

    def batch(self, step: int, size: int, frames: int, patch: int, thumb: int) -> tuple[Tensor, Tensor, Tensor]:
        """SDR ``B,T,3,P,P``, PQ codes of the same shape and thumbnails of the whole pictures ``B,T,3,S,S``."""
        rng = np.random.default_rng([self.seed, step])
        batch: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for i in rng.integers(len(self.paths), size=size):
            clip = read_clip(self.paths[i])
            count, _, height, width = clip.codes.shape
            first = int(rng.integers(0, max(count - frames, 0) + 1))
            y, x = (int(rng.integers(0, (n - patch) // 2 + 1)) * 2 for n in (height, width))
            which = slice(first, first + frames)
            sdr, hdr = clip.sdr(which), clip.hdr(which)
            whole = thumbnail(sdr[None], thumb)[0] if thumb else sdr[..., :0, :0]
            pair = [sdr[..., y : y + patch, x : x + patch], hdr[..., y : y + patch, x : x + patch], whole]
            if rng.random() < 0.5:
                pair = [p.flip(-2) for p in pair]
            if rng.random() < 0.5:
                pair = [p.transpose(-1, -2) for p in pair]
            for kept, p in zip(batch, pair, strict=True):
                kept.append(p)
        sdr, hdr, thumbs = (torch.stack(kept) for kept in batch)
        return sdr, hdr, thumbs
