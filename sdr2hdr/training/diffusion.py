"""The losses of HDR-V-Diff's stages; each stage trains its own part of the network and freezes the rest.

``autoencoder``: a small latent for tone-mapped HDR and for LDR pictures. ``diffusion``: eq. 5. ``temporal``: TCAM and its
decoder, eq. 7. ``fusion``: the layers that let the prior in, again eq. 7. A share of the batches is ordinary SDR; the others
have simulated exposures. ``printed_diffusion.py`` has the losses of the published form.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdr2hdr.color.mulaw import mu_law
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.data import exposures
from sdr2hdr.data.store import Batch
from sdr2hdr.errors import InputError
from sdr2hdr.models.hdrvdiff.denoiser import TIMES, noisy
from sdr2hdr.models.hdrvdiff.latent import LatentAutoencoder
from sdr2hdr.models.hdrvdiff.network import HDRVDiff
from sdr2hdr.models.hdrvdiff.printed import PrintedHDRVDiff
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.training.losses import perceptual_loss
from sdr2hdr.training.printed_diffusion import printed_loss
from sdr2hdr.training.recipe import Recipe, Stage
from sdr2hdr.training.task import Features, Step, Task

FUSION_STEPS = 4
"""DDIM's steps while the fusion is trained."""

_FLOOR = 1e-5
"""Squared errors far below this (50 dB) do not count."""


@dataclass(frozen=True)
class DiffusionTask(Task[HDRVDiff | PrintedHDRVDiff]):
    """A stage that trains the parameters that begin with one of ``parts``, but none that begin with one of ``without``."""

    name: str
    parts: tuple[str, ...]
    without: tuple[str, ...] = ()

    def undamaged(self, recipe: Recipe, spec: ModelSpec) -> bool:
        return True

    def trains(self, parameter: str) -> bool:
        return parameter.startswith(self.parts) and not parameter.startswith(self.without)

    def check(self, recipe: Recipe, stage: Stage, spec: ModelSpec) -> None:
        super().check(recipe, stage, spec)
        if recipe.sdr_share and not spec.look:
            raise InputError(
                f"Recipe {recipe.name} trains the published form of {recipe.model}, which knows no ordinary SDR; "
                "give sdr_share = 0."
            )

    def loss(self, net: HDRVDiff | PrintedHDRVDiff, batch: Batch, step: Step) -> Tensor:
        if isinstance(net, PrintedHDRVDiff):
            return printed_loss(net, self.name, batch, step)
        recipe = step.recipe
        return loss(
            net,
            self.name,
            batch,
            step.generator,
            step.features,
            recipe.perceptual_weight,
            recipe.sdr_share,
            recipe.moving_share,
            recipe.cycles or exposures.CYCLES,
        )


FUSION = ("temporal.decoder.zica.", "temporal.decoder.prior_", "reconstruction.")
DIFFUSION_TASKS = (
    DiffusionTask("autoencoder", ("autoencoder.",)),
    DiffusionTask("diffusion", ("denoiser.",)),
    DiffusionTask("temporal", ("temporal.",), without=FUSION),
    DiffusionTask("fusion", FUSION),
)


def loss(
    net: HDRVDiff,
    task: str,
    batch: Batch,
    generator: torch.Generator,
    features: Features | None = None,
    weight: float = 0.0,
    sdr_share: float = 0.4,
    moving_share: float = exposures.MOVING,
    cycles: exposures.Cycles = exposures.CYCLES,
) -> Tensor:
    """The loss of a stage of our own form; ``features`` and their ``weight`` are the perceptual part of eq. 7, the shares those
    of ordinary SDR and of moving objects; the others have exposures of one of the ``cycles``."""
    frames, truth, clean, thumbs = batch.sdr, batch.hdr, batch.clean, batch.thumbs
    graded = bool(torch.rand((), generator=generator) < sdr_share)
    times: Tensor | None = None
    if not graded:
        shot = exposures.drawn(truth, generator, moving_share, cycles)
        frames, times, truth = shot.frames, shot.exposures, shot.truth
    if task == "autoencoder":
        return _reconstruction(net.autoencoder, frames[:, 0], truth[:, 0], generator)
    middle = frames.shape[1] // 2
    if task == "diffusion":
        told = frames.new_zeros(len(frames)) if times is None else times[:, middle]
        return _denoising(net, frames[:, middle], truth[:, middle], told, generator)
    found, wanted, look = [], [], None
    for t in (middle, middle + 1):
        if graded:
            with torch.no_grad():
                look = net.read_look(thumbs[:, middle], batch.brightness)
        aligned = net.aligned(frames, t, times, look)
        prior = None
        if task == "fusion":
            told = frames.new_zeros(len(frames)) if times is None else times[:, t]
            z = torch.randn(
                (1, net.autoencoder.latent, *(n // 8 for n in frames.shape[-2:])),
                generator=generator,
            )
            z = z.to(frames.device).expand(len(frames), -1, -1, -1)
            with torch.no_grad():
                prior = net.prior(frames[:, t], told, z, FUSION_STEPS)
        found.append(net.toned(aligned, net.temporal(aligned, prior), graded=graded))
        wanted.append(
            _tone(truth[:, t])
            if look is None
            else _told(net, frames[:, t], clean[:, t], truth[:, t], look)
        )
    return _reconstructed(torch.stack(found, 1), torch.stack(wanted, 1), features, weight)


def _tone(codes: Tensor) -> Tensor:
    return mu_law(pq_eotf(codes))


def _reconstruction(
    net: LatentAutoencoder, seen: Tensor, truth: Tensor, generator: torch.Generator
) -> Tensor:
    """L1 of pictures and of their detail, for tone-mapped HDR and LDR, with latents kept at mean 0 and variance 1."""
    pictures = torch.cat([_tone(truth).clamp(0, 1), seen])
    z = net.encode(pictures)
    flat = z.float().transpose(0, 1).flatten(1)
    even = flat.mean(1).square().mean() + (flat.std(1) - 1).square().mean()
    shaken = z + 0.05 * torch.randn(z.shape, generator=generator).to(z)
    error = net.decode(shaken).picture - pictures
    down, across = (error.diff(dim=d).abs().mean() for d in (-2, -1))
    return error.abs().mean() + 0.5 * (down + across) + 0.1 * even


def _denoising(
    net: HDRVDiff, seen: Tensor, truth: Tensor, told: Tensor, generator: torch.Generator
) -> Tensor:
    """Eq. 5 for v instead of the noise: the same network, with a loss that does not vanish at pure noise."""
    with torch.no_grad():
        z, condition = (
            net.autoencoder.encode(_tone(truth).clamp(0, 1)).float(),
            net.autoencoder.encode(seen),
        )
    noise = torch.randn(z.shape, generator=generator).to(z.device)
    time = (torch.rand(len(z), generator=generator) * TIMES).to(z.device)
    mixed, v = noisy(z, noise, time)
    found: Tensor = net.denoiser(mixed, condition, told.to(z.device), time)
    return (found - v).square().mean()


@torch.no_grad()
def _told(net: HDRVDiff, seen: Tensor, clean: Tensor, truth: Tensor, look: Tensor) -> Tensor:
    """What ordinary SDR ``B,3,H,W`` can tell, toned: the master where it is clipped, elsewhere what the look makes of it
    before it was compressed. Elsewhere the master's brightness cannot be known, and the network would learn nothing but a
    guess of it."""
    clipped = ((seen.amax(1, keepdim=True) - 0.92) / 0.06).clamp(0, 1)
    return clipped * _tone(truth) + (1 - clipped) * _tone(net.base_codes(clean, look))


def _reconstructed(
    toned: Tensor, truth: Tensor, features: Features | None, weight: float
) -> Tensor:
    """Eq. 7 on ``B,2,3,H,W`` in the mu-law domain: the error, that of detail, that of the change between frames, the
    distance in features. The error is squared, because L1 would weigh rounding noise like ghosts. The logarithm per picture
    (the mean of PSNRs) stops one bad picture from dominating."""
    error = toned - truth
    change = error[:, 1] - error[:, 0]
    total = (error.square().mean((-3, -2, -1)) / _FLOOR).log1p().mean() + 0.25 * (
        detail(error) / _FLOOR
    ).log1p().mean()
    total = total + 0.1 * (change.square().mean((-3, -2, -1)) / _FLOOR).log1p().mean()
    if features is not None and weight:
        total = total + weight * perceptual_loss(features, toned, truth)
    return total


def detail(error: Tensor) -> Tensor:
    """Mean squares of the differences between neighbouring pixels of each error ``...,3,H,W``: blur and ringing."""
    down, across = (error.diff(dim=d).square().mean((-3, -2, -1)) for d in (-2, -1))
    return 0.5 * (down + across)
