"""The losses of HDR-V-Diff's stages as printed: eq. 5 for the prior, eq. 7 for the temporal branch and for reconstruction.

The paper takes the autoencoder as it is published. A stage of the task ``autoencoder`` trains one in its stead, or further.
"""

import torch
from torch import Tensor

from sdr2hdr.color.mulaw import mu_law
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.data.exposures import CYCLES, drawn
from sdr2hdr.data.store import Batch
from sdr2hdr.models.hdrvdiff.latent import CELL
from sdr2hdr.models.hdrvdiff.printed import PrintedHDRVDiff, as_printed
from sdr2hdr.models.hdrvdiff.stable import SCALING
from sdr2hdr.models.hdrvdiff.unet import TIMES, noised
from sdr2hdr.training.losses import perceptual_loss
from sdr2hdr.training.task import Step

TEMPORAL = 0.1
"""Lambda_2 of eq. 7; lambda_3 is the recipe's ``perceptual_weight``."""


DIVERGENCE = 1e-6
"""The weight of the divergence in Rombach's published options."""


def printed_loss(net: PrintedHDRVDiff, task: str, batch: Batch, step: Step) -> Tensor:
    """The loss of a stage: ``autoencoder``, ``diffusion``, ``temporal`` or ``fusion``."""
    generator, recipe = step.generator, step.recipe
    shot = drawn(batch.hdr, generator, recipe.moving_share, recipe.cycles or CYCLES)
    frames, times = shot.frames, shot.exposures
    middle = frames.shape[1] // 2
    pictures = mu_law(convert(pq_eotf(shot.truth), "bt2020", "bt709"))
    if task == "autoencoder":
        seen = torch.cat([pictures[:, middle].clamp(0, 1), frames[:, middle]])
        return autoencoding(net, seen, generator)
    if task == "diffusion":
        return denoising(net, frames[:, middle], pictures[:, middle], times[:, middle], generator)
    noise = torch.randn(
        (1, net.autoencoder.latent, *(n // CELL for n in frames.shape[-2:])), generator=generator
    )
    noise = noise.to(frames.device).expand(len(frames), -1, -1, -1)
    pair = (middle, middle + 1)
    if task == "temporal":
        found = [net.aligned(frames, t, times)[0] for t in pair]
    else:
        found = [net.toned(frames, t, times, noise) for t in pair]
    return reconstructed(torch.stack(found, dim=1), pictures[:, middle : middle + 2], step)


def autoencoding(net: PrintedHDRVDiff, pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Rombach's loss of an autoencoder, for each value of ``pictures B,3,H,W``: L1 of what a latent drawn from its distribution
    becomes, and the distribution's divergence from a normal one. It has neither LPIPS nor a discriminator."""
    mean, log_variance = (x.float() for x in net.autoencoder.moments(pictures))
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    drawn_latent = mean + noise * (0.5 * log_variance).exp()
    error = net.autoencoder.decode(SCALING * drawn_latent).picture - pictures
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    return error.abs().mean() + DIVERGENCE * divergence.sum() / pictures.numel()


def denoising(
    net: PrintedHDRVDiff, seen: Tensor, picture: Tensor, times: Tensor, generator: torch.Generator
) -> Tensor:
    """Eq. 5: the squared error of the noise found in the latent of a tone-mapped HDR ``picture B,3,H,W``, at drawn times."""
    with torch.no_grad():
        z, condition = net.autoencoder.encode(picture.clamp(0, 1)), net.autoencoder.encode(seen)
    noise = torch.randn(z.shape, generator=generator).to(z.device)
    time = torch.randint(TIMES, (len(z),), generator=generator).to(z.device)
    mixed = noised(z.float(), noise, time)
    found: Tensor = net.denoiser(mixed, condition, as_printed(times).to(z.device), time)
    return (found - noise).square().mean()


def reconstructed(found: Tensor, truth: Tensor, step: Step) -> Tensor:
    """Eq. 7 on ``B,2,3,H,W`` in the mu-law domain: L1, that of the change between the frames, and that of features.

    The temporal loss is that of the cited LAN-HDR's code (Chung and Cho 2023), which compares the changes, too.
    """
    error = found - truth
    loss = error.abs().mean() + TEMPORAL * (error[:, 1] - error[:, 0]).abs().mean()
    if step.features is not None:
        loss = loss + step.recipe.perceptual_weight * perceptual_loss(step.features, found, truth)
    return loss
