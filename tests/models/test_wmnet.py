"""WMNet against the published network's outputs under formula weights (float32, CPU)."""

import copy

import pytest
import torch
from formula import formula_weights, noise
from torch import Tensor, nn

from sdr2hdr.models import registry
from sdr2hdr.models.parts.precision import to_precision
from sdr2hdr.models.spec import State
from sdr2hdr.models.wmnet.memory import PublishedMemory
from sdr2hdr.models.wmnet.network import WMNet
from sdr2hdr.training.memories import Memories
from sdr2hdr.weights.importers import import_checkpoint
from sdr2hdr.weights.opened import open_model


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> WMNet:
    """The published network as a user gets it: a checkpoint of formula weights, imported and opened."""
    folder = tmp_path_factory.mktemp("published")
    theirs = registry.build("wmnet", "published")
    formula_weights(theirs)
    torch.save({"params": theirs.state_dict()}, folder / "stage2.pth")
    import_checkpoint("wmnet", folder / "stage2.pth", folder / "ours.safetensors")
    model = open_model(str(folder / "ours.safetensors")).model
    assert isinstance(model, WMNet)
    return model


# Outputs of the published code: mean, std, then elements of the flattened result (issue: equal to 1e-4).
FINGERPRINTS = [
    (
        (1234, 1, 8, 3, 32, 48),
        (0.10775645762462933, 0.15322900281257654),
        {
            0: 0.15576773881912231,
            5266: 0.2433820515871048,
            18432: 0.13519813120365143,
            36863: -0.03514251112937927,
        },
    ),
    (
        (77, 1, 3, 3, 16, 16),
        (0.07338275158372198, 0.13313858411871196),
        {
            0: 0.1464640200138092,
            329: 0.0056564100086688995,
            1152: 0.002256356179714203,
            2303: -0.025934454053640366,
        },
    ),
    (
        (78, 1, 1, 3, 16, 16),
        (0.05895237964455191, 0.1276063657414691),
        {
            0: 0.11325206607580185,
            109: 0.2543589770793915,
            384: -0.047280482947826385,
            767: -0.027913734316825867,
        },
    ),
    (
        (79, 2, 2, 3, 16, 16),
        (0.07002491780084104, 0.1336716278713464),
        {
            0: 0.11905810236930847,
            438: -0.09885306656360626,
            1024: -0.08959062397480011,
            3071: -0.015099184587597847,
        },
    ),
]


@pytest.mark.parametrize(("shape", "moments", "values"), FINGERPRINTS)
def test_equals_the_published_network(
    published: WMNet, shape: tuple[int, ...], moments: tuple[float, float], values: dict[int, float]
) -> None:
    with torch.no_grad():
        out, _ = published(noise(*shape), {})
    assert out.mean().item() == pytest.approx(moments[0], abs=1e-5)
    assert out.std(correction=0).item() == pytest.approx(moments[1], abs=1e-5)
    flat = out.flatten()
    for index, value in values.items():
        assert flat[index].item() == pytest.approx(value, abs=1e-4)


def test_published_features_after_the_last_block(published: WMNet) -> None:
    frames = noise(1234, 1, 8, 3, 32, 48)
    with torch.no_grad():
        z1, _, z3 = published.encode(frames[0])
    assert z1.flatten()[28086].item() == pytest.approx(-0.4436108469963074, abs=1e-4)
    assert z3.mean().item() == pytest.approx(-0.032518073057919615, abs=1e-5)


def test_published_memory_alone() -> None:
    class Shell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = PublishedMemory(64, 2)

    shell = Shell()
    formula_weights(shell)
    f, g = (2 * noise(seed, 1, 64, 8, 8) - 0.5 for seed in (3, 4))
    with torch.no_grad():
        state = shell.memory.write(f, shell.memory.write(g, {}))
        out = shell.memory.read(f, state)
    assert out is not None
    assert out.flatten()[585].item() == pytest.approx(-0.1297702193260193, abs=1e-4)
    assert out.std(correction=0).item() == pytest.approx(0.05397265340430978, abs=1e-5)


def test_parameter_count_is_the_papers(published: WMNet) -> None:
    assert sum(p.numel() for p in published.parameters()) == 1_362_067


def test_an_imported_network_has_zeros_beyond_a_scenes_ends(published: WMNet) -> None:
    repeats = registry.build("wmnet", {"form": "published", "edges": "repeat"})
    formula_weights(repeats)
    frames = noise(1234, 1, 8, 3, 32, 48)
    with torch.no_grad():
        apart = (published(frames, {})[0] - repeats(frames, {})[0]).abs().amax((0, 2, 3, 4))
    assert apart[0] > 0.01 and apart[-1] > 0.01  # the ends differ, what lies between does not
    assert apart[3:-3].max() < 1e-3


@pytest.mark.parametrize(("option", "millions"), [({}, 1.362067), ({"hidden": 64}, 1.378003)])
def test_the_papers_parameters_speak_for_a_hidden_size_of_32(
    option: dict[str, int], millions: float
) -> None:
    """Table IV counts 1.36 M with the memory; section IV-A says that its hidden size is 64."""
    with torch.device("meta"):
        net = registry.build("wmnet", {"form": "published", **option})
    assert sum(p.numel() for p in net.parameters()) == round(millions * 1e6)


def test_codes_keep_their_precision_in_bfloat16(published: WMNet) -> None:
    """A last layer in bfloat16 would round codes around 0.6 to steps of 1/256, four of 1023."""
    lower = to_precision(copy.deepcopy(published), torch.bfloat16)
    with torch.no_grad():
        published.conv_last.bias.add_(0.6)
        lower.conv_last.bias.add_(0.6)
        wanted, _ = published(noise(77, 1, 3, 3, 16, 16), {})
        found, _ = lower(noise(77, 1, 3, 3, 16, 16), {})
        published.conv_last.bias.sub_(0.6)
    assert found.dtype is torch.float32
    error, rounding = (found - wanted).abs(), (wanted.bfloat16().float() - wanted).abs()
    assert error.mean() < rounding.mean()


def by_hand(memory: PublishedMemory, feature: Tensor, slots: list[Tensor]) -> Tensor:
    """Eq. 13, softmax(Q K^T) V, written out for one clip: m x m numbers for each slot."""
    flat = memory.feat_prepare(feature)[0].flatten(1).T  # m,c
    q, v = flat @ memory.mq.weight.T, flat @ memory.mv.weight.T
    out = torch.zeros_like(v)
    for slot in slots:
        k = slot.flatten(1).T @ memory.mk.weight.T
        out += (q @ k.T).softmax(dim=1) @ v
    return memory.proj(out).T.view_as(feature[0])[None]


def test_attention_as_printed_is_equation_13() -> None:
    torch.manual_seed(0)
    memory = PublishedMemory(16, 2, 24, printed=True)
    feature, slots = torch.randn(1, 16, 6, 5), torch.randn(1, 2, 24, 6, 5)
    with torch.no_grad():
        found = memory.read(feature, {"slots": slots})
        wanted = by_hand(memory, feature, list(slots[0]))
    assert found is not None
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("attention", ["published", "printed"])
def test_gradients_reach_every_part_but_what_writes_the_published_memory(attention: str) -> None:
    torch.manual_seed(0)
    config = {"form": "published", "attention": attention, "channels": 16, "blocks": 3}
    net = registry.build("wmnet", config).train()
    codes, _ = net(torch.rand(1, 3, 3, 16, 16), {})
    codes.square().mean().backward()
    without = {key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    writes = {key for key, _ in net.named_parameters() if key.startswith("memory.mem_prepare")}
    assert without == (writes if attention == "published" else set())


@pytest.mark.parametrize("printed", [False, True])
def test_a_batch_of_scenes_with_unlike_memories_is_that_of_each_alone(printed: bool) -> None:
    torch.manual_seed(0)
    memory = PublishedMemory(16, 2, printed=printed).eval()
    feature, past = torch.randn(3, 16, 6, 6), torch.randn(3, 2, 8, 6, 6)
    memories = Memories()
    memories.held = {"one": past[1, :1], "two": past[2]}
    state = memories.state(("new", "one", "two"), feature)
    alone: list[State] = [{}, {"slots": past[1:2, :1]}, {"slots": past[2:3]}]
    with torch.no_grad():
        together = memory.read(feature, state)
        assert together is not None
        for i, own in enumerate(alone):
            wanted = memory.read(feature[i : i + 1], own)
            expected = torch.zeros_like(feature[:1]) if wanted is None else wanted
            torch.testing.assert_close(together[i : i + 1], expected)
        memories.keep(("new", "one", "two"), memory.write(feature, state))
        for i, (name, own) in enumerate(zip(("new", "one", "two"), alone, strict=True)):
            torch.testing.assert_close(
                memories.held[name], memory.write(feature[i : i + 1], own)["slots"][0]
            )


@pytest.mark.parametrize("attention", ["published", "printed", "tokens"])
def test_windows_with_context_equal_one_run(attention: str) -> None:
    torch.manual_seed(0)
    model = WMNet(attention=attention, base="bt2408", blocks=3).eval()
    frames, thumbs = torch.rand(1, 11, 3, 16, 24), torch.rand(1, 11, 3, 64, 64)
    with torch.no_grad():
        whole, _ = model(frames, {}, thumbs=thumbs)
        parts, state = [], {}
        for first, last in ((0, 4), (4, 8), (8, 11)):
            a, b = max(0, first - 2), min(11, last + 2)
            out, state = model(
                frames[:, a:b], state, past=first - a, future=b - last, thumbs=thumbs[:, a:b]
            )
            parts.append(out)
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def effect_of_memory(model: WMNet, size: int) -> float:
    torch.manual_seed(1)
    frames = torch.rand(1, 3, 3, size, size)
    dark = torch.zeros(1, 1, 3, 64, 64)
    with torch.no_grad():
        if isinstance(model.memory, PublishedMemory):
            remembered = model.memory.write(torch.zeros(1, 64, size // 2, size // 2), {})
            other = model.memory.write(2 * torch.rand(1, 64, size // 2, size // 2), {})
        else:
            remembered, other = (
                model.memory.write(dark[:, 0], {}),
                model.memory.write(dark[:, 0] + 1.0, {}),
            )
        thumbs = torch.rand(1, 3, 3, 64, 64)
        a, _ = model(frames, remembered, thumbs=thumbs)
        b, _ = model(frames, other, thumbs=thumbs)
    return float((a - b).square().mean().sqrt())


def test_published_memory_fades_with_size_and_tokens_do_not() -> None:
    published, tokens = WMNet("published", "none"), WMNet("tokens", "none")
    for model in (published, tokens):
        formula_weights(model.eval())
    assert effect_of_memory(published, 96) < 0.25 * effect_of_memory(published, 24)
    assert effect_of_memory(tokens, 96) > 0.7 * effect_of_memory(tokens, 24)


@pytest.mark.parametrize("edges", ["repeat", "zero"])
def test_a_still_scene_answers_alike_at_its_ends_if_edges_repeat(edges: str) -> None:
    model = WMNet(attention="tokens", base="none", channels=16, blocks=3, edges=edges).eval()
    formula_weights(model)
    frame = noise(5, 1, 1, 3, 16, 16)
    still = frame.expand(-1, 5, -1, -1, -1)
    thumbs = torch.zeros(1, 5, 3, 64, 64)
    with torch.inference_mode():
        out, _ = model(still, {}, thumbs=thumbs)
        alone, _ = model(frame, {}, thumbs=thumbs[:, :1])
    ends = max(float((out[:, k] - out[:, 2]).abs().max()) for k in (0, 1, 3, 4))
    assert (ends < 1e-5) == (edges == "repeat")
    assert (float((alone[:, 0] - out[:, 2]).abs().max()) < 1e-5) == (edges == "repeat")


@pytest.mark.parametrize(
    ("options", "gone"),
    [({"experts": False}, "propagation."), ({"attention": "none"}, ("memory.", "mlp."))],
)
def test_every_ablation_is_another_network_that_trains(
    options: dict[str, object], gone: str | tuple[str, ...]
) -> None:
    whole, less = (WMNet(base="none", blocks=3, **o) for o in ({}, options))  # type: ignore[arg-type]
    names = {n for n, _ in whole.named_parameters()}
    assert (
        {n for n, _ in less.named_parameters()}
        == {n for n in names if not n.startswith(gone)}
        != names
    )
    frames = noise(3, 1, 3, 3, 16, 16)
    thumbs = torch.nn.functional.interpolate(frames[0], 64)[None]
    out, _ = less(frames, {}, thumbs=thumbs)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in less.parameters())
    # without experts a frame's neighbours do not matter, with them they do
    other = frames.clone()
    other[:, 0] = 0.5
    with torch.no_grad():
        one, two = (less(x, {}, thumbs=thumbs)[0][:, 1] for x in (frames, other))
    assert torch.equal(one, two) == ("experts" in options)
