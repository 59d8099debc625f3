"""The model ``look``: the tone and colour mapping that a scene's thumbnails ask for, at the brightness that a person asks for."""

import torch
from torch import Tensor

from sdr2hdr.models.base.reader import known, remembered
from sdr2hdr.models.base.steady import STEADY_REACH, steadied
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.reader import SceneReader
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.spec import ModelSpec, State

LOOK_SPEC = ModelSpec(
    name="look",
    title="Global mapping that the scene asks for, at your brightness; fast",
    paper="our own; curve and colour measured on real grades",
    past=STEADY_REACH,
    future=STEADY_REACH,
    block=8,
    stateful=True,
    thumb=64,
    look=tone.NUMBERS,
    state_from_thumbs=True,
    brightness=True,
    pixelwise=True,
    tile=1024,
    overlap=0,
    tolerance=0.0001,
    precisions=("float32",),
    bytes_per_pixel=400,
)


class Look(Model):
    """A reader of looks and the mapping of its 18 numbers, on frames that are :func:`steadied`."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = SceneReader()

    def new_state(self, size: tuple[int, int], look: Tensor | None = None) -> State:
        return {} if look is None else known(look)

    def read_look(self, thumbs: Tensor, brightness: Tensor) -> Tensor:
        looks: Tensor = self.reader(thumbs, brightness)
        return looks

    def greys(self, codes: Tensor, state: State) -> Tensor:
        grey = codes.expand(1, 3, 1, -1)
        return tone.mapped(grey, state["look"][:1].float())[0, 1, 0]

    def scene_look(self, window: Window, t: int, state: State) -> tuple[Tensor, State]:
        """The look ``B,18`` of the scene up to frame ``t`` and the state that holds it."""
        return remembered(lambda: self.read_look(window.thumb(t), window.told), state)

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        out = []
        for t in window.inner:
            look, state = self.scene_look(window, t, state)
            out.append(tone.mapped(steadied(window.frames, t), look))
        return torch.stack(out, dim=1), state
