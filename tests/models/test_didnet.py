"""DIDNet: no code is published, so each part is held to its definition, or to an outside tool."""

import numpy as np
import pytest
import pywt
import torch
from torch import Tensor, nn

from sdr2hdr.models import registry
from sdr2hdr.models.didnet.condition import ConditionNet, ModulatedConv, Modulation
from sdr2hdr.models.didnet.network import DIDNet
from sdr2hdr.models.didnet.wavelet import WaveletAttention
from sdr2hdr.models.parts.deform import deform_conv2d, sample, torchvision_operator
from sdr2hdr.models.parts.haar import haar, unhaar
from sdr2hdr.models.parts.precision import to_precision
from sdr2hdr.training.initial import initialise

SMALL = {"channels": 16, "offset_channels": 8}


def small(**options: object) -> DIDNet:
    """A network whose offsets, vectors and outputs are not those it starts with."""
    torch.manual_seed(0)
    model = DIDNet(**{**SMALL, **options}).eval()
    for layer in (
        model.alignment.offsets.offset,
        model.condition.tell,
        model.restore,
        model.conv_last,
    ):
        nn.init.normal_(layer.weight, std=0.2)
    if model.look is not None:
        for p in model.look.parameters():
            nn.init.normal_(p, std=0.1)
    return model


def by_hand(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Modulated deformable convolution from its definition, place by place; ``x G,H,W``."""
    g, height, width = x.shape
    out = bias[:, None, None].expand(-1, height, width).clone()
    offset, mask = offset.view(g, 9, 2, height, width), mask.view(g, 9, height, width)

    def at(channel: int, y: float, x_: float) -> float:
        total = 0.0
        for yi in (int(np.floor(y)), int(np.floor(y)) + 1):
            for xi in (int(np.floor(x_)), int(np.floor(x_)) + 1):
                if 0 <= yi < height and 0 <= xi < width:
                    total += (1 - abs(y - yi)) * (1 - abs(x_ - xi)) * x[channel, yi, xi].item()
        return total

    for i in range(height):
        for j in range(width):
            for c in range(g):
                for tap in range(9):
                    dy, dx = offset[c, tap, :, i, j].tolist()
                    value = at(c, i + tap // 3 - 1 + dy, j + tap % 3 - 1 + dx)
                    out[:, i, j] += weight[:, c, tap // 3, tap % 3] * mask[c, tap, i, j] * value
    return out


def deformable(
    dtype: torch.dtype = torch.float32, height: int = 5, width: int = 7
) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    g, c = 2, 3
    shapes = (
        (2, g, height, width),
        (2, g * 18, height, width),
        (2, g * 9, height, width),
        (c, g, 3, 3),
        (c,),
    )
    x, offset, mask, weight, bias = (torch.randn(s) for s in shapes)
    x = x.sigmoid()  # pictures
    return x, (1.5 * offset).to(dtype), mask.sigmoid().to(dtype), weight.to(dtype), bias.to(dtype)


def test_deformable_convolution_is_its_definition() -> None:
    given = deformable()
    out = deform_conv2d(*given)
    for item in range(2):
        expected = by_hand(*(t[item] for t in given[:3]), *given[3:])
        assert torch.allclose(out[item], expected, atol=1e-5)


def test_without_offsets_it_is_a_convolution_whatever_the_bands() -> None:
    x, offset, mask, weight, bias = deformable(height=70, width=150)  # several bands of rows
    out = deform_conv2d(x, torch.zeros_like(offset), torch.ones_like(mask), weight, bias)
    assert torch.allclose(out, nn.functional.conv2d(x, weight, bias, padding=1), atol=1e-4)


def test_deformable_gradients_are_those_of_differences() -> None:
    x, offset, mask, weight, bias = deformable()
    offset, toward = offset.requires_grad_(), torch.randn(2, 3, 5, 7)

    def value(moved: Tensor) -> Tensor:
        return (deform_conv2d(x, moved, mask, weight, bias) * toward).sum().double()

    (gradient,) = torch.autograd.grad(value(offset), offset)
    with torch.no_grad():
        for place in ((0, 0, 0, 0), (1, 17, 2, 3), (0, 30, 4, 6), (1, 5, 1, 1)):
            step = torch.zeros_like(offset)
            step[place] = 1e-2
            slope = (value(offset + step) - value(offset - step)) / 2e-2
            assert gradient[place].item() == pytest.approx(slope.item(), abs=2e-3, rel=1e-2)


@pytest.mark.skipif(
    torchvision_operator() is None, reason="torchvision does not load beside this torch"
)
def test_deformable_convolution_equals_torchvisions() -> None:
    given = deformable(height=40, width=50)
    ours, theirs = (deform_conv2d(*given, operator=name) for name in ("torch", "torchvision"))
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_what_is_asked_for_and_does_not_load_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdr2hdr.models.parts.deform.torchvision_operator", lambda: None)
    with pytest.raises(ValueError, match="torchvision does not load"):
        deform_conv2d(*deformable(), operator="torchvision")


def test_samples_far_outside_are_zero() -> None:
    x, offset, *_ = deformable()
    assert sample(x, offset + 100.0).abs().max() == 0.0


def test_the_haar_transform_is_pywavelets() -> None:
    picture = torch.randn(1, 2, 12, 20)
    bands = haar(picture)
    for c in range(2):
        low, details = pywt.dwt2(picture[0, c].double().numpy(), "haar")
        # PyWavelets gives (from row to row, from column to column, both)
        for place, expected in ((0, low), (2, details[0]), (1, details[1]), (3, details[2])):
            np.testing.assert_allclose(bands[0, place * 2 + c].numpy(), expected, atol=1e-5)
    assert torch.allclose(unhaar(bands), picture, atol=1e-6)
    assert bands.square().sum().item() == pytest.approx(picture.square().sum().item(), rel=1e-5)


def test_modulated_kernels_equal_modulated_features() -> None:
    torch.manual_seed(2)
    conv = ModulatedConv(12)
    m = Modulation(*(torch.randn(3, 12) for _ in range(3)))
    x = torch.randn(3, 12, 9, 11)
    with torch.no_grad():
        assert torch.allclose(conv(x, m), conv.by_features(x, m), atol=1e-4)
        assert not torch.allclose(conv(x, m), conv.conv(x), atol=0.1)
        unchanged = Modulation(*(torch.zeros(3, 12) for _ in range(3)))
        assert torch.allclose(conv(x, unchanged), conv.conv(x), atol=1e-5)


def test_wavelet_attention_over_a_large_window_is_that_over_the_whole() -> None:
    torch.manual_seed(3)
    whole, window = WaveletAttention(8, "whole"), WaveletAttention(8, "window", reach=40)
    window.load_state_dict(whole.state_dict())
    x = torch.randn(2, 8, 24, 32)
    with torch.no_grad():
        assert torch.allclose(whole(x), window(x), atol=1e-5)


@pytest.mark.parametrize(("name", "count"), [("didnet", 527_000), ("didnet-tiny", 263_500)])
def test_parameters_are_the_papers(name: str, count: int) -> None:
    # its table VII: 0.527; "Tiny" is not described, and about half is what was asked for
    model = registry.build(name, {"base": "bt2408"})  # without our look reader
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(count, rel=0.08)


def test_windows_with_context_equal_one_run() -> None:
    model = small()
    frames, thumbs = torch.rand(1, 9, 3, 16, 24), torch.rand(1, 9, 3, 64, 64)
    with torch.no_grad():
        whole, restored, _ = model.forward_with_aux(frames, {}, thumbs=thumbs)
        parts, state = [], {}
        for first, last in ((0, 4), (4, 8), (8, 9)):
            a, b = max(0, first - 3), min(9, last + 3)
            out, state = model(
                frames[:, a:b], state, past=first - a, future=b - last, thumbs=thumbs[:, a:b]
            )
            parts.append(out)
    assert whole.shape == restored.shape == frames.shape
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_only_the_seven_nearest_frames_are_seen_and_each_of_them_is() -> None:
    model = small()
    frames, thumbs = torch.rand(1, 11, 3, 16, 16), torch.rand(1, 11, 3, 64, 64)
    with torch.no_grad():
        before, _ = model(frames, {}, past=5, future=5, thumbs=thumbs)
        for t in range(11):
            changed = frames.clone()
            changed[:, t] = 1.0 - changed[:, t]
            after, _ = model(changed, {}, past=5, future=5, thumbs=thumbs)
            assert ((after - before).abs().max() > 1e-5) == (2 <= t <= 8), t


@pytest.mark.parametrize("count", [1, 2, 6])
def test_clips_shorter_than_the_window_repeat_their_ends(count: int) -> None:
    model = small()
    frames, thumbs = torch.rand(1, count, 3, 16, 16), torch.rand(1, count, 3, 64, 64)
    with torch.no_grad():
        out, _ = model(frames, {}, thumbs=thumbs)
        padded = [
            torch.cat([x[:, :1]] * 3 + [x] + [x[:, -1:]] * 3, dim=1) for x in (frames, thumbs)
        ]
        expected, _ = model(padded[0], {}, past=3, future=3, thumbs=padded[1])
    assert out.shape == frames.shape
    assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("base", ["look", "bt2408"])
def test_the_restored_frame_is_trained_by_its_own_loss_alone(base: str) -> None:
    model = small(base=base)
    frames, thumbs = torch.rand(1, 7, 3, 16, 16), torch.rand(1, 7, 3, 64, 64)
    codes, _, _ = model.forward_with_aux(frames, {}, past=3, future=3, thumbs=thumbs)
    codes.square().mean().backward()
    assert model.restore.weight.grad is None
    _, restored, _ = model.forward_with_aux(frames, {}, past=3, future=3, thumbs=thumbs)
    restored.square().mean().backward()
    gradient = model.restore.weight.grad
    assert gradient is not None and gradient.abs().max() > 0
    unused = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0
    ]
    assert unused == []


def test_the_restoration_starts_from_the_middle_frame() -> None:
    model = small()
    nn.init.zeros_(model.restore.weight)
    nn.init.zeros_(model.restore.bias)
    frames = torch.rand(1, 7, 3, 16, 16)
    with torch.no_grad():
        _, restored, _ = model.forward_with_aux(
            frames, {}, past=3, future=3, thumbs=torch.rand(1, 7, 3, 64, 64)
        )
    assert torch.equal(restored[:, 0], frames[:, 3])


def test_it_begins_as_the_look_mapping_of_the_middle_frame() -> None:
    model, look = registry.build("didnet", {"base": "look", **SMALL}), registry.build("look-base")
    for module in (model, look):
        torch.manual_seed(5)
        for p in module.look.parameters():
            nn.init.normal_(p, std=0.1)
    frames, thumbs = torch.rand(1, 7, 3, 16, 16), torch.rand(1, 7, 3, 64, 64)
    with torch.no_grad():
        begun, mapped = (m(frames, {}, past=3, future=3, thumbs=thumbs)[0] for m in (model, look))
    assert torch.equal(begun, mapped)


def test_no_restoration_changes_a_code_by_more_than_three() -> None:
    model, frames = small(), torch.rand(1, 7, 3, 32, 32)
    nn.init.normal_(model.restore.weight, std=20.0)
    with torch.no_grad():
        restored = model.restored(frames)
    change = (restored - frames[:, 3]).abs() * 255
    assert 2.9 < change.max() <= 3.001


def test_training_with_nothing_moved_goes_on_from_where_the_network_begins() -> None:
    torch.manual_seed(6)
    model, frames = DIDNet(**SMALL), torch.rand(1, 7, 3, 16, 16)
    nn.init.normal_(model.restore.weight, std=0.2)
    with torch.no_grad():
        torch.testing.assert_close(model.restored(frames, still=True), model.restored(frames))
        nn.init.normal_(model.alignment.offsets.offset.weight, std=0.2)
        assert not torch.allclose(
            model.restored(frames, still=True), model.restored(frames), atol=1e-4
        )


def test_the_mapping_is_that_of_the_restored_frame() -> None:
    model, look = small(), registry.build("look-base")
    nn.init.zeros_(model.conv_last.weight)
    assert model.look is not None
    look.look.load_state_dict(model.look.state_dict())
    frames, thumbs = torch.rand(1, 7, 3, 16, 16), torch.rand(1, 7, 3, 64, 64)
    with torch.no_grad():
        codes, restored, _ = model.forward_with_aux(frames, {}, past=3, future=3, thumbs=thumbs)
        mapped, _ = look(restored.clamp(0, 1), {}, thumbs=thumbs[:, 3:4])
    assert (restored[:, 0] - frames[:, 3]).abs().max() > 0.01
    assert torch.allclose(codes, mapped, atol=1e-6)


def test_greys_stay_grey_and_black_stays_black_whatever_the_weights() -> None:
    model = small()
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 3, 16, 64)
    with torch.no_grad():
        codes, restored, _ = model.forward_with_aux(ramp, {}, thumbs=torch.rand(1, 1, 3, 64, 64))
    for picture in (codes[0, 0], restored[0, 0]):
        assert torch.allclose(picture, picture[:1].expand_as(picture), atol=1e-5)
        assert picture[..., 0].max() < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"condition": "2d"},
        {"condition_norm": True},
        {"wavelet": False},
        {"dual": False},
        {"attention": "whole"},
    ],
)
def test_every_ablation_is_another_network_that_runs(options: dict[str, object]) -> None:
    frames, thumbs = torch.rand(1, 7, 3, 16, 96), torch.rand(1, 7, 3, 64, 64)
    with torch.no_grad():
        full, ablated = (
            m(frames, {}, past=3, future=3, thumbs=thumbs)[0] for m in (small(), small(**options))
        )
    assert torch.isfinite(ablated).all()
    assert not torch.equal(full, ablated)


def test_the_condition_in_two_dimensions_sees_the_middle_frame_alone() -> None:
    torch.manual_seed(0)
    thumbs = torch.rand(1, 7, 3, 64, 64)
    other = thumbs.clone()
    other[:, :3] = 1.0 - other[:, :3]
    with torch.no_grad():
        for form in ("2d", "3d"):
            net = ConditionNet(form, False, 4, 1, True)
            nn.init.normal_(net.tell.weight)
            same = torch.equal(net(thumbs)[0].scale, net(other)[0].scale)
            assert same == (form == "2d")


def test_it_learns_to_take_noise_away_within_some_steps() -> None:
    """From where it begins: the restored frame must gain, which it does not if its heads begin as noise."""
    torch.manual_seed(4)
    model = DIDNet(**SMALL).train()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    errors = []
    for _ in range(80):
        clean = nn.functional.interpolate(torch.rand(2, 3, 4, 4), (24, 24), mode="bilinear")[
            :, None
        ].expand(-1, 7, -1, -1, -1)
        noisy = clean + 0.1 * torch.randn_like(clean)
        restored = noisy[:, 3] + model.restore(model.alignment(noisy.flatten(1, 2)))
        loss = (restored - clean[:, 3]).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        errors.append(
            float(
                (restored - clean[:, 3]).square().mean()
                / (noisy[:, 3] - clean[:, 3]).square().mean()
            )
        )
    assert errors[0] == pytest.approx(1.0)
    assert sum(errors[-10:]) / 10 < 0.6


@pytest.fixture(scope="module")
def printed() -> DIDNet:
    torch.manual_seed(0)
    model = registry.build("didnet", "published")
    assert isinstance(model, DIDNet)
    initialise(model, "torch")
    return model


def test_the_published_form_has_the_papers_parameters(printed: DIDNet) -> None:
    """Table VII: 0.527 M, also without the 3D ConditionNet, which is then shown the middle frame alone."""
    given = {"form": "published", "condition": "middle"}
    for model in (printed, registry.build("didnet", given)):
        assert sum(p.numel() for p in model.parameters()) == pytest.approx(527_000, rel=0.01)


def test_the_published_form_restores_a_frame_and_reads_no_thumbnail(printed: DIDNet) -> None:
    spec = registry.spec("didnet", "published")
    assert (spec.thumb, spec.look, spec.greys, spec.past, spec.future) == (0, 0, False, 3, 3)
    frames = torch.rand(1, 7, 3, 64, 72)
    with torch.no_grad():
        codes, restored, state = printed.forward_with_aux(frames, {}, past=3, future=3)
        features = printed.alignment(frames.flatten(1, 2))
        # eq. 2: a convolution of the fused features, and nothing of the middle frame beside them
        torch.testing.assert_close(restored[:, 0], printed.restore(features))
        # eq. 7: deformed taps are summed as they are
        offset, mask = printed.alignment.offsets(frames.flatten(1, 2))
        weight, bias = printed.alignment.align.weight, printed.alignment.align.bias
        assert mask is None
        aligned = deform_conv2d(
            frames.flatten(1, 2), offset, torch.ones(1, 189, 64, 72), weight, bias
        )
        torch.testing.assert_close(
            features, printed.alignment.fuse(aligned.relu()), atol=1e-5, rtol=1e-4
        )
    assert codes.shape == restored.shape == (1, 1, 3, 64, 72) and state == {}


def test_every_weight_of_the_published_form_learns(printed: DIDNet) -> None:
    frames = torch.rand(2, 7, 3, 64, 64)
    codes, restored, _ = printed.forward_with_aux(frames, {}, past=3, future=3)
    (0.8 * codes.abs().mean() + 0.2 * restored.abs().mean()).backward()
    still = [n for n, p in printed.named_parameters() if p.grad is None or not p.grad.abs().max()]
    assert still == []


def test_the_mean_of_a_normalised_channel_is_the_same_for_every_picture() -> None:
    """Why the last module of the ConditionNet has no instance normalisation: seven positions, or any number, average out."""
    norm = nn.InstanceNorm3d(4, affine=True)
    pictures = 5 * torch.rand(3, 4, 7, 1, 1) + torch.rand(3, 4, 1, 1, 1)
    torch.testing.assert_close(
        norm(pictures).mean(dim=(2, 3, 4)), torch.zeros(3, 4), atol=1e-5, rtol=0
    )


def test_heads_of_the_published_form_stay_in_float32(printed: DIDNet) -> None:
    lower = to_precision(registry.build("didnet", "published"), torch.bfloat16)
    assert isinstance(lower, DIDNet)
    assert lower.conv_last.weight.dtype == lower.restore.weight.dtype == torch.float32
    assert lower.alignment.align.weight.dtype == torch.bfloat16
    with torch.no_grad():
        codes, restored, _ = lower.forward_with_aux(
            torch.rand(1, 7, 3, 64, 64), {}, past=3, future=3
        )
    assert codes.dtype == restored.dtype == torch.float32


def test_the_published_form_is_built_and_runs_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = registry.build("didnet", "published")
        assert isinstance(model, DIDNet)
        codes, restored, _ = model.forward_with_aux(
            torch.rand(1, 7, 3, 128, 128), {}, past=3, future=3
        )
    assert codes.shape == restored.shape == (1, 1, 3, 128, 128)
