"""HDR-V-Diff: no code is published, so each part is held to its definition and the whole to what it must keep."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr import load_model
from sdr2hdr.color.mulaw import mu_law, mu_law_inverse
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import WHITE, pq_eotf
from sdr2hdr.data.exposures import shoot
from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.models.hdrvdiff.denoiser import TIMES, Attention, ddim, noisy, share, sinusoids
from sdr2hdr.models.hdrvdiff.exposure import at_exposure, linear, merge, trust
from sdr2hdr.models.hdrvdiff.latent import Autoencoder
from sdr2hdr.models.hdrvdiff.matching import match, warp
from sdr2hdr.models.hdrvdiff.network import HDRVDIFF_SPEC, HDRVDiff, align
from sdr2hdr.models.hdrvdiff.restormer import ZiCA, channel_attention
from sdr2hdr.models.inputs import field
from sdr2hdr.render import renderer as renderer_module
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.save import save_weights

CPU = torch.device("cpu")
THUMBS = torch.rand(1, 12, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def network(steps: int = 2, last: float = 0.02) -> HDRVDiff:
    """A network of which every layer does something."""
    torch.manual_seed(0)
    model = HDRVDiff(steps).eval()
    for name, m in model.named_modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)) and not name.startswith("look."):
            size = m.weight[0].numel() ** 0.5
            out = name.endswith(("decoder.leave", "prior_leave"))
            nn.init.normal_(m.weight, std=(last if out else 0.7) / size)
            nn.init.normal_(m.bias, std=0.01)
    return model


def texture(height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    """``1,3,H,W`` 0..1 with structure at several sizes."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        F.interpolate(
            torch.rand(1, 3, height // n, width // n, generator=generator),
            (height, width),
            mode="bicubic",
        )
        for n in (4, 8, 16)
    ]
    return (sum(parts) / 3).clamp(0, 1)


def test_the_mu_law_curve_is_its_formula_and_comes_back() -> None:
    nits = torch.tensor([0.0, 0.1, 10.0, 203.0, 1000.0, 4000.0])
    by_hand = [math.log(1 + 5000 * n / 1000) / math.log(5001) for n in nits.tolist()]
    assert mu_law(nits).tolist() == pytest.approx(by_hand, abs=1e-6)
    assert torch.allclose(mu_law_inverse(mu_law(nits)), nits, rtol=1e-4, atol=1e-4)


def test_the_second_half_of_the_input_is_equation_1() -> None:
    frames = torch.rand(1, 2, 3, 4, 4)
    light = linear(frames, torch.tensor([[1.0, 0.25]]))
    assert torch.allclose(light[:, 0], frames[:, 0] ** 2.2) and torch.allclose(
        light[:, 1], frames[:, 1] ** 2.2 * 4
    )


def test_the_merge_of_a_still_scene_is_its_light_as_far_as_an_exposure_reaches() -> None:
    nits = torch.linspace(1, 700, 64 * 64).view(1, 1, 1, 64, 64).expand(1, 5, 3, 64, 64)
    exposures = torch.tensor([[1, 0.25, 1, 0.25, 1]])
    frames = (
        (nits / WHITE * exposures[..., None, None, None]).clamp(0, 1) ** (1 / 2.2) * 255
    ).round() / 255
    error = (merge(frames, exposures) / nits[:, 0] - 1).abs()
    assert float(error.mean()) < 0.006 and float(error.max()) < 0.15
    assert float(trust(torch.ones(1, 3, 2, 2)).max()) == 0.0
    clipped = merge(torch.ones(1, 2, 3, 2, 2), torch.tensor([[1.0, 0.25]]))
    assert torch.allclose(
        clipped, torch.full_like(clipped, 4 * WHITE)
    )  # all clipped: the shortest says the most


def test_a_longer_exposure_brightens_and_clips() -> None:
    frame = torch.tensor([0.2, 0.9]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    seen = at_exposure(frame, torch.tensor([0.25]), torch.tensor([1.0]))
    assert seen[0, 0, 0].tolist() == pytest.approx([0.2 * 4 ** (1 / 2.2), 1.0])


@pytest.mark.parametrize("move", [(0, 0), (3, -5), (-11, 14)])
def test_patch_matching_finds_a_move(move: tuple[int, int]) -> None:
    picture = texture(128, 128).mean(1, keepdim=True)
    flow = match(picture, picture.roll(move, (2, 3)))
    inner = flow[..., 32:-32, 32:-32]
    assert (
        float((inner[:, 0] - move[0]).abs().median()) < 0.5
        and float((inner[:, 1] - move[1]).abs().median()) < 0.5
    )


def test_a_flat_picture_does_not_move() -> None:
    assert (
        float(match(torch.full((1, 1, 32, 32), 0.5), torch.full((1, 1, 32, 32), 0.5)).abs().max())
        == 0.0
    )


def test_warping_by_whole_pixels_takes_them_as_they_are() -> None:
    x, flow = torch.rand(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    flow[:, 0], flow[:, 1] = 2, -1
    assert torch.allclose(warp(x, flow)[..., :6, 1:], x[..., 2:, :7], atol=1e-5)


def test_what_does_not_fit_the_reference_is_hardly_believed() -> None:
    reference, other = texture(seed=1), texture(seed=1).roll(2, 3)
    other[..., 24:40, 24:40] = 1 - other[..., 24:40, 24:40].round()
    one = torch.ones(1)
    _, agree = align(reference, other, one, one)
    assert (
        float(agree[..., 28:36, 28:36].median())
        < 0.1
        < 0.7
        < float(agree[..., :16, 12:-12].median())
    )


def test_sinusoids_are_equation_4() -> None:
    found = sinusoids(torch.tensor([3.0]), 8)[0]
    rates = [3.0 / 10000 ** (2 * n / 8) for n in range(4)]
    assert found.tolist() == pytest.approx([*map(math.sin, rates), *map(math.cos, rates)], abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 7, 10])
def test_ddim_with_the_true_answer_gives_the_latent_back_in_any_number_of_steps(steps: int) -> None:
    z, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)

    def oracle(_mixed: Tensor, time: Tensor) -> Tensor:
        a, s = share(time)
        return a * noise - s * z

    assert torch.allclose(ddim(oracle, noise, steps), z, atol=1e-5)
    mixed, v = noisy(z, noise, torch.tensor([250.0, 250.0]))
    a, s = math.cos(math.pi / 8), math.sin(math.pi / 8)
    assert torch.allclose(a * mixed - s * v, z, atol=1e-5) and torch.allclose(
        s * mixed + a * v, noise, atol=1e-5
    )
    assert TIMES == 1000


@pytest.mark.parametrize("grid", [False, True])
def test_attention_in_blocks_and_grids_sees_just_these(grid: bool) -> None:
    torch.manual_seed(0)
    layer = Attention(8, 4, grid)
    x = torch.rand(1, 8, 16, 16, requires_grad=True)
    layer(x)[0, :, 5, 9].sum().backward()
    assert x.grad is not None
    seen = {(int(r), int(c)) for r, c in (x.grad[0].abs().sum(0) > 0).nonzero()}
    block = {(r, c) for r in range(4, 8) for c in range(8, 12)}
    assert seen == ({(r, c) for r in range(1, 8, 2) for c in range(9, 16, 2)} if grid else block)


def test_channel_attention_over_one_area_is_its_formula() -> None:
    q, k, v = (torch.randn(1, 8, 8, 8) for _ in range(3))
    sharpness = torch.tensor([2.0])
    found = channel_attention(q, k, v, sharpness, 8)
    a, b = (F.normalize(x.flatten(2), dim=-1) for x in (q, k))
    by_hand = torch.softmax(2 * a @ b.transpose(1, 2), -1) @ v.flatten(2)
    assert torch.allclose(found.flatten(2), by_hand, atol=1e-5)


def test_channel_attention_changes_smoothly_between_areas_and_tiles_agree() -> None:
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, 16, 64, 48) for _ in range(3))
    whole = channel_attention(q, k, v, torch.ones(2), 16)
    part = channel_attention(q[..., 16:, :], k[..., 16:, :], v[..., 16:, :], torch.ones(2), 16)
    assert torch.allclose(part[..., 16:, :], whole[..., 32:, :], atol=1e-5)
    ones = torch.ones(1, 8, 64, 48)  # the weights of a row add up to 1, blended too
    assert torch.allclose(
        channel_attention(q[:, :8], k[:, :8], ones, torch.ones(1), 16), ones, atol=1e-5
    )


def test_noise_is_normal_and_belongs_to_its_place() -> None:
    whole = field(4, (64, 96))
    assert torch.equal(field(4, (16, 32), (24, 40)), whole[..., 24:40, 40:72])
    assert abs(float(whole.mean())) < 0.03 and abs(float(whole.std()) - 1) < 0.02
    assert (
        abs(float((whole[..., 1:] * whole[..., :-1]).mean())) < 0.02
        and abs(float((whole[:, 0] * whole[:, 1]).mean())) < 0.04
    )
    assert not torch.equal(field(4, (8, 8), seed=1), whole[..., :8, :8])


def test_the_autoencoders_latent_is_an_eighth_and_comes_back_as_large_as_it_was() -> None:
    net = Autoencoder()
    z = net.encode(torch.rand(1, 3, 64, 128))
    decoded = net.decode(z)
    assert z.shape == (1, 4, 8, 16) and decoded.picture.shape == (1, 3, 64, 128)
    assert [f.shape[-1] for f in decoded.features] == [16, 32, 64]


def test_zica_begins_as_the_temporal_feature_itself() -> None:
    layer = ZiCA(16, 24, 8)
    nn.init.zeros_(layer.zero.weight)
    nn.init.zeros_(layer.zero.bias)
    feature = torch.randn(1, 16, 24, 24)
    assert torch.equal(layer(feature, torch.randn(1, 24, 24, 24)), feature)


@pytest.mark.parametrize("alternating", [False, True])
def test_at_initialisation_the_whole_is_exactly_the_temporal_branch(alternating: bool) -> None:
    model = network()
    model.initialise()
    nn.init.normal_(
        model.temporal.decoder.leave.weight, std=0.01
    )  # a temporal branch that has learnt something
    frames = torch.rand(1, 3, 3, 64, 64)
    exposures = torch.tensor([[1, 0.25, 1]]) if alternating else None
    results = []
    for steps in (0, 2):
        model.steps = steps
        with torch.inference_mode():
            results.append(model(frames, {}, thumbs=THUMBS[:, :3], exposures=exposures)[0])
    assert torch.equal(*results)
    nn.init.normal_(model.temporal.decoder.zica[0].zero.weight, std=0.05)
    with torch.inference_mode():
        assert not torch.equal(
            model(frames, {}, thumbs=THUMBS[:, :3], exposures=exposures)[0], results[0]
        )


def test_an_untrained_network_is_the_looks_mapping_or_the_aligned_merge() -> None:
    model = HDRVDiff(0).eval()
    frames = texture().expand(5, -1, -1, -1)[None]
    thumbs = THUMBS[:, :5]
    with torch.inference_mode():
        codes, state = model(frames, {}, thumbs=thumbs)
        look = model.read_look(thumbs[:, 0], torch.ones(1))
        assert torch.allclose(codes[:, 0], model.mapped(frames[:, 0], look), atol=2e-5)
        assert set(state) == {"look", "look_frames"}
        exposures = torch.tensor([[1, 0.25, 1, 0.25, 1]])
        nits = torch.linspace(5, 700, 64).expand(1, 5, 3, 64, 64)
        seen = (nits / WHITE * exposures[..., None, None, None]).clamp(0, 1) ** (1 / 2.2)
        codes, _ = model(seen, {}, thumbs=thumbs, exposures=exposures)
        truth = convert(nits[:, 0], "bt709", "bt2020")
        assert float((pq_eotf(codes[:, 2]) / truth - 1).abs().mean()) < 0.02


def test_simulated_exposures_clip_where_they_should_and_short_ones_are_noisier() -> None:
    torch.manual_seed(0)
    codes = torch.full((1, 4, 3, 32, 32), 0.58)  # about 203 nits
    shot = shoot(codes, (2.0, 0.25), 0, torch.Generator().manual_seed(0))
    assert shot.exposures.tolist() == [[2.0, 0.25, 2.0, 0.25]]
    assert float(shot.frames[:, 0].min()) == 1.0 and float(
        shot.frames[:, 1].mean()
    ) == pytest.approx(0.25 ** (1 / 2.2), abs=0.01)
    assert torch.allclose(shot.frames * 255, (shot.frames * 255).round())
    dark = shoot(
        torch.full((1, 2, 3, 64, 64), 0.3), (4.0, 0.25), 0, torch.Generator().manual_seed(0)
    )
    relative = [float((f**2.2).std() / (f**2.2).mean()) for f in dark.frames[0]]
    assert relative[1] > 2 * relative[0]


@pytest.mark.parametrize("cycle", [(1.0, 0.25), (4.0, 1.0, 0.25)])
def test_two_exposures_are_seen_in_windows_of_5_and_three_in_windows_of_7(
    cycle: tuple[float, ...],
) -> None:
    model = network(0)
    frames = torch.rand(1, 9, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    exposures = torch.tensor([[cycle[i % len(cycle)] for i in range(9)]])

    def middle(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(x, {}, past=4, future=4, thumbs=THUMBS[:, :9], exposures=exposures)[0]

    before = middle(frames)
    reach = len(cycle)
    for away in (1, reach, reach + 1):
        changed = frames.clone()
        changed[:, 4 + away] = 0.5
        assert torch.equal(middle(changed), before) == (away > reach)


def test_a_scene_in_one_go_equals_it_in_windows() -> None:
    model = network(1)
    frames = [texture(64, 64, seed)[0] for seed in range(11)]
    whole, parts = [], []
    for block, kept in ((8, whole), (3, parts)):
        spec = HDRVDIFF_SPEC.__class__(**{**vars(HDRVDIFF_SPEC), "block": block})
        renderer = Renderer(
            model, spec, (64, 64), device="cpu", precision="float32", tile=64, exposures=(1.0, 0.25)
        )
        kept += list(renderer.run(iter(frames), Run(0, 11, 0, 11), renderer.new_states()))
    assert torch.allclose(torch.stack(whole), torch.stack(parts), atol=1e-5)


def test_exposures_are_counted_from_the_films_first_frame() -> None:
    model = network(0)
    frames = [texture(64, 64, seed)[0] for seed in range(6)]
    renderer = Renderer(
        model,
        HDRVDIFF_SPEC,
        (64, 64),
        device="cpu",
        precision="float32",
        tile=64,
        exposures=(1.0, 0.25),
    )
    scene = list(renderer.run(iter(frames), Run(3, 9, 3, 9), renderer.new_states()))
    with torch.inference_mode():
        told = torch.tensor([[0.25, 1, 0.25, 1, 0.25, 1]])
        thumbs = F.adaptive_avg_pool2d(torch.stack(frames), 64)[None]
        wanted, _ = model(torch.stack(frames)[None], {}, thumbs=thumbs, exposures=told)
    assert torch.allclose(torch.stack(scene), wanted[0].clamp(0, 1), atol=1e-5)


def test_greys_stay_grey_and_black_black_in_ordinary_sdr() -> None:
    model = network(1, last=1.0)
    grey = texture()[:, :1].expand(3, 3, -1, -1)[None].clone()
    grey[..., :32] = 0
    with torch.inference_mode():
        codes, _ = model(grey, {}, thumbs=THUMBS[:, :3])
    nits = pq_eotf(codes)
    assert float((codes - codes.mean(2, keepdim=True)).abs().max()) < 1e-4
    assert float(nits[..., :16].max()) < 1e-3


def test_tiles_agree_with_the_whole_frame() -> None:
    model = network(2, last=0.1)
    frames = [texture(128, 576, seed)[0].roll(2 * seed, 2) for seed in range(3)]
    results = []
    for tile in (576, 512):
        renderer = Renderer(
            model,
            HDRVDIFF_SPEC,
            (128, 576),
            device="cpu",
            precision="float32",
            tile=tile,
            exposures=(1.0, 0.25),
        )
        results.append(
            torch.stack(list(renderer.run(iter(frames), Run(0, 3, 0, 3), renderer.new_states())))
        )
    assert float((results[0] - results[1]).abs().max()) < HDRVDIFF_SPEC.tolerance


def test_a_scene_begins_with_the_same_noise_in_every_film_chunk_and_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a seed of file and pts would not keep: a scene of its own gives the frames it gives within a film."""
    model = network(2, last=0.1)
    with torch.no_grad():
        model.temporal.decoder.prior_leave.weight.mul_(8)  # much of the prior is let in
    frames = [texture(128, 576, seed)[0].roll(2 * seed, 2) for seed in range(4)]

    def rendered(first: int, parts: list[int], tile: int = 576) -> Tensor:
        renderer = Renderer(
            model,
            HDRVDIFF_SPEC,
            (128, 576),
            device="cpu",
            precision="float32",
            tile=tile,
            exposures=(1.0, 0.25),
        )
        found = []
        for a, b in itertools.pairwise(parts):
            run = Run(first + a, first + b, first, first + 4)
            low, high = run.needs(HDRVDIFF_SPEC)
            found += list(
                renderer.run(iter(frames[low - first : high - first]), run, renderer.new_states())
            )
        return torch.stack(found)

    whole = rendered(0, [0, 4])
    assert torch.equal(rendered(40, [0, 4]), whole)  # later in a film, at other times
    assert torch.allclose(rendered(40, [0, 1, 4]), whole, atol=1e-5)  # in chunks
    assert float((rendered(0, [0, 4], 512) - whole).abs().max()) < 0.002  # in tiles
    monkeypatch.setattr(
        renderer_module, "field", lambda channels, size, at: field(channels, size, at, seed=1)
    )
    assert (
        float((rendered(0, [0, 4]) - whole).abs().max()) > 0.05
    )  # another noise is another picture,
    monkeypatch.setattr(renderer_module, "field", lambda channels, size, _at: field(channels, size))
    assert float((rendered(0, [0, 4], 512) - whole).abs().max()) > 0.05  # in a tile as well


@pytest.mark.parametrize(("height", "width"), [(1, 1), (50, 70)])
def test_any_size_comes_back_as_it_was(height: int, width: int) -> None:
    renderer = Renderer(
        network(1), HDRVDIFF_SPEC, (height, width), device="cpu", precision="float32", tile=128
    )
    (found,) = renderer.run(
        iter([torch.rand(3, height, width)]), Run(0, 1, 0, 1), renderer.new_states()
    )
    assert found.shape == (3, height, width)


def test_a_size_that_is_no_multiple_of_a_cell_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match="70x50"):
        network()(torch.rand(1, 1, 3, 50, 70), {}, thumbs=THUMBS[:, :1])


def test_the_weight_file_is_small_enough(tmp_path: object) -> None:
    model = registry.build("hdrvdiff")
    path = tmp_path / "w.safetensors"  # type: ignore[operator]
    _, size = save_weights(path, "hdrvdiff", dict(model.named_parameters()), HDRVDIFF_SPEC.config)
    assert size <= 12 << 20


@pytest.mark.parametrize("cycle", [(1.0, 0.25), (4.0, 1.0, 0.25)])
def test_the_bundled_weight_is_far_above_the_merge_of_frames_as_they_lie(
    cycle: tuple[float, ...],
) -> None:
    picture = 0.2 + 0.5 * texture(128, 128, seed=9)  # PQ codes, of up to some 600 nits
    codes = torch.stack([picture[0].roll((2 * t, 3 * t), (1, 2)) for t in range(7)])[None]
    shot = shoot(codes, cycle, 0, torch.Generator().manual_seed(2))
    inner = slice(24, -24)

    def decibels(nits: Tensor) -> float:
        error = mu_law(nits) - mu_law(pq_eotf(shot.truth[:, 3]))
        return float(-10 * error[..., inner, inner].square().mean().log10())

    reach = len(cycle)
    near = slice(3 - reach, 4 + reach)
    plain = decibels(
        convert(merge(shot.frames[:, near], shot.exposures[:, near]), "bt709", "bt2020")
    )
    with torch.inference_mode():
        thumbs = THUMBS[:, :7]
        found, _ = load_model("hdrvdiff")(
            shot.frames, {}, past=3, future=3, thumbs=thumbs, exposures=shot.exposures
        )
    assert decibels(pq_eotf(found[:, 0])) > plain + 3


def test_the_papers_table_3_are_other_networks() -> None:
    frames = torch.rand(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    told = {"past": 1, "future": 1, "thumbs": THUMBS[:, :3]}
    base, results = HDRVDiff(0).state_dict(), {}
    for integration in ("zica", "attention", "concat"):
        torch.manual_seed(1)
        net = HDRVDiff(2, integration=integration).eval()
        net.load_state_dict(
            {k: v for k, v in base.items() if ".zica." not in k and "denoiser." not in k},
            strict=False,
        )
        nn.init.normal_(net.temporal.decoder.leave.weight, std=0.05)
        exposures = torch.tensor([[1.0, 0.25, 1.0]])
        with torch.no_grad():
            results[integration] = net(frames, {}, exposures=exposures, **told)[0]
            net.steps = 0
            alone = net(frames, {}, exposures=exposures, **told)[0]
        # without zeros to begin with the prior changes the result from the first step on
        assert torch.equal(results[integration], alone) == (integration == "zica")
    with pytest.raises(ModelError, match="integration"):
        registry.build("hdrvdiff", {"integration": "other"})


def test_without_the_embedding_the_prior_does_not_know_the_exposure() -> None:
    model, frame, noise = (
        network(),
        texture(),
        torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2)),
    )
    with torch.no_grad():
        for embedding in (True, False):
            model.denoiser.embedding = embedding
            a, b = (model.prior(frame, torch.tensor([e]), noise, 2).picture for e in (1.0, 0.25))
            assert torch.equal(a, b) == (not embedding)
    assert not registry.build("hdrvdiff", {"embedding": False}).denoiser.embedding  # type: ignore[union-attr]
