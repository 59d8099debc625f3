"""What holds for every model: abilities are in the spec, and networks correct a base they do not own in one way."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.look.network import Look
from sdr2hdr.models.model import MaskedModel, RestoringModel

PACKAGE = Path(registry.__file__).parent.parent
NETWORKS = ("wmnet", "kpnet", "didnet", "fmstfnet", "hdrvdiff")
SMALL: dict[str, dict[str, Any]] = {
    "wmnet": {"channels": 16, "blocks": 3, "base": "look", "attention": "tokens"},
    "kpnet": {"channels": 16},
    "kpnet-light": {"channels": 16},
    "didnet-tiny": {"channels": 16, "offset_channels": 8},
    "fmstfnet": {"channels": 16, "high": (16, 16), "blocks": 1},
}
"""Networks that correct codes of a base, small; HDR-V-Diff corrects its base in another domain."""


def loud(name: str, base: str) -> OnBase:
    """A network that would change its base by far too much."""
    torch.manual_seed(0)
    model = registry.build(name, {**SMALL[name], "base": base})
    assert isinstance(model, OnBase)
    for key, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and key.startswith("conv_last"):
            nn.init.normal_(module.weight, std=20.0)
    for reader in (model.look, model.reader):
        for p in reader.parameters() if reader is not None else ():
            nn.init.normal_(p, std=0.1)
    return model


@pytest.mark.parametrize("name", registry.names())
def test_a_spec_names_the_abilities_of_its_class(name: str) -> None:
    spec = registry.spec(name)
    network = registry.network(name).form(spec.config)
    assert spec.has_aux == issubclass(network, RestoringModel)
    assert ("masked" in spec.tasks) == issubclass(network, MaskedModel)
    assert (spec.look > 0) == issubclass(network, OnBase | Look)
    assert spec.thumb or not spec.look


@pytest.mark.parametrize("name", [n for n in registry.names() if registry.spec(n).look])
def test_a_look_is_as_long_as_the_spec_says_and_a_state_begins_with_it(name: str) -> None:
    model, spec = registry.build(name), registry.spec(name)
    look = model.read_look(torch.rand(2, 3, spec.thumb, spec.thumb), torch.full((2,), 2.5))
    assert look.shape == (2, spec.look)
    assert any(torch.equal(t, look) for t in model.new_state((16, 16), look).values())
    assert model.new_state((16, 16)) == {}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_on_another_base_a_network_reads_no_look(name: str) -> None:
    for base in ("bt2408", "none"):
        assert registry.spec(name, {"base": base}).look == 0
        with pytest.raises(ValueError, match="reads no look"):
            registry.build(name, {**SMALL[name], "base": base}).read_look(
                torch.rand(1, 3, 64, 64), torch.ones(1)
            )


def test_published_memory_is_not_recalled_from_thumbnails() -> None:
    tokens = {"base": "look", "attention": "tokens"}
    assert registry.spec("wmnet", tokens).state_from_thumbs
    assert not registry.spec("wmnet", {**tokens, "attention": "published"}).state_from_thumbs


@pytest.mark.parametrize("name", [n for n in registry.names() if registry.spec(n).look])
def test_missing_thumbnails_are_named(name: str) -> None:
    model, spec = registry.build(name, SMALL.get(name)), registry.spec(name)
    side = max(spec.multiple, 8)
    with pytest.raises(ValueError, match="needs thumbs"):
        model(torch.rand(1, 1, 3, side, side), {})


@pytest.mark.parametrize("base", ["told", "look", "bt2408"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_no_network_changes_a_code_by_more_than_sixteen_nor_grey_nor_black(
    name: str, base: str
) -> None:
    model = loud(name, base)
    frames, thumbs = torch.rand(1, 1, 3, 32, 64), torch.rand(1, 1, 3, 64, 64)
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 3, 32, 64).contiguous()
    told = torch.tensor([2.5])
    with torch.no_grad():
        look = model.read_look(thumbs[:, 0], told) if model.look is not None else None
        if isinstance(model, RestoringModel):  # its base maps the restored frame
            codes, frame, _ = model.forward_with_aux(frames, {}, thumbs=thumbs, brightness=told)
        else:
            codes, frame = model(frames, {}, thumbs=thumbs, brightness=told)[0], frames
        uncorrected = model.base_codes(frame[:, 0].clamp(0, 1), look)
        change = (codes[:, 0] - uncorrected).abs().max() * 1023
        grey = model(ramp, {}, thumbs=thumbs, brightness=told)[0][0, 0]
    weakened = 16 / (
        1 + (1023 * model.faint / 16) ** 2
    )  # little, because all around is changed as much
    assert weakened - 0.2 < change <= weakened + 0.001
    assert torch.allclose(grey, grey[:1].expand_as(grey), atol=1e-5)
    assert pq_eotf(grey[..., 0]).max() < 0.001


@pytest.mark.parametrize("base", ["told", "look"])
@pytest.mark.parametrize("name", [*sorted(SMALL), "hdrvdiff"])
def test_training_starts_from_the_base_and_with_the_readers_weights(name: str, base: str) -> None:
    model = registry.build(name, {**SMALL.get(name, {}), "base": base})
    assert isinstance(model, OnBase) and model.look is not None
    readers = {k: v for k, v in model.state_dict().items() if k.startswith(("look.", "reader."))}
    for p in readers.values():
        nn.init.normal_(p, std=0.02)
    kept = {k: v.clone() for k, v in readers.items()}
    model.initialise()
    assert all(torch.equal(v, kept[k]) for k, v in readers.items())
    frames, thumbs = torch.rand(1, 1, 3, 64, 64), torch.rand(1, 1, 3, 64, 64)
    told = torch.ones(1)
    with torch.no_grad():
        codes, _ = model(frames, {}, thumbs=thumbs, brightness=told)
        base_codes = model.base_codes(frames[:, 0], model.read_look(thumbs[:, 0], told))
    assert torch.allclose(codes[:, 0], base_codes, atol=1e-4)


def test_nothing_of_a_networks_inside_is_imported_outside_its_room() -> None:
    """Only training, whose tasks for HDR-V-Diff train its parts, knows networks by name."""
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        if room in ("models", "training"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "sdr2hdr.models."
            ):
                assert (node.module or "").split(".")[2] not in NETWORKS, (
                    f"{path} imports {node.module}"
                )


@pytest.mark.parametrize("name", [n for n in registry.names() if registry.spec(n).published])
def test_a_published_form_is_a_configuration_of_its_own(name: str) -> None:
    """It says all that the spec's configuration says, so that a weight's configuration, written out, is the same network."""
    named = registry.spec(name, "published")
    assert set(registry.spec(name).config) <= set(named.config)
    assert registry.spec(name, named.config) == named
    assert (named.config["base"], named.look, named.greys) == ("none", 0, False)


def test_a_configuration_that_is_not_there_is_one_sentence() -> None:
    for name, config in (("didnet", "printed"), ("look", "published")):
        with pytest.raises(ModelError, match=f"Model {name} has no configuration"):
            registry.build(name, config)


def test_options_may_differ_from_a_named_configuration() -> None:
    changed = registry.configuration("didnet", {"form": "published", "masks": True})
    assert changed == {**registry.configuration("didnet", "published"), "masks": True}
