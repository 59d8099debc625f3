"""What a GPU would do, on the meta device, which computes shapes alone and refuses every wait for a value.

The whole frame loop runs there for every model. A tensor that is made on the CPU in between, or a Python branch on a tensor,
would be a copy or a wait for each frame.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sdr2hdr.color.light import LightMeter
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.media.picture import Picture
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec, State
from sdr2hdr.render.on_device import DeviceStream
from sdr2hdr.render.renderer import Renderer, Run

META = torch.device("meta")
HEIGHT, WIDTH = 128, 256


class OnlyThere(TorchDispatchMode):
    """Refuses tensors that are made anywhere else than on the meta device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in tree_leaves(out):
            if isinstance(made, torch.Tensor) and made.device != META:
                raise AssertionError(f"{func} makes a tensor on the {made.device}")
        return out


def on_meta(name: str, tile: int | None = None, aux: bool = False) -> Renderer:
    """A renderer as on a GPU: nobody may name the meta device, so it is moved there once it is made."""
    spec = registry.spec(name)
    renderer = Renderer(
        registry.build(name), spec, (HEIGHT, WIDTH), device="cpu", precision="float32", tile=tile or 256, aux=aux
    )  # fmt: skip
    renderer.device = META
    renderer.model.to(META)
    renderer.weights = [w.to(META) for w in renderer.weights]
    return renderer


def pictures(count: int, deband: str) -> Iterator[Picture]:
    planes = [
        torch.zeros(HEIGHT >> s, WIDTH >> s, dtype=torch.uint8, device=META) for s in (0, 1, 1)
    ]
    for n in range(count):
        yield Picture(n, 1, tuple(planes), YuvLayout("bt709"), deband=deband)


def frames(renderer: Renderer, states: list[State], deband: str = "off") -> int:
    """Render a scene's second window and the frame after it, once its last frame has warmed up what is made once; how many
    frames came."""
    stream, spec = DeviceStream(renderer), renderer.spec
    meter, count = LightMeter(), 0
    end = 2 * spec.block + 1
    runs = Run(end - 1, end, 0, end), Run(spec.block, end, 0, end)
    for number, run in enumerate(runs):
        low, high = run.needs(spec)
        coming = stream.run(pictures(high - low, deband), run, states, range(100), settled=True)
        if number:
            with OnlyThere():
                for made in coming:
                    count += meter.add_light(made.light).is_meta
                    assert all(p.is_meta for p in (*made.planes, *(made.restored or ())))
        else:
            for made in coming:
                meter.add_light(made.light)
    return count


def look_of(spec: ModelSpec) -> torch.Tensor | None:
    return torch.zeros(spec.look, device=META) if spec.look else None


LONG = ("hdrvdiff", "kpnet-light", "didnet-tiny", "wmnet-deep")
"""Run with ``-m slow``: one takes half a minute, and the others are smaller forms of networks that are here."""

NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in LONG else name
    for name in registry.names()
    if name != "lut"
]


@pytest.mark.parametrize("name", NAMES)
def test_no_tensor_of_the_frame_loop_is_made_elsewhere_than_on_the_device(name: str) -> None:
    renderer = on_meta(name)
    spec = renderer.spec
    assert frames(renderer, renderer.new_states(look_of(spec))) == spec.block + 1


def test_nor_with_tiles_nor_of_a_restored_picture_nor_of_debanded_frames_whose_look_is_not_known() -> (
    None
):
    tiled = on_meta("fmstfnet", tile=224)
    assert len(tiled.tiles) > 1
    for renderer in (tiled, on_meta("didnet-tiny", aux=True)):
        states = renderer.new_states(look_of(renderer.spec))
        assert frames(renderer, states) == renderer.spec.block + 1
    assert frames(on_meta("look"), [{}], deband="auto") == registry.spec("look").block + 1


def test_the_measurement_finds_what_it_looks_for() -> None:
    x = torch.zeros(2, device=META)
    with OnlyThere(), pytest.raises(AssertionError, match="makes a tensor on the cpu"):
        x + torch.ones(2)
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(x.sum())
