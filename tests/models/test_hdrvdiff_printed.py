"""HDR-V-Diff as printed: each part held to its definition or to what Rombach et al. count, the whole to what it must keep."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models import registry
from sdr2hdr.models.hdrvdiff.maxvit import InvertedBottleneck, PartitionAttention
from sdr2hdr.models.hdrvdiff.printed import PrintedHDRVDiff
from sdr2hdr.models.hdrvdiff.printed_tcam import FeatureDeform, PatchMatch
from sdr2hdr.models.hdrvdiff.restormer import channel_attention
from sdr2hdr.models.hdrvdiff.unet import UNet, exposure_embedding, kept, noised, sample
from sdr2hdr.models.parts.precision import to_precision
from sdr2hdr.training.printed_diffusion import autoencoding, denoising

SMALL = {
    "form": "published",
    "unet": 16,
    "widths": [8, 8, 16, 16],
    "groups": 4,
    "channels": [16, 16, 16],
    "steps": 2,
}
ALTERNATING = torch.tensor([[1.0, 0.25, 1.0, 0.25, 1.0]])


def small(**options: object) -> PrintedHDRVDiff:
    """A network whose zeros are none, so that everything reaches the result."""
    torch.manual_seed(0)
    model = registry.build("hdrvdiff", {**SMALL, **options})
    assert isinstance(model, PrintedHDRVDiff)
    for p in model.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.02)
    return model


def test_the_whole_form_is_stable_diffusions_autoencoder_with_a_network_around_it() -> None:
    with torch.device("meta"):
        model = registry.build("hdrvdiff", "published")
    assert isinstance(model, PrintedHDRVDiff)
    # as the diffusers library counts AutoencoderKL of Stable Diffusion 1
    assert sum(p.numel() for p in model.autoencoder.parameters()) == 83_653_863
    spec = registry.spec("hdrvdiff", "published")
    assert (spec.look, spec.thumb, spec.exposures, spec.noise) == (0, 0, True, 4)
    assert spec.tasks == ("autoencoder", "diffusion", "temporal", "fusion")
    assert registry.configuration("hdrvdiff", "published")["steps"] == 10


def test_the_denoiser_is_rombachs_but_for_attention_and_exposure() -> None:
    """LDM-4 of faces has 274,056,163 parameters, in latents of three channels and without a condition."""
    with torch.device("meta"):
        net = UNet(latent=3)
    shared = {k: p.numel() for k, p in net.named_parameters() if not k.startswith("exposure.")}
    own = sum(n for k, n in shared.items() if ".attention." not in k) - 9 * 3 * net.channels
    widths = [m.narrow.out_channels for m in net.modules() if isinstance(m, InvertedBottleneck)]
    plain = sum(2 * c + (c * 3 * c + 3 * c) + (c * c + c) for c in widths)
    assert own + plain == 274_056_163


def test_every_weight_of_the_published_form_learns() -> None:
    """At this size all levels have more than one position: attention to a single one has no gradient."""
    model, frames = small(steps=1), torch.rand(1, 3, 3, 128, 128)
    times = torch.tensor([[1.0, 0.25, 1.0]])
    z, generator = torch.rand(1, 4, 16, 16), torch.Generator().manual_seed(1)
    picture, _ = model.aligned(frames, 1, times)
    result = model.toned(frames, 1, times, z)
    loss = (result + picture).square().mean() + autoencoding(model, frames[:, 1], generator)
    loss = loss + denoising(model, frames[:, 1], frames[:, 1], times[:, 1], generator)
    loss.backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []
    # the half of the moments that is the variance learns too
    latent = model.autoencoder.latent
    moments = model.autoencoder.quant_conv.bias.grad
    assert moments is not None and bool(moments[latent:].all())


def test_frames_without_exposures_are_of_one() -> None:
    model, frames = small(), torch.rand(1, 5, 3, 64, 64)
    with torch.no_grad():
        even, same, told = (
            model(frames, {}, past=2, future=2, exposures=times)[0]
            for times in (None, torch.ones(1, 5), ALTERNATING)
        )
    assert torch.equal(even, same) and not torch.equal(even, told)
    assert told.shape == (1, 1, 3, 64, 64) and told.dtype == torch.float32


@pytest.mark.parametrize("embedding", [True, False])
def test_the_prior_is_told_the_exposure_or_not(embedding: bool) -> None:
    model, frame = small(steps=1, embedding=embedding), torch.rand(1, 3, 64, 64)
    noise = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        one, other = (model.prior(frame, torch.tensor([e]), noise).picture for e in (1.0, 0.25))
    assert torch.equal(one, other) != embedding


@pytest.mark.parametrize("integration", ["zica", "attention", "concat"])
def test_only_zica_starts_from_the_temporal_branch_alone(integration: str) -> None:
    torch.manual_seed(0)
    model = registry.build("hdrvdiff", {**SMALL, "integration": integration})
    assert isinstance(model, PrintedHDRVDiff)
    temporal, prior = torch.rand(1, 16, 8, 8), torch.rand(1, 16, 8, 8)
    joined = model.reconstruction.integrate[0](temporal, prior)
    assert torch.equal(joined, temporal) == (integration == "zica")


def test_eq_4_as_printed() -> None:
    found = exposure_embedding(torch.tensor([0.25]), 8)[0]
    for n in range(4):
        assert found[2 * n].item() == pytest.approx(math.sin(0.25 / 10000 ** (2 * n / 8)), abs=1e-6)
        cosine = math.cos(0.25 / 10000 ** ((2 * n + 1) / 8))
        assert found[2 * n + 1].item() == pytest.approx(cosine, abs=1e-6)


def test_noise_is_added_step_by_step_as_in_eq_2() -> None:
    beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    share, spread = 1.0, 0.0
    for b in beta[:300].tolist():
        share, spread = share * (1 - b) ** 0.5, spread * (1 - b) + b
    a = kept()[299].item()
    assert a**0.5 == pytest.approx(share, rel=1e-5)
    assert 1 - a == pytest.approx(spread, rel=1e-5)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_ddim_finds_the_latent_of_a_network_that_knows_it(steps: int) -> None:
    z, noise = torch.randn(2, 4, 6, 6), torch.randn(2, 4, 6, 6)

    def epsilon(mixed: Tensor, time: Tensor) -> Tensor:
        a = kept()[time][:, None, None, None]
        return (mixed - a.sqrt() * z) / (1 - a).sqrt()

    last = torch.full((2,), 1 + (steps - 1) * (1000 // steps))
    torch.testing.assert_close(
        sample(epsilon, noised(z, noise, last), steps), z, atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("grid", [False, True])
def test_partitions_are_blocks_of_neighbours_or_a_grid_over_everything(grid: bool) -> None:
    torch.manual_seed(1)
    layer, x = PartitionAttention(8, 4, 4, grid), torch.randn(1, 8, 12, 8)
    changed = x.clone()
    changed[..., 5, 3] = torch.randn(8)
    with torch.no_grad():
        moved = ((layer(changed) - layer(x)).abs().amax((0, 1)) > 1e-7).nonzero().tolist()
    down, across = ((2, 5, 8, 11), (1, 3, 5, 7)) if grid else ((4, 5, 6, 7), (0, 1, 2, 3))
    assert moved == [[y, z] for y in down for z in across]


def test_without_offsets_deformable_convolution_of_features_is_a_convolution() -> None:
    torch.manual_seed(2)
    layer, x = FeatureDeform(16, 8), torch.randn(1, 16, 6, 7)
    last = layer.seek[2]
    assert isinstance(last, nn.Conv2d) and isinstance(layer.join, nn.Conv2d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    with torch.no_grad():
        got = layer(x, torch.rand(1, 8, 6, 7))
        kernel = layer.join.weight.view(16, 9, 16).permute(0, 2, 1).reshape(16, 16, 3, 3)
        torch.testing.assert_close(got, F.conv2d(x, 0.5 * kernel, layer.join.bias, padding=1))


def test_patches_are_found_where_they_moved_to() -> None:
    torch.manual_seed(3)
    layer, reference = PatchMatch(8), torch.randn(1, 8, 20, 24)
    moved = reference.roll((2, -3), dims=(2, 3))
    with torch.no_grad():
        found = layer(reference, moved)
    inner = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(found[inner], reference[inner], atol=1e-2, rtol=1e-2)


def test_restormers_attention_is_over_the_whole_picture() -> None:
    torch.manual_seed(4)
    q, k, v = torch.randn(3, 1, 16, 5, 6)
    sharp = torch.tensor([1.0, 2.0])
    got = channel_attention(q, k, v, sharp, 0)
    for head in range(2):
        a, b, c = (x[0, 8 * head : 8 * head + 8].flatten(1) for x in (q, k, v))
        scores = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T * sharp[head]
        expected = (scores.softmax(1) @ c).view(8, 5, 6)
        torch.testing.assert_close(got[0, 8 * head : 8 * head + 8], expected)


def test_the_picture_leaves_in_float32() -> None:
    lower = to_precision(small(), torch.bfloat16)
    with torch.no_grad():
        codes, _ = lower(torch.rand(1, 3, 3, 64, 64), {})
    assert codes.dtype == torch.float32
    assert lower.reconstruction.decoder.leave.weight.dtype == torch.float32
