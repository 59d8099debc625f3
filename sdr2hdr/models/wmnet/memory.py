"""The dynamic memory module DMM (eq. 12, 13): as published, and in a form for every picture size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.parts.blocks import zero
from sdr2hdr.models.spec import State


class PublishedMemory(nn.Module):
    """DMM as published: one dot product a position and slot, softmax over positions, values of the current frame.

    The softmax sums to 1 over all positions, so its effect fades as the picture grows.

    The state's ``slots B,n,c,h,w`` are the maps of the last ``n`` frames. ``held B,n`` tells which of them there are, if the
    scenes of a batch have unlike many; without it there are all. ``printed`` reads eq. 13 to the letter instead: every
    position attends to all positions of a slot, and the slots' results are added. That takes time with the square of the
    positions. The network's authors publish the other form, whose ``hidden`` size is half the channels; the paper says 64. As
    published a slot is stored without gradients, so that what writes it (``mem_prepare``) is never trained; as printed it is,
    within a clip.
    """

    def __init__(
        self, channels: int, size: int, hidden: int | None = None, *, printed: bool = False
    ) -> None:
        super().__init__()
        c = hidden or channels // 2
        self.size, self.printed = size, printed
        self.mq, self.mk, self.mv = (nn.Linear(c, c, bias=False) for _ in range(3))
        self.proj = nn.Linear(c, channels)
        self.feat_prepare = nn.Sequential(nn.Conv2d(channels, c, 3, padding=1, groups=8), nn.ReLU())
        self.mem_prepare = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=8),
            nn.ReLU(),
            nn.Conv2d(channels, c, 3, padding=1, groups=8),
        )

    def read(self, feature: Tensor, state: State) -> Tensor | None:
        """The output of attention over the slots in the state, for ``feature B,C,h,w``; none for new scenes."""
        slots = state.get("slots")
        if slots is None:
            return None
        held = state.get("held", slots.new_ones(slots.shape[:2], dtype=torch.bool))
        b, _, h, w = feature.shape
        flat = self.feat_prepare(feature).flatten(2).transpose(1, 2)  # B,m,c
        q, v = self.mq(flat), self.mv(flat)
        k = self.mk(slots.to(flat.dtype).flatten(3).transpose(2, 3))  # B,n,m,c
        if self.printed:
            slot = F.scaled_dot_product_attention(
                q[:, None].expand_as(k), k, v[:, None].expand_as(k), scale=1.0
            )
            read = (slot * held[..., None, None]).sum(dim=1)
        else:
            scores = (q[:, None] * k).sum(dim=-1)  # B,n,m
            gate = scores.softmax(dim=-1) * held[..., None]
            read = gate.sum(dim=1)[..., None] * v
        out: Tensor = self.proj(read) * held.any(dim=1)[:, None, None]  # none for a new scene
        return out.transpose(1, 2).reshape(b, -1, h, w)

    def write(self, feature: Tensor, state: State) -> State:
        """The state with this frame's result appended and the oldest slot beyond ``size`` dropped."""
        new = self.mem_prepare(feature)[:, None]
        new = new if self.printed else new.detach()
        slots = state.get("slots")
        kept = new if slots is None else torch.cat([slots.to(new.dtype), new], dim=1)
        now = {**state, "slots": kept[:, -self.size :]}
        if "held" in state:
            held = torch.cat([state["held"], state["held"].new_ones(len(new), 1)], dim=1)
            now["held"] = held[:, -self.size :]
        return now


class TokenMemory(nn.Module):
    """DMM whose effect does not depend on the picture's size: eq. 12 and 13 over a fixed grid of pooled tokens.

    The whole picture's thumbnail is encoded to ``grid x grid`` tokens. Memory holds the tokens of the frame and of the
    ``size`` frames before it; every position's query attends to all of them. Keys and values both come from memory, so that
    what is remembered can enter the picture (also as a gain on the features), and the frame's own tokens are in it, so that
    a scene's first frame is treated as the others are.
    """

    def __init__(self, channels: int, size: int, grid: int = 8) -> None:
        super().__init__()
        c = channels // 2
        self.size, self.grid = size, grid
        self.encoder = nn.Sequential(
            nn.Conv2d(3, c, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
        )
        self.mix = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, c)
        )
        self.mq, self.mk, self.mv = (nn.Linear(c, c, bias=False) for _ in range(3))
        self.proj = nn.Linear(c, channels)
        self.feat_prepare = nn.Sequential(nn.Conv2d(channels, c, 1), nn.ReLU())
        last = nn.Linear(channels, channels)
        zero(last)
        self.gain = nn.Sequential(nn.Linear(c, channels), nn.ReLU(), last)

    def tokens(self, thumb: Tensor) -> Tensor:
        """Tokens ``B,grid*grid,c`` of a thumbnail ``B,3,S,S``: each knows the features of its area and the picture's mean."""
        thumb = thumb.to(self.proj.weight.dtype)
        f = F.adaptive_avg_pool2d(self.encoder(thumb), self.grid).flatten(2).transpose(1, 2)
        whole = f.mean(dim=1, keepdim=True).expand_as(f)
        out: Tensor = self.mix(torch.cat([f, whole], dim=-1))
        return out

    def read(self, feature: Tensor, state: State) -> Tensor:
        """``feature B,C,h,w`` with the memory: scaled by a gain from the tokens' mean, plus the attention over the tokens.

        The tokens are ``B,n,g*g,c`` in the state. A tone curve is a product of a pixel's features and of the scene's, which
        attention alone, a sum, has to build from many layers.
        """
        b, _, h, w = feature.shape
        memory = state["tokens"].to(feature.dtype).flatten(1, 2)
        scale = 1.0 + self.gain(memory.mean(dim=1))[:, :, None, None]
        seen = self.feat_prepare(feature).flatten(2).transpose(1, 2)
        # (W_q x) k = x (W_q^T k): there are many positions and few keys
        keys = self.mk(memory) @ self.mq.weight
        out = F.scaled_dot_product_attention(
            seen[:, None], keys[:, None], self.mv(memory)[:, None]
        )[:, 0]
        added = self.proj(out).transpose(1, 2).reshape(b, -1, h, w)
        result: Tensor = feature * scale + added
        return result

    def write(self, thumb: Tensor, state: State) -> State:
        """The state with a frame's tokens appended; gradients stop at what was there before."""
        new = self.tokens(thumb)[:, None]
        old = state.get("tokens")
        kept = new if old is None else torch.cat([old.to(new.dtype).detach(), new], dim=1)
        return {**state, "tokens": kept[:, -(self.size + 1) :]}
