"""HDR-V-Diff as its paper prints it: an HDR frame out of a decoder, with a prior in Stable Diffusion's latents.

It is made for frames of alternating exposures; others count as frames of one exposure. Everything in it has BT.709 primaries, the
camera's; the result is brought to BT.2020 at the end.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from sdr2hdr.color.mulaw import MU_PEAK, mu_law_inverse
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import WHITE, pq_inverse_eotf
from sdr2hdr.models.hdrvdiff.exposure import six_channels
from sdr2hdr.models.hdrvdiff.latent import Decoded, starting_noise
from sdr2hdr.models.hdrvdiff.printed_tcam import PrintedTemporal, PrintedZiCA, Reconstruction
from sdr2hdr.models.hdrvdiff.restormer import Joined
from sdr2hdr.models.hdrvdiff.stable import StableAutoencoder
from sdr2hdr.models.hdrvdiff.tcam import Features
from sdr2hdr.models.hdrvdiff.unet import TIMES, UNet, sample
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.parts.blocks import zero
from sdr2hdr.models.spec import State


def as_printed(exposures: Tensor) -> Tensor:
    """Exposures as the paper counts them. One of 1 is clipped at the largest light, here 1000 nits, so that the second half of
    eq. 1 and the tone-mapped frames share a scale; one of ours is clipped at SDR white."""
    return exposures.float() * (MU_PEAK / WHITE)


class PrintedHDRVDiff(Model):
    """The network, without a ``base``. Sides are multiples of 8. ``steps`` are those of DDIM; with 0 the temporal branch answers
    alone.

    ``embedding`` tells the prior exposures, and ``integration`` lets it in by ``zica``, by the same ``attention`` not started
    with zeros, or by ``concat`` (Table 3). The other numbers are sizes: ``channels`` of the temporal branch at 1/2, 1/4 and
    1/8, ``unet`` of the denoiser's largest level, whose ``multipliers`` give its levels, ``widths`` of the autoencoder,
    ``groups`` of all group normalisations.
    """

    def __init__(
        self,
        steps: int = 10,
        *,
        base: str = "none",
        embedding: bool = True,
        integration: str = "zica",
        channels: Sequence[int] = (64, 96, 128),
        unet: int = 224,
        multipliers: Sequence[int] = (1, 2, 3, 4),
        widths: Sequence[int] = (128, 256, 512, 512),
        groups: int = 32,
    ) -> None:
        super().__init__()
        if base != "none" or not 0 <= steps <= TIMES:
            raise ValueError(f"base is none, steps is 0 to {TIMES}")
        if integration not in ("zica", "attention", "concat"):
            raise ValueError("integration is zica, attention or concat")
        self.steps, self.integration = steps, integration
        self.autoencoder = StableAutoencoder(widths, groups=groups)
        self.denoiser = UNet(
            self.autoencoder.latent, unet, multipliers, groups=groups, embedding=embedding
        )
        a, b, c = channels
        self.temporal = PrintedTemporal((a, b, c))
        joins: list[nn.Module] = [
            Joined(own, prior)
            if integration == "concat"
            else PrintedZiCA(own, prior, min(groups, own))
            for own, prior in zip((c, b, a), self.autoencoder.channels[::-1], strict=True)
        ]
        self.reconstruction = Reconstruction((a, b, c), joins)
        self.initialise()

    def initialise(self) -> None:
        """As PyTorch, but for ZiCA's zeros (eq. 6) and the denoiser's last layer (Rombach's)."""
        zero(self.denoiser.last)
        for join in self.reconstruction.integrate:
            if isinstance(join, PrintedZiCA) and self.integration == "zica":
                zero(join.zero)

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        frames, exposures = window.frames, window.exposures
        noise = starting_noise(window, self.autoencoder.latent)
        times = frames.new_ones(frames.shape[:2]) if exposures is None else exposures
        out = [self.toned(frames, t, times, noise) for t in window.inner]
        nits = mu_law_inverse(torch.stack(out, dim=1))
        return pq_inverse_eotf(convert(nits, "bt709", "bt2020").clamp_min(0.0)), state

    def toned(self, frames: Tensor, t: int, times: Tensor, noise: Tensor) -> Tensor:
        """Frame ``t`` of ``B,T,3,H,W`` with exposures ``B,T`` in the mu-law domain, ``B,3,H,W``; the prior gets no gradient."""
        picture, features = self.aligned(frames, t, times)
        if not self.steps:
            return picture
        with torch.no_grad():
            prior = self.prior(frames[:, t], times[:, t], noise)
        return cast(Tensor, self.reconstruction(features, prior.features))

    def aligned(self, frames: Tensor, t: int, times: Tensor) -> tuple[Tensor, Features]:
        """What the temporal branch alone makes of frame ``t``: two neighbours each way, or three if three exposures alternate."""
        first, last = max(0, t - 3), min(frames.shape[1], t + 4)
        reach = 3 if len(set(times[0, first:last].tolist())) > 2 else 2
        near = [i for i in range(max(0, t - reach), min(frames.shape[1], t + reach + 1)) if i != t]
        six = six_channels(frames, as_printed(times).to(frames.device))
        picture, features = self.temporal(six[:, t], [six[:, i] for i in near])
        return picture, features

    def prior(self, frame: Tensor, exposure: Tensor, noise: Tensor) -> Decoded:
        """HDR-LDM: a likely HDR picture, and its features, of LDR frames ``B,3,H,W`` of exposures ``B``."""
        seen, exposure = self.autoencoder.encode(frame), as_printed(exposure).to(frame.device)
        z = sample(
            lambda z, time: self.denoiser(z, seen, exposure, time), noise.float(), self.steps
        )
        return self.autoencoder.decode(z)
