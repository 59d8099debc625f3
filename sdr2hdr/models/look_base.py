"""The former ``look``, which guesses the brightness of each scene. Training starts from its reader."""

from dataclasses import replace

import torch
from torch import Tensor

from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.base.reader import VECTOR
from sdr2hdr.models.look.network import LOOK_SPEC
from sdr2hdr.models.model import Window
from sdr2hdr.models.spec import State

LOOK_BASE_SPEC = replace(
    LOOK_SPEC,
    name="look-base",
    title="The former look, which guesses the brightness; fast",
    paper="our own, after the global branches of Chen et al., HDRTVNet (ICCV 2021)",
    look=VECTOR,
    brightness=False,
)


class LookBase(OnBase):
    """The base ``look`` without a correction."""

    def __init__(self) -> None:
        super().__init__("look")

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        out = []
        for t in window.inner:
            look, state = self.scene_look(window, t, state)
            out.append(self.mapped(self.base_frame(window.frames, t), look))
        return torch.stack(out, dim=1), state
