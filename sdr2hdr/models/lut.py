"""The user's colour table as a model: maps each pixel from BT.709 R'G'B' to PQ codes in BT.2020."""

import torch
from torch import Tensor

from sdr2hdr.color.cube import Cube
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.spec import ModelSpec, State

LUT_SPEC = ModelSpec(
    name="lut",
    title="Your own colour table (.cube)",
    paper="Adobe, Cube LUT Specification 1.0",
    tasks=(),
)


class LutMapping(Model):
    """A table of ``size`` entries along each of ``dimensions`` (1 or 3) edges; its numbers are filled in like weights.

    It maps SDR R'G'B' codes of BT.709, full range, to PQ codes of BT.2020, full range.
    """

    def __init__(self, size: int = 2, dimensions: int = 3) -> None:
        super().__init__()
        shape = (size,) if dimensions == 1 else (size,) * 3
        self.register_buffer("table", torch.zeros(*shape, 3))
        self.register_buffer("domain", torch.tensor([[0.0] * 3, [1.0] * 3]))

    table: Tensor
    domain: Tensor

    @property
    def cube(self) -> Cube:
        """The table and its domain."""
        low, high = (tuple(x) for x in self.domain.tolist())
        return Cube(self.table.float(), low=low, high=high)

    def greys(self, codes: Tensor, state: State) -> Tensor:
        return self.cube(codes.expand(3, 1, -1))[1, 0]

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        return self.cube(window.frames[:, window.inner.start : window.inner.stop]), state
