"""Stable Diffusion's autoencoder (Rombach et al. 2022), which HDR-V-Diff's published form takes.

The parts have the names of the published files in the diffusers layout, so that their tensors fit as they are. It
normalises over groups of channels of the whole picture, so tiles of it agree less than ours do. Written from the layout and not
verified against the real file.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.errors import ModelError
from sdr2hdr.models.hdrvdiff.latent import Decoded, LatentAutoencoder

SCALING = 0.18215
"""What brings latents to about unit variance."""


class _Resnet(nn.Module):
    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = (
            nn.GroupNorm(groups, channels, eps=1e-6),
            nn.Conv2d(channels, out, 3, padding=1),
        )
        self.norm2, self.conv2 = (
            nn.GroupNorm(groups, out, eps=1e-6),
            nn.Conv2d(out, out, 3, padding=1),
        )
        self.conv_shortcut = nn.Conv2d(channels, out, 1) if channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        out: Tensor = (x if self.conv_shortcut is None else self.conv_shortcut(x)) + y
        return out


class _Attention(nn.Module):
    """Plain attention of one head over all positions; only in the middle."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        read = F.scaled_dot_product_attention(
            *(part(tokens)[:, None] for part in (self.to_q, self.to_k, self.to_v))
        )
        return x + self.to_out[0](read[:, 0]).transpose(1, 2).reshape(b, c, h, w)  # type: ignore[no-any-return]


class _Resampler(nn.Module):
    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up, self.conv = (
            up,
            nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1 if up else 0),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0) if self.up else F.pad(x, (0, 1, 0, 1))
        out: Tensor = self.conv(x)
        return out


class _Block(nn.Module):
    """Residual blocks, then a change of size unless it is the last."""

    def __init__(
        self, channels: int, out: int, count: int, groups: int, *, up: bool, last: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            _Resnet(channels if i == 0 else out, out, groups) for i in range(count)
        )
        self.resamplers: list[nn.Module] = [] if last else [_Resampler(out, up)]
        if not last:  # under the published name
            self.add_module("upsamplers" if up else "downsamplers", nn.ModuleList(self.resamplers))

    def forward(self, x: Tensor) -> Tensor:
        for part in (*self.resnets, *self.resamplers):
            x = part(x)
        return x


class _Middle(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Resnet(channels, channels, groups) for _ in range(2))
        self.attentions = nn.ModuleList([_Attention(channels, groups)])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x)))
        return out


class _Half(nn.Module):
    """The encoder, or the decoder; the decoder's blocks are one longer, and run from the smallest size."""

    def __init__(
        self, enter: int, leave: int, channels: Sequence[int], layers: int, groups: int, *, up: bool
    ) -> None:
        super().__init__()
        sizes = list(reversed(channels)) if up else list(channels)
        self.up, before = up, [sizes[0], *sizes[:-1]]
        self.conv_in = nn.Conv2d(enter, sizes[0], 3, padding=1)
        self.mid_block = _Middle(channels[-1], groups)
        blocks = nn.ModuleList(
            _Block(a, b, layers + up, groups, up=up, last=i == len(sizes) - 1)
            for i, (a, b) in enumerate(zip(before, sizes, strict=True))
        )
        if up:
            self.up_blocks = blocks
        else:
            self.down_blocks = blocks
        self.conv_norm_out, self.conv_out = (
            nn.GroupNorm(groups, sizes[-1], eps=1e-6),
            nn.Conv2d(sizes[-1], leave, 3, padding=1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = self.conv_in(x), []
        if self.up:
            x = self.mid_block(x)
            features.append(x)
        for block in self.up_blocks if self.up else self.down_blocks:
            x = block(x)
            features.append(x)
        if not self.up:
            x = self.mid_block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x))), features


class StableAutoencoder(LatentAutoencoder):
    """Stable Diffusion's, with scaled latents."""

    def __init__(
        self,
        widths: Sequence[int] = (128, 256, 512, 512),
        layers: int = 2,
        groups: int = 32,
        latent: int = 4,
    ) -> None:
        super().__init__()
        self.latent = latent
        self.channels = (widths[2], widths[3], widths[3])
        self.encoder = _Half(3, 2 * latent, widths, layers, groups, up=False)
        self.decoder = _Half(latent, 3, widths, layers, groups, up=True)
        self.quant_conv, self.post_quant_conv = (
            nn.Conv2d(2 * latent, 2 * latent, 1),
            nn.Conv2d(latent, latent, 1),
        )

    def moments(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latent's distribution, not scaled, ``B,latent,H/8,W/8`` each."""
        both = self.quant_conv(self.encoder(2 * picture.to(self.quant_conv.weight.dtype) - 1)[0])
        mean, log_variance = both.split(self.latent, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def encode(self, picture: Tensor) -> Tensor:
        """The mean of the latent's distribution, scaled."""
        return SCALING * self.moments(picture)[0]

    def decode(self, z: Tensor) -> Decoded:
        picture, features = self.decoder(
            self.post_quant_conv(z.to(self.quant_conv.weight.dtype) / SCALING)
        )
        return Decoded(picture.float() * 0.5 + 0.5, (features[0], features[1], features[2]))


def published_tensors(
    tensors: Mapping[str, Tensor], source: str, layout: StableAutoencoder | None = None
) -> dict[str, Tensor]:
    """The tensors of a published file under the names of :class:`StableAutoencoder`, float32.

    ``layout`` is another size of it. Raises ModelError, naming ``source``, if one is missing or of another shape.
    """
    if layout is None:
        with torch.device("meta"):  # shapes without memory
            layout = StableAutoencoder()
    renamed = _renamed(tensors)
    wanted = layout.state_dict()
    for key, tensor in wanted.items():
        if key not in renamed or renamed[key].shape != tensor.shape:
            raise ModelError(
                f"{source}: {key} is missing or of another shape; this is another network's file."
            )
    return {key: renamed[key].float() for key in wanted}


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of today's layout. The first files called the parts of attention query, key, value and
    proj_attn, and gave their weights four dimensions."""
    renamed = {}
    for key, tensor in tensors.items():
        name = key
        if ".attentions." in key:
            for old, new in (
                ("query", "to_q"),
                ("key", "to_k"),
                ("value", "to_v"),
                ("proj_attn", "to_out.0"),
            ):
                name = name.replace(f".{old}.", f".{new}.")
        flat = ".attentions." in key and tensor.ndim == 4
        renamed[name] = tensor.reshape(tensor.shape[:2]) if flat else tensor
    return renamed
