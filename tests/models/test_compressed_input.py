"""KPNet and DIDNet on what they were not made for: tiny pictures, few frames, weights of another kind."""

from pathlib import Path

import av
import pytest
import torch
from media_makers import make_clip
from torch import nn

from sdr2hdr import convert, load_model
from sdr2hdr.errors import ModelError
from sdr2hdr.models import registry
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.save import save_weights

NAMES = ("kpnet", "kpnet-light", "didnet", "didnet-tiny")
SMALL = {"kpnet": {"channels": 16}, "didnet": {"channels": 16, "offset_channels": 8}}


def small(name: str) -> nn.Module:
    """A network whose output layers do something."""
    torch.manual_seed(0)
    model = registry.build(name, SMALL[name.partition("-")[0]])
    for part in ("conv_last", "restore"):
        if hasattr(model, part):
            nn.init.normal_(model.get_submodule(part).weight, std=0.2)  # type: ignore[arg-type]
    return model


@pytest.fixture(params=NAMES)
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    name, path = request.param, tmp_path / "small.safetensors"
    save_weights(
        path,
        name,
        small(name).state_dict(),
        {**registry.spec(name).config, **SMALL[name.partition("-")[0]]},
    )
    return name, path


def rendered(name: str, frames: torch.Tensor) -> torch.Tensor:
    size, run = tuple(frames.shape[-2:]), Run(0, len(frames), 0, len(frames))
    r = Renderer(
        small(name), registry.spec(name), size, device="cpu", precision="float32", tile=4096
    )
    return torch.stack(list(r.run(iter(frames), run, r.new_states())))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("count", "height", "width"), [(1, 2, 6), (2, 7, 33), (8, 5, 3)])
def test_pictures_below_the_multiple_and_short_scenes_come_out(
    name: str, count: int, height: int, width: int
) -> None:
    out = rendered(name, torch.rand(count, 3, height, width))
    assert out.shape == (count, 3, height, width)
    assert torch.isfinite(out).all() and out.std() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_one_pixel_is_that_of_a_picture_full_of_it(name: str) -> None:
    pixel, side = torch.rand(3, 3, 1, 1), registry.spec(name).multiple
    assert torch.allclose(
        rendered(name, pixel),
        rendered(name, pixel.expand(-1, -1, side, side))[..., :1, :1],
        atol=1e-5,
    )


@pytest.mark.parametrize("frames", [1, 3])
def test_a_file_of_one_frame_or_of_few_is_converted(
    weights: tuple[str, Path], tmp_path: Path, frames: int
) -> None:
    name, path = weights
    source, out = make_clip(tmp_path / "in.mkv", size=(70, 66), frames=frames), tmp_path / "out.mkv"
    convert(source, out, model=name, weights=str(path), preset="ultrafast")
    with av.open(str(out)) as file:
        pictures = list(file.decode(video=0))
    assert len(pictures) == frames
    assert (pictures[0].width, pictures[0].height) == (70, 66)  # no multiple of 4 or 8


def test_a_weight_of_another_variant_is_one_sentence(weights: tuple[str, Path]) -> None:
    name, path = weights
    for other in NAMES:
        if other != name:
            with pytest.raises(
                ModelError, match=f"is for model {name}, not for {other}; choose that model"
            ):
                load_model(other, weights=path)
