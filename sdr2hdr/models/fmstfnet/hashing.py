"""Non-local attention among positions that hash alike, in memory that grows with the picture and not with its square.

After Kitaev et al., Reformer (locality-sensitive hashing by random rotations, one embedding for queries and keys, sorted
chunks) and Mei et al., Image Super-Resolution with Non-Local Sparse Attention (the same for pictures). Every position attends to
a bounded number of positions, however large the picture is and however unevenly it hashes.
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SEED = 20230711
_MOST_BUCKETS = 128
_LAST = -5e4
"""The score of what is attended to only for want of anything else; small enough for half precision."""


@cache
def rotations(
    channels: int, buckets: int, rounds: int, device: str | torch.device = "cpu"
) -> Tensor:
    """Random rotations ``rounds,channels,buckets/2``; the same on every machine and in every run. They go to a device once."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(rounds, channels, buckets // 2, generator=generator, device="cpu").to(device)


def hashes(x: Tensor, buckets: int, rounds: int) -> Tensor:
    """Bucket numbers ``rounds,B,N`` of vectors ``B,N,C``: which of the rotated axes, or its opposite, is nearest."""
    axes = rotations(x.shape[-1], buckets, rounds, x.device)
    turned = torch.einsum("bnc,rcd->rbnd", x.float(), axes)
    nearest = turned.abs().argmax(dim=-1, keepdim=True)
    opposite = turned.gather(-1, nearest) < 0
    return (nearest + opposite * (buckets // 2))[..., 0]


def bucket_count(positions: int, chunk: int) -> int:
    """The number of buckets with which one holds about a chunk; even, and at most 128."""
    return min(max(positions // chunk // 2 * 2, 2), _MOST_BUCKETS)


def windows(codes: Tensor, frames: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Which positions attend to which: the first frame's positions ``B,K,chunk`` and those they attend to ``B,K,W``.

    ``codes B,N,frames`` are the hashes of all frames' positions. All are sorted by hash, then position, then frame; a chunk is a
    run of the first frame's positions, and attends to the ``W <= 2 * chunk * frames`` positions of all frames around its middle.
    Numbers are ``position * frames + frame``. The last chunk repeats the last position.
    """
    b, n, _ = codes.shape
    order = codes.flatten(1).sort(dim=1, stable=True).indices
    # where the first frame's positions came to stand; nonzero would make the host wait for a count that is known
    own = order % frames == 0
    place = torch.where(own, own.cumsum(1) - 1, n)
    ranks = torch.arange(n * frames, device=codes.device).expand(b, -1)
    ranks = torch.empty_like(place[:, : n + 1]).scatter_(1, place, ranks)[:, :n]
    ranks = torch.cat([ranks, ranks[:, -1:].expand(b, -n % chunk)], dim=1).view(b, -1, chunk)
    width = min(2 * chunk * frames, n * frames)
    first = (ranks[:, :, chunk // 2] - width // 2).clamp(0, n * frames - width)
    seen = first[:, :, None] + torch.arange(width, device=codes.device)
    return order.gather(1, ranks.flatten(1)).view_as(ranks), order.gather(
        1, seen.flatten(1)
    ).view_as(seen)


class HashedAttention(nn.Module):
    """HSTNAM, or with one frame HNAM: a frame's features plus what attention finds at positions of all frames that hash alike.

    Features are brought to the same size (root mean square 1 per position) before they are compared and read, so that a state
    which takes part in making the next one stays bounded over any number of frames.

    ``rounds`` of hashing, with other rotations each, are weighted by the sum of the exponentials of their scores (Reformer,
    eq. 6). Without ``to_self`` a position attends to itself only if there is nothing else, and with ``scaled`` scores are
    divided by the root of the number of their channels, both as in Reformer.
    """

    def __init__(
        self,
        channels: int,
        chunk: int = 32,
        rounds: int = 1,
        to_self: bool = True,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        if chunk < 1 or rounds < 1:
            raise ValueError("chunk and rounds are 1 or more")
        self.chunk, self.rounds, self.to_self = chunk, rounds, to_self
        self.factor = (channels // 4) ** -0.5 if scaled else 1.0
        self.match = nn.Conv2d(channels, channels // 4, 1)
        self.value = nn.Conv2d(channels, channels // 2, 1)
        self.leave = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor, others: Sequence[Tensor] = ()) -> Tensor:
        """``x`` and ``others`` are ``B,C,h,w``; gradients reach all of them."""
        b, _, h, w = x.shape
        maps = [normed(f) for f in (x, *others)]
        positions, frames = h * w, len(maps)
        keys = torch.stack([_rows(self.match(f)) for f in maps], dim=2)  # B,N,F,c
        values = torch.stack([_rows(self.value(f)) for f in maps], dim=2).flatten(0, 2)
        queries = keys[:, :, 0].reshape(b * positions, -1)
        keys = F.normalize(keys.flatten(0, 2), dim=-1)
        codes = hashes(
            keys.detach().view(b, positions * frames, -1),
            bucket_count(positions, self.chunk),
            self.rounds,
        )
        found, weights = [], []
        for code in codes:
            asking, seen = windows(code.view(b, positions, frames), frames, self.chunk)
            item = torch.arange(b, device=x.device)[:, None, None]
            rows = (asking // frames + item * positions).flatten()
            among = (seen + item * positions * frames).flatten()
            q = queries.index_select(0, rows).view(b * asking.shape[1], self.chunk, -1)
            k, v = (
                t.index_select(0, among).view(len(q), seen.shape[2], -1) for t in (keys, values)
            )
            scores = q @ k.transpose(-1, -2)
            if self.factor != 1:
                scores = self.factor * scores
            if not self.to_self:
                itself = asking[..., None] == seen[:, :, None]
                scores = scores.masked_fill(itself.flatten(0, 1), _LAST)
            read = scores.softmax(dim=-1) @ v
            # back into order: the last chunk's repeated position is found more than once, each time the same
            back = torch.empty(b * positions, dtype=torch.long, device=x.device)
            back[rows] = torch.arange(len(rows), device=x.device)
            found.append(read.flatten(0, 1).index_select(0, back))
            if self.rounds > 1:
                weights.append(scores.logsumexp(dim=-1).flatten().index_select(0, back))
        mixed = found[0]
        if len(found) > 1:
            share = torch.stack(weights).float().softmax(dim=0).to(mixed.dtype)
            mixed = (share[..., None] * torch.stack(found)).sum(dim=0)
        out: Tensor = self.leave(mixed.view(b, h, w, -1).permute(0, 3, 1, 2))
        return x + out


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """``softmax(q k^T) v`` of ``...,n,c``, ``...,m,c`` and ``...,m,d``.

    Torch's fused attention is made for long sequences; on these short ones it takes four times as long on a CPU in bfloat16,
    and nine times with gradients.
    """
    return (queries @ keys.transpose(-1, -2)).softmax(dim=-1) @ values


def normed(x: Tensor) -> Tensor:
    """Features ``B,C,h,w`` with a root mean square of 1 over the channels of every position."""
    return x * (x.float().square().mean(dim=1, keepdim=True) + 1e-4).rsqrt().to(x.dtype)


def _rows(x: Tensor) -> Tensor:
    """``B,C,h,w`` to ``B,h*w,C``."""
    return x.flatten(2).transpose(1, 2)
