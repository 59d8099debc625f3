"""HDR-V-Diff (Guan et al., arXiv 2406.08204): a temporal network on aligned frames, with a diffusion prior.

Frames of alternating exposures are aligned and merged; the merge is corrected by the aligned frames and by the prior of HDR
pictures. Ordinary SDR has no exposures: its base is the look reader's mapping instead. No code was published;
docs/models/hdrvdiff.md lists what the paper says and leaves open.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.mulaw import mu_law, mu_law_inverse
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf
from sdr2hdr.models.base.corrections import guarded
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import VECTOR
from sdr2hdr.models.hdrvdiff.denoiser import Denoiser, ddim
from sdr2hdr.models.hdrvdiff.exposure import at_exposure, linear, merge, sureness, trust
from sdr2hdr.models.hdrvdiff.latent import CELL, Autoencoder, Decoded, starting_noise
from sdr2hdr.models.hdrvdiff.matching import match, warp
from sdr2hdr.models.hdrvdiff.printed import PrintedHDRVDiff
from sdr2hdr.models.hdrvdiff.restormer import ZiCA
from sdr2hdr.models.hdrvdiff.stable import published_tensors
from sdr2hdr.models.hdrvdiff.tcam import Aligned, Temporal
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.parts.blocks import keep_variance, zero
from sdr2hdr.models.spec import WHOLE, ModelSpec, State

STEPS = 10

HDRVDIFF_SPEC = ModelSpec(
    name="hdrvdiff",
    title="Diffusion prior; also for footage of alternating exposures",
    paper="Guan et al., Diffusion-promoted HDR Video Reconstruction (arXiv 2406.08204)",
    past=3,
    future=3,
    block=8,
    multiple=64,
    stateful=True,
    thumb=64,
    look=VECTOR,
    exposures=True,
    noise=4,
    noise_cell=CELL,
    tile=768,
    overlap=192,
    margin=64,
    tolerance=0.02,
    precisions=("float32", "bfloat16"),
    bytes_per_pixel=1500,
    tasks=("mapping", "autoencoder", "diffusion", "temporal", "fusion"),
    config={"steps": STEPS},
    published={"steps": STEPS, "base": "none"},
)

_ALIKE = 0.08
"""The difference of codes at which a moved pixel counts for a third."""


class HDRVDiff(OnBase):
    """The network. Sides are multiples of 8. ``steps`` are those of DDIM; with 0 the temporal branch answers alone.

    For the paper's table 3: ``embedding`` tells the prior exposures, and ``integration`` lets it in by ``zica``, by the same
    ``attention`` not started with zeros, or by ``concat``. With the base ``none`` the network is
    :class:`~sdr2hdr.models.hdrvdiff.printed.PrintedHDRVDiff` instead.

    It shares the look, the steadying and the guard of greys with the other networks, but not their bound: it corrects its base
    in the mu-law domain, and the light that clipped areas lack, which its prior is to give, is far more than damage.
    """

    faint = 3 / 1023

    def __init__(
        self,
        steps: int = STEPS,
        *,
        embedding: bool = True,
        integration: str = "zica",
        base: str = "look",
    ) -> None:
        super().__init__(base)
        if self.look is None:
            raise ValueError("base is told, look or none")
        if steps < 0 or integration not in ("zica", "attention", "concat"):
            raise ValueError("steps is 0 or more, integration is zica, attention or concat")
        self.steps, self.integration = steps, integration
        self.autoencoder = Autoencoder()
        self.denoiser = Denoiser(self.autoencoder.latent, (64, 96), embedding=embedding)
        a, b, c = self.autoencoder.channels
        self.temporal = Temporal((24, 40, 64), (c, b, a), integration == "concat")
        self.initialise()

    @classmethod
    def form(cls, config: Mapping[str, Any]) -> type[Model]:
        return PrintedHDRVDiff if config.get("base") == "none" else cls

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        if cls.form(spec.config) is cls:
            return super().as_configured(spec)
        return replace(
            spec,
            look=0,
            thumb=0,
            greys=False,
            stateful=False,
            tile=WHOLE,
            bytes_per_pixel=12000,
            tasks=("autoencoder", "diffusion", "temporal", "fusion"),
        )

    def initialise(self) -> None:
        """The result equals the base, and ZiCA adds nothing (other integrations may)."""
        keep_variance(self.own_modules())
        decoder = self.temporal.decoder
        zero(decoder.leave, decoder.prior_leave, self.denoiser.leave, self.temporal.tcam.offset)
        if self.integration == "zica":
            zero(*(cast(ZiCA, z).zero for z in decoder.zica))

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        """:meth:`forward`; the ``noise`` that diffusion starts with is by default that of the picture's upper left corner."""
        frames, exposures = window.frames, window.exposures
        noise = starting_noise(window, self.autoencoder.latent)
        out = []
        for t in window.inner:
            look = None
            if exposures is None:
                look, state = self.scene_look(window, t, state)
            aligned = self.aligned(frames, t, exposures, look)
            prior = None
            if self.steps:
                exposure = frames.new_zeros(len(frames)) if exposures is None else exposures[:, t]
                prior = self.prior(frames[:, t], exposure, noise, self.steps)
            added = self.temporal(aligned, prior)
            out.append(
                pq_inverse_eotf(
                    mu_law_inverse(
                        self.toned(aligned, added, graded=exposures is None, qp=window.qp)
                    )
                )
            )
        return torch.stack(out, dim=1), state

    def aligned(
        self, frames: Tensor, t: int, exposures: Tensor | None, look: Tensor | None
    ) -> Aligned:
        """Frame ``t`` of ``B,T,3,H,W`` and its neighbours, aligned to it: two each way, or three if more than two exposures
        alternate. The base is the look's mapping if there are no exposures, else the weighted merge."""
        first, last = max(0, t - 3), min(frames.shape[1], t + 4)
        reach = 2
        if exposures is not None and len(set(exposures[0, first:last].tolist())) > 2:
            reach = 3
        at = frames.new_ones(frames.shape[:2]) if exposures is None else exposures.to(frames.device)
        at = at.float()
        near = [i for i in range(max(0, t - reach), min(frames.shape[1], t + reach + 1)) if i != t]
        reference = frames[:, t].float()
        moved, alike = [reference], [torch.full_like(reference[:, :1], 4.0)]
        with torch.no_grad():
            for i in near:
                pixels, agree = align(reference, frames[:, i].float(), at[:, t], at[:, i])
                moved.append(pixels)
                alike.append(agree)
            every, times = torch.stack(moved, 1), at[:, [t, *near]]
            light = linear(every, times)
            if look is not None:
                base = mu_law(pq_eotf(self.base_codes(self.base_frame(frames, t), look)))
            else:
                base = mu_law(
                    convert(merge(every, times, torch.stack(alike, 1)), "bt709", "bt2020")
                )
            trusted = sureness((trust(every) * torch.stack(alike, 1)).sum(1))
        six = torch.cat([every, light], 2)
        return Aligned(six[:, 0], tuple(six[:, 1:].unbind(1)), base, trusted)

    def prior(self, frame: Tensor, exposure: Tensor, noise: Tensor, steps: int) -> Decoded:
        """HDR-LDM: a likely HDR picture for a frame ``B,3,H,W`` of exposures ``B`` (0: it is graded)."""
        seen, exposure = self.autoencoder.encode(frame), exposure.to(frame.device)
        z = ddim(lambda z, time: self.denoiser(z, seen, exposure, time), noise.float(), steps)
        return self.autoencoder.decode(z)

    def toned(
        self, aligned: Aligned, added: Tensor, *, graded: bool, qp: Tensor | None = None
    ) -> Tensor:
        """The result ``B,3,H,W`` in the mu-law domain: a base and its correction. A graded picture's greys stay grey, its black
        stays black, and what is intact nearly as it is."""
        if not graded:
            return aligned.base + added
        change = guarded(added, aligned.reference[:, :3], CELL)
        return aligned.base + self.restrained(change, qp)

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """Stable Diffusion's autoencoder, which the published form contains."""
        return {f"autoencoder.{key}": t for key, t in published_tensors(tensors, source).items()}


def align(
    reference: Tensor, frame: Tensor, exposure: Tensor, other: Tensor
) -> tuple[Tensor, Tensor]:
    """A frame ``B,3,H,W`` moved onto the reference, and how far to believe each pixel, ``B,1,H,W``: by how alike the means of
    5x5 pixels are, both as the longer of the two exposures would show them."""
    longer = torch.maximum(exposure, other)
    a, b = at_exposure(reference, exposure, longer), at_exposure(frame, other, longer)
    flow = match(a.mean(1, keepdim=True), b.mean(1, keepdim=True))
    moved = warp(frame, flow)
    away = F.pad(at_exposure(moved, other, longer) - a, (2, 2, 2, 2), mode="replicate")
    away = F.avg_pool2d(away, 5, 1).abs().amax(1, keepdim=True)
    return moved, torch.exp(-(away / _ALIKE).square()) + 1e-3
