"""KPNet against the published network's outputs under formula weights (float32, CPU), and the forms of our own."""

from typing import cast

import pytest
import torch
import torch.nn.functional as F
from formula import formula_weights, noise
from torch import Tensor, nn

from sdr2hdr.models import registry
from sdr2hdr.models.kpnet.blocks import Fusion, PublishedAttention, WindowAttention
from sdr2hdr.models.kpnet.network import KPNet, RepairingKPNet
from sdr2hdr.weights.importers import import_checkpoint
from sdr2hdr.weights.opened import open_model


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> KPNet:
    """The published network as a user gets it: a checkpoint of formula weights, imported and opened."""
    folder = tmp_path_factory.mktemp("published")
    theirs = registry.build("kpnet", "published")
    formula_weights(theirs)
    torch.save(theirs.state_dict(), folder / "latest_G.pth")
    import_checkpoint("kpnet", folder / "latest_G.pth", folder / "ours.safetensors")
    model = open_model(str(folder / "ours.safetensors")).model
    assert isinstance(model, KPNet)
    return model


def outputs_of(model: nn.Module, *names: str) -> dict[str, list[Tensor]]:
    """What modules of these names give for the frame of the fingerprints, in call order; ``codes`` is the result."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _m, _x, out, name=name: seen[name].append(out)
        )
        for name in names
    ]
    with torch.no_grad():
        seen["codes"] = [model(noise(1234, 1, 1, 3, 32, 48), {})[0]]
    for hook in hooks:
        hook.remove()
    return seen


# Outputs of the published code: module, which call, then mean, std and elements of the flattened result.
FINGERPRINTS = [
    (
        "codes",
        0,
        0.0053154458132477584,
        0.05636193594609955,
        {0: 0.061480727046728134, 1536: -0.03499503806233406},
    ),
    (
        "codes",
        0,
        0.0053154458132477584,
        0.05636193594609955,
        {658: 0.08313176780939102, 4607: -0.03733687847852707},
    ),
    (
        "recon_trunk",
        0,
        0.03808379243458785,
        0.054143414426731734,
        {0: 0.010899092070758343, 24575: 0.0},
    ),
    (
        "recon_trunk",
        1,
        0.024749548702615698,
        0.039126333912312745,
        {1: 0.02885395474731922, 3072: 0.10152821987867355},
    ),
    (
        "recon_trunk",
        2,
        0.036441583161313615,
        0.06283615059752222,
        {0: 0.03146671876311302, 49152: 0.11604699492454529},
    ),
    (
        "dislocation_change3",
        0,
        -0.014229994946128694,
        0.2497887657815123,
        {32768: 0.21565456688404083, 98303: 0.08848367631435394},
    ),
    (
        "up_KIB2",
        0,
        -0.0038060815650956905,
        0.07358554482726092,
        {3510: 0.16171590983867645, 24575: -0.07703042030334473},
    ),
    (
        "brain",
        0,
        0.013066636460711425,
        0.057288935349133346,
        {0: 0.16832426190376282, 24574: 0.018339335918426514},
    ),
]


@pytest.mark.parametrize(("module", "call", "mean", "std", "values"), FINGERPRINTS)
def test_equals_the_published_network(
    published: KPNet, module: str, call: int, mean: float, std: float, values: dict[int, float]
) -> None:
    names = () if module == "codes" else (module,)
    out = outputs_of(published, *names)[module][call]
    assert out.mean().item() == pytest.approx(mean, abs=1e-5)
    assert out.std(correction=0).item() == pytest.approx(std, abs=1e-5)
    for index, value in values.items():
        assert out.flatten()[index].item() == pytest.approx(value, abs=1e-4)


def test_the_published_forms_see_one_whole_frame_and_nothing_else() -> None:
    for name in ("kpnet", "kpnet-light"):
        spec = registry.spec(name, "published")
        assert (spec.past, spec.future, spec.thumb, spec.look, spec.greys) == (0, 0, 0, 0, False)
    assert registry.spec("kpnet", "published").tile >= 4096  # attention over whole rows


@pytest.mark.parametrize(
    ("options", "thousands"),
    [
        ({}, 1552.475 - 184.640),
        ({"terms": "R", "fusion": "add"}, None),
        ({"terms": "RX"}, None),
        ({"terms": "RY"}, None),
        ({"fusion": "sum"}, None),
        ({"fusion": "single"}, None),
        ({"norm": True}, None),
        ({"blocks": 2}, None),
        ({"blocks": 1}, 516.611),
        ({"heads": True}, None),
        ({"equations": "printed"}, 1219.979),
        ({"equations": "printed", "blocks": 1}, 508.419),
    ],
)
def test_a_gradient_reaches_every_part_of_every_row(
    options: dict[str, object], thousands: float | None
) -> None:
    torch.manual_seed(0)
    net = cast(KPNet, registry.build("kpnet", {"form": "published", **options})).train()
    frames = torch.rand(1, 2, 3, 16, 24)
    codes, _ = net(frames, {})
    pictures = net.block_pictures(frames) if "heads" in options else []
    assert codes.shape == frames.shape and codes.dtype is torch.float32
    assert [p.shape for p in pictures] == [frames.shape] * (3 if "heads" in options else 0)
    sum((x.square().mean() for x in pictures), codes.square().mean()).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None] == []
    if thousands is not None:
        assert sum(p.numel() for p in net.parameters()) == round(1000 * thousands)


def test_the_sum_of_sizes_is_equation_15() -> None:
    brain = Fusion(4, "published", "sum", 3)
    half, quarter, full = torch.rand(3, 1, 4, 6, 6)
    with torch.no_grad():
        wanted = brain.refine((0.3 * full + 0.4 * half + 0.3 * quarter).relu())
        torch.testing.assert_close(brain(half, quarter, full), wanted)


def test_parameter_counts(published: KPNet) -> None:
    # the paper's 1.55 M are 1,552,475, of which the published network never uses 184,640; its table 2 says about 512 K
    assert sum(p.numel() for p in published.parameters()) == 1_552_475 - 184_640
    for equations in ("published", "printed"):
        light = KPNet(base="none", context=False, blocks=1, equations=equations)
        assert sum(p.numel() for p in light.parameters()) == pytest.approx(512_000, rel=0.01)


def test_as_printed_it_is_the_equations_of_the_paper() -> None:
    """Equations 7 to 24 and the tail's, written out once more. What they leave open is as in the code: shared blocks, the size of
    the fusion, its residual blocks."""
    torch.manual_seed(0)
    net = registry.build("kpnet", {"form": "published", "equations": "printed", "channels": 8})
    frame, w = torch.rand(1, 3, 32, 48), net.state_dict()

    def conv(key: str, x: Tensor, step: int = 1) -> Tensor:
        weight = w[f"{key}.weight"]
        return F.conv2d(x, weight, w.get(f"{key}.bias"), step, weight.shape[-1] // 2)

    def up(key: str, x: Tensor) -> Tensor:
        return F.pixel_shuffle(conv(key, x), 2)

    def block(u: Tensor) -> Tensor:
        r = "recon_trunk"
        high, low = conv(f"{r}.split_hl.h2h", u), conv(f"{r}.split_hl.h2l", F.avg_pool2d(u, 2))
        high, low = (
            conv(f"{r}.conv_{n}.1.conv", conv(f"{r}.conv_{n}.0.conv", x).relu()).relu()
            for n, x in (("h", high), ("l", low))
        )
        enhanced = high + up(f"{r}.up_sampel.0", low) + u
        recovered = conv(f"{r}.refine.2.conv", conv(f"{r}.refine.1.conv", enhanced.relu()).relu())
        x, y = (conv(f"{n}.1", conv(f"{n}.0", u)) for n in ("alpha", "belta"))
        return recovered * x + y

    def fused(number: int, *pair: Tensor) -> Tensor:
        x = conv("brain.conv_1x1Share.0.conv", torch.cat(pair, 1)).relu()
        inner = conv(f"brain.conv{number}.0.conv1.conv", x).relu()
        x = x + conv(f"brain.conv{number}.0.conv2.conv", inner).relu()
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True)
        g = [
            conv(f"brain.nm_att.conv_{side}", conv("brain.nm_att.conv1", z).relu()).sigmoid()
            for side, z in (("h", rows), ("w", columns))
        ]
        return x * g[0] * g[1]

    head = conv("conv_first", frame).relu()
    half = conv("down_conv1", head, 2)
    full, half, quarter = (
        block(conv(f"dislocation_change{n}.conv", x).relu())
        for n, x in ((3, head), (1, half), (2, conv("down_conv2", half, 2)))
    )
    quarter, full = up("up_KIB2.0", quarter), conv("down_conv3", full, 2)
    mixed = fused(1, half, quarter) + fused(2, half, full) + fused(3, quarter, full)
    refined = conv("brain.refine.1.conv", conv("brain.refine.0.conv", mixed.relu()))
    wanted = conv("conv_last", up("up_conv2.0", refined))
    with torch.no_grad():
        torch.testing.assert_close(net(frame[:, None], {})[0][:, 0], wanted, atol=1e-5, rtol=1e-4)


def test_all_three_sizes_share_one_block(published: KPNet) -> None:
    calls = outputs_of(published, "recon_trunk", "alpha", "belta")
    assert all(
        [tuple(t.shape[-2:]) for t in calls[n]] == [(16, 24), (8, 12), (32, 48)]
        for n in ("alpha", "belta")
    )
    assert len(calls["recon_trunk"]) == 3


def test_a_window_over_the_whole_picture_is_the_published_attention() -> None:
    torch.manual_seed(0)
    whole, window = PublishedAttention(16).eval(), WindowAttention(16, reach=24)
    window.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("bn1")})
    x = torch.randn(2, 16, 12, 20)
    with torch.no_grad():  # a fresh batch normalisation divides by sqrt(1 + 1e-5)
        assert torch.allclose(whole(x), window(x), atol=1e-4)
        assert not torch.allclose(whole(x), WindowAttention(16, reach=2)(x), atol=1e-2)


def spoken(name: str, **options: object) -> KPNet:
    """A network that adds something to its base, and tells looks apart."""
    torch.manual_seed(0)
    model = cast(KPNet, registry.build(name, {"channels": 16, **options}))
    nn.init.normal_(model.conv_last.weight, std=0.01)
    for module in (model.look, model.modulate):
        for p in module.parameters() if module is not None else ():
            nn.init.normal_(p, std=0.1)
    return model


def repairing(blocks: int, channels: int = 16) -> RepairingKPNet:
    """A network in front of the look that changes the picture."""
    torch.manual_seed(0)
    options = {"base": "repair", "blocks": blocks, "channels": channels}
    model = registry.build("kpnet-light", options)
    assert isinstance(model, RepairingKPNet)
    nn.init.normal_(model.conv_last.weight, std=0.01)
    return model


@pytest.mark.parametrize(("blocks", "reach"), [(3, 148), (1, 62)])
def test_a_repair_does_not_see_what_lies_far_away(blocks: int, reach: int) -> None:
    """48 pixels of the reach are those over which a correction's strength is measured."""
    model = repairing(blocks, channels=8)
    frames = torch.rand(1, 1, 3, 16, 2 * reach + 40)
    other = frames.clone()
    other[..., :16] = 1.0 - other[..., :16]
    with torch.no_grad():
        one, two = model.restored(frames), model.restored(other)
    assert ((one - frames[:, 0]) - (two - other[:, 0]))[..., :16].abs().max() > 1e-3
    assert torch.equal(one[..., 16 + reach :], two[..., 16 + reach :])


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_in_front_of_the_look_every_weight_but_the_readers_repairs(blocks: int) -> None:
    model, frames = repairing(blocks), torch.rand(1, 2, 3, 16, 24)
    model.restored_frames(frames, range(2)).square().mean().backward()
    unused = [k for k, p in model.named_parameters() if p.grad is None or not p.grad.abs().max()]
    assert unused == [k for k, _ in model.named_parameters() if k.startswith("reader.")]


@pytest.mark.parametrize(("name", "reach"), [("kpnet", 100), ("kpnet-light", 62)])
def test_what_lies_far_away_does_not_matter(name: str, reach: int) -> None:
    """So that tiles can be exact: two frames that differ only on the left give the same codes beyond the reach.

    48 pixels of it are those over which a correction's strength is measured.
    """
    model = spoken(name, channels=8)
    frames, thumbs = torch.rand(1, 1, 3, 16, 2 * reach + 40), torch.rand(1, 1, 3, 64, 64)
    other = frames.clone()
    other[..., :16] = 1.0 - other[..., :16]
    with torch.no_grad():
        change = (model(frames, {}, thumbs=thumbs)[0] - model(other, {}, thumbs=thumbs)[0]).abs()
    assert change[..., :16].max() > 1e-3
    assert change[..., 16 + reach :].max() == 0.0


@pytest.mark.parametrize("name", ["kpnet", "kpnet-light"])
def test_each_frame_alone_and_context_is_left_out(name: str) -> None:
    model = spoken(name, base="bt2408")
    frames, thumbs = torch.rand(2, 4, 3, 16, 24), torch.rand(2, 4, 3, 64, 64)
    with torch.no_grad():
        whole, _ = model(frames, {}, thumbs=thumbs)
        inner, _ = model(frames, {}, past=1, future=1, thumbs=thumbs)
        alone, _ = model(frames[:, 2:3], {}, thumbs=thumbs[:, 2:3])
    assert whole.shape == frames.shape
    assert torch.equal(inner, whole[:, 1:3])
    assert torch.allclose(alone, whole[:, 2:3], atol=1e-5)


@pytest.mark.parametrize("name", ["kpnet", "kpnet-light"])
def test_on_the_look_base_windows_with_their_state_equal_one_run(name: str) -> None:
    model = spoken(name)
    frames, thumbs = torch.rand(1, 5, 3, 16, 24), torch.rand(1, 5, 3, 64, 64)
    with torch.no_grad():
        whole, _ = model(frames, {}, thumbs=thumbs)
        first, state = model(frames[:, :4], {}, future=1, thumbs=thumbs[:, :4])
        second, _ = model(frames[:, 2:], state, past=1, thumbs=thumbs[:, 2:])
        anew, _ = model(frames[:, 2:], {}, past=1, thumbs=thumbs[:, 2:])
    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-5)
    assert (anew - second).abs().max() > 1e-4  # what the scene showed before counts


@pytest.mark.parametrize("name", ["kpnet", "kpnet-light"])
def test_it_begins_as_the_look_mapping(name: str) -> None:
    model, look = registry.build(name), registry.build("look-base")
    for module in (model, look):
        torch.manual_seed(5)
        for p in module.look.parameters():
            nn.init.normal_(p, std=0.1)
    frames, thumbs = torch.rand(1, 2, 3, 16, 16), torch.rand(1, 2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(frames, {}, thumbs=thumbs)[0], look(frames, {}, thumbs=thumbs)[0])


def test_the_context_starts_neutral_and_then_tells() -> None:
    model = spoken("kpnet", base="bt2408")
    frames = torch.rand(1, 1, 3, 16, 16)
    thumbs = [torch.full((1, 1, 3, 64, 64), level) for level in (0.1, 0.9)]
    with torch.no_grad():
        dark, bright = (model(frames, {}, thumbs=t)[0] for t in thumbs)
        assert torch.equal(dark, bright)
        assert model.context is not None
        nn.init.normal_(model.context.turns.weight)
        dark, bright = (model(frames, {}, thumbs=t)[0] for t in thumbs)
    assert (dark - bright).abs().max() > 1e-3


@pytest.mark.parametrize("options", [{"fusion": "pairs"}, {"fusion": "sum"}, {"base": "bt2408"}])
def test_every_weight_is_used(options: dict[str, str]) -> None:
    model = spoken("kpnet", **options)
    if model.context is not None:
        nn.init.normal_(model.context.turns.weight)
    model(torch.rand(1, 1, 3, 16, 16), {}, thumbs=torch.rand(1, 1, 3, 64, 64))[
        0
    ].square().mean().backward()
    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0
    ] == []
