"""Networks that repair before the look: what they may do to a picture, what the small one costs, and that they repair."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sdr2hdr.data.clips import Clip, to_planes
from sdr2hdr.data.splits import rng
from sdr2hdr.errors import ModelError
from sdr2hdr.media.transcode import through_codec
from sdr2hdr.models import registry
from sdr2hdr.models.base.corrections import EVEN, SDR_FAINT, spared
from sdr2hdr.models.base.steady import steadied
from sdr2hdr.models.look.network import Look
from sdr2hdr.models.look.repairing import Repairing, corrected
from sdr2hdr.models.model import RepairingModel
from sdr2hdr.models.parts.fast_trunk import DETAIL, bands, neighbours
from sdr2hdr.models.wmnet.fast import WMNetFast
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.opened import open_model


def loud() -> WMNetFast:
    """A network that would change its picture by far too much."""
    torch.manual_seed(0)
    net = WMNetFast().eval()
    nn.init.normal_(net.leave.weight, std=20.0)
    return net


SMALL_WMNET: dict[str, Any] = {"channels": 16, "blocks": 3}
SMALL_DIDNET: dict[str, Any] = {"channels": 16, "offset_channels": 8}
FIRST: dict[str, Any] = {"first_blocks": 1, "qp": True}
WITH_A_FIRST = [
    ("wmnet", {**SMALL_WMNET, **FIRST}),
    ("didnet", {**SMALL_DIDNET, **FIRST}),
    ("kpnet-light", {"channels": 16, "base": "repair", **FIRST}),
]


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("wmnet-fast", {}),
        ("wmnet", SMALL_WMNET),
        ("didnet", SMALL_DIDNET),
        ("kpnet-light", {"channels": 16, "base": "repair"}),
        *WITH_A_FIRST,
    ],
)
def test_before_training_it_is_the_look(model: str, config: dict[str, Any]) -> None:
    torch.manual_seed(1)
    net, look = registry.build(model, config), Look().eval()
    net.initialise()
    look.load_state_dict({k: v for k, v in net.state_dict().items() if k.startswith("reader.")})
    frames = 0.9 * torch.rand(1, 5, 3, 32, 32)  # nothing is clipped
    told = {"thumbs": torch.rand(1, 5, 3, 64, 64)}
    with torch.no_grad():
        a, _ = net(frames, {}, past=2, future=2, brightness=torch.tensor([2.5]), **told)
        b, _ = look(frames, {}, past=2, future=2, brightness=torch.tensor([2.5]), **told)
    assert torch.allclose(a, b, atol=1e-6)


def test_training_does_not_touch_the_reader_and_can_leave_the_look() -> None:
    """What spares intact areas would hold a correction that starts at nothing there for ever."""
    net = registry.build("wmnet", SMALL_WMNET).train()
    assert isinstance(net, RepairingModel)
    kept = {k: v.clone() for k, v in net.state_dict().items() if k.startswith("reader.")}
    net.initialise()
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items() if k in kept)
    frames = torch.rand(1, 3, 3, 32, 32)
    net.restored_frames(frames, range(3)).square().mean().backward()
    assert net.conv_last.weight.grad.abs().max() > 0  # type: ignore[union-attr,operator]


def noisy(model: str, config: dict[str, Any]) -> RepairingModel:
    """A network that changes its picture at once."""
    net = registry.build(model, config)
    assert isinstance(net, RepairingModel)
    net.initialise()
    heads = ("conv_last", "restore", "first.leave")
    for name, m in net.named_modules():
        if name in heads:
            nn.init.normal_(m.weight, std=1.0)  # type: ignore[arg-type]
        elif isinstance(m, nn.Conv3d):
            nn.init.normal_(m.weight, std=0.2)
    return net


@pytest.mark.parametrize(("model", "config"), [("wmnet", SMALL_WMNET), *WITH_A_FIRST])
def test_frames_that_share_work_are_what_each_is_alone(model: str, config: dict[str, Any]) -> None:
    net = noisy(model, config)
    assert net.shares_work
    frames = torch.rand(1, 9, 3, 32, 32)
    with torch.no_grad():
        together = net.restored_frames(frames, range(9))
        alone = torch.cat([net.restored_frames(frames, range(t, t + 1)) for t in range(9)], dim=1)
    assert torch.allclose(together, alone, atol=1e-5)
    assert (together - frames).abs().max() > 0.01


@pytest.mark.parametrize(("model", "config"), WITH_A_FIRST)
def test_with_a_first_network_the_spec_tells_what_both_see(
    model: str, config: dict[str, Any]
) -> None:
    """Frames further away than the spec's context change nothing; with the nearest one left out something changes."""
    net, spec = noisy(model, config), registry.spec(model, config)
    assert isinstance(net, Repairing)
    near, middle = net.sees + 1, 5
    assert spec.past == spec.future >= near and spec.qp
    frames = torch.rand(1, 11, 3, 32, 32)
    other = frames.clone()
    other[:, : middle - near] = other[:, middle + near + 1 :] = 0.5
    nearer = other.clone()
    nearer[:, middle - near] = 0.5
    with torch.no_grad():
        a, b, c = (
            net.restored_frames(x, range(middle, middle + 1)) for x in (frames, other, nearer)
        )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_first_network_that_is_told_the_qp_needs_blocks() -> None:
    for model in ("wmnet", "didnet"):
        with pytest.raises(ModelError, match="needs first_blocks"):
            registry.build(model, {"qp": True})


def test_faint_corrections_are_taken_back_and_strong_ones_are_not() -> None:
    faint, strong = (
        n * torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(2)) / 255
        for n in (0.1, 3.0)
    )
    assert spared(faint, SDR_FAINT).square().mean().sqrt() < 0.05 * faint.square().mean().sqrt()
    assert torch.allclose(spared(strong, SDR_FAINT), strong, rtol=0.05)
    # half of a picture is damaged: the other half, away from it, stays as it is
    half = torch.cat([strong, faint.repeat(1, 1, 1, 2)], dim=-1)
    found = spared(half, SDR_FAINT)
    assert found[..., 192:].square().mean() < 0.01 * faint.square().mean()
    assert torch.allclose(found[..., :48], strong[..., :48], rtol=0.06)


def test_what_is_faint_follows_the_qp_of_the_source() -> None:
    change = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(2)) * SDR_FAINT
    unknown = spared(change, SDR_FAINT)
    for qp in (torch.nan, EVEN):
        assert torch.allclose(spared(change, SDR_FAINT, torch.tensor([qp])), unknown, atol=1e-7)
    both = spared(change.expand(2, -1, -1, -1), SDR_FAINT, torch.tensor([12.0, 40.0]))
    assert both[0].abs().max() < 0.01 * change.abs().max()
    assert torch.allclose(both[1], change, rtol=0.01)


def test_a_grown_network_begins_as_the_smaller_one() -> None:
    small, grown = loud(), WMNetFast(blocks=8).eval()
    grown.initialise()
    missing, _ = grown.load_state_dict(small.state_dict(), strict=False)
    assert {name.split(".")[1] for name in missing} == {"2", "3", "4", "5", "6", "7"}
    frames = torch.rand(1, 3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(grown.restored(frames), small.restored(frames))


def test_no_code_changes_by_more_than_the_bound_nor_grey_nor_black() -> None:
    net = loud()
    frames = torch.rand(1, 3, 3, 32, 64)
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 3, 32, 64).contiguous()
    with torch.no_grad():
        change = (net.restored(frames) - frames[:, 1]).abs().max()
        grey = net.restored(ramp)[0]
    assert 0.98 * net.bound < change <= net.bound + 1e-6
    assert torch.allclose(grey, grey[:1].expand_as(grey), atol=1e-6)
    assert grey[..., 0].abs().max() == 0


def test_it_costs_at_most_forty_billion_operations_a_megapixel() -> None:
    net = WMNetFast()
    with FlopCounterMode(display=False) as counted:
        net.restored(torch.rand(1, 3, 3, 64, 64))
    count = counted.get_total_flops()
    assert 0.5 * 40e9 < count / (64 * 64) * 1e6 <= 40e9


def damaged(qp: int) -> tuple[Tensor, Tensor]:
    """Five frames of a drawing of circles before and after a codec, ``5,3,96,128``."""
    t, y, x = torch.meshgrid(torch.arange(5), torch.arange(96), torch.arange(128), indexing="ij")
    frames = torch.zeros(5, 3, 96, 128) + 0.3
    for k in range(12):
        far = ((x - 12 * k - t) ** 2 + (y - (37 * k) % 96) ** 2).float().sqrt()
        inside = (far < 6 + 3 * (k % 4))[:, None]
        colour = torch.tensor([0.2 + 0.06 * k, 0.9 - 0.05 * k, 0.5 + 0.03 * (k % 5)])
        frames = torch.where(inside, colour[:, None, None], frames)
    planes = to_planes(frames, rng(1, "train", 1))

    codes = torch.zeros(5, 3, 96, 128, dtype=torch.int32)
    clip = Clip(through_codec(planes, "libx264", qp), planes, codes, "", "", qp, 2.5)
    return clip.undamaged(), clip.sdr()


@pytest.mark.parametrize("qp", [37, 42])
@pytest.mark.parametrize("model", ["wmnet-fast", "wmnet-deep", "wmnet"])
def test_the_bundled_weights_repair_what_a_codec_took(model: str, qp: int) -> None:
    clean, source = damaged(qp)
    with torch.no_grad():
        restored = open_model(model).model.restored(source[None])[0]  # type: ignore[operator]
    before, after = ((p - clean[2]).square().mean() for p in (source[2], restored))
    assert after < 0.97 * before  # 0.13 dB


def test_tables_give_what_the_formula_gives() -> None:
    """A compiled conversion maps repaired frames through a table; the renderer alone by the formula."""
    pytest.importorskip("numba")
    from sdr2hdr.kernels.reading import AS_IT_IS
    from sdr2hdr.kernels.table import grid, packed_table
    from sdr2hdr.kernels.writing import mapped, packed

    opened = open_model("wmnet-fast")
    frames = damaged(37)[1]
    renderer = Renderer(
        opened.model, opened.spec, (96, 128), device="cpu", precision="float32", tile=4096
    )
    look = opened.model.read_look(torch.rand(1, 3, 64, 64), torch.tensor([2.5]))[0]
    run, states = Run(0, 5, 0, 5), renderer.new_states(look)
    table = packed_table(renderer.mapped(grid(), states[0]))
    whole = list(renderer.run(iter(frames), run, states))
    for number, restored in enumerate(renderer.repaired(iter(frames), run)):
        sdr = restored + (steadied(frames[None], number)[0] - frames[number])
        by_table = mapped(tuple(sdr.clamp(0, 1).unbind()), AS_IT_IS, table, number)
        by_formula = packed(whole[number], seed=number, peak_code=1.0)
        for a, b in zip(by_table, by_formula, strict=True):
            apart = (a.int() - b.int()).abs().float()
            assert apart.mean() < 0.1 and apart.max() <= 3


def test_kernels_see_the_bands_of_the_formula(threads: Callable[[int], None]) -> None:
    """To the bit, whatever the number of threads."""
    pytest.importorskip("numba")
    from sdr2hdr.kernels import haar

    for height, width in ((2, 2), (8, 16), (24, 10), (66, 102)):
        clip = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(height))
        expected = list(bands(clip[None], range(4), torch.bfloat16))
        for count in (1, 3):
            threads(count)
            found = [
                haar.bands(clip[a], clip[t], clip[b], DETAIL) for a, t, b in neighbours(range(4), 4)
            ]
            for one, other in zip(found, expected, strict=True):
                assert torch.equal(one, other)
                assert one.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("qp", [None, torch.nan, 20.0, 37.0])
def test_kernels_correct_as_the_formula_does(
    first: bool, qp: float | None, threads: Callable[[int], None]
) -> None:
    """With grey and black places, outputs of all sizes, and faint corrections; whatever the number of threads."""
    pytest.importorskip("numba")
    from sdr2hdr.render.compiled import _corrected

    net = noisy(*WITH_A_FIRST[0]) if first else noisy("wmnet-fast", {})
    assert isinstance(net, Repairing)
    told = None if qp is None else torch.tensor([qp])
    generator = torch.Generator().manual_seed(4)
    for height, width in ((8, 8), (16, 40), (88, 136)):
        frame = torch.rand(1, 3, height, width, generator=generator)
        frame[..., : width // 2] = frame[:, :1, :, : width // 2]
        frame[..., : height // 3, :] *= 0.05
        seen = frame + 0.02 * torch.randn(frame.shape, generator=generator) if first else frame
        strength = torch.linspace(0.001, 1, width) ** 2
        output = strength * torch.randn(frame.shape, generator=generator)
        expected = corrected(net, frame, seen, output, told)
        found = []
        for count in (1, 3):
            threads(count)
            found.append(_corrected(net, frame, seen, output, told))
        assert torch.equal(*found)
        assert (found[0] - expected).abs().max() < 2e-6
        assert (expected - frame).abs().max() > 0.5 * net.bound


def test_kernels_refuse_frames_that_they_would_read_beyond() -> None:
    pytest.importorskip("numba")
    from sdr2hdr.kernels.correcting import Limits
    from sdr2hdr.kernels.correcting import corrected as by_kernel

    for shape in ((3, 12, 16), (3, 16, 12)):
        frame = torch.rand(shape)
        with pytest.raises(ValueError, match="multiples of 8"):
            by_kernel(frame, frame, frame, Limits(0.1, 0.04, 0.004))
