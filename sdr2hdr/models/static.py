"""Static mappings as models: no weights, no memory, each pixel alone."""

from dataclasses import replace

from torch import Tensor

from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.models.base.mappings import MAPPINGS
from sdr2hdr.models.model import Model, Window
from sdr2hdr.models.spec import ModelSpec, State

BT2408_SPEC = ModelSpec(
    name="bt2408",
    title="Direct mapping, SDR white to 203 nits",
    paper="ITU-R BT.2408-7, clause 5.1.3",
    has_weights=False,
    pixelwise=True,
    tasks=(),
    config={"mapping": "bt2408"},
)
BT2446A_SPEC = replace(
    BT2408_SPEC,
    name="bt2446a",
    title="Graded expansion to 1000 nits, method A",
    paper="ITU-R BT.2446-1, clause 4.2",
    config={"mapping": "bt2446a"},
)


class StaticMapping(Model):
    """A mapping of :mod:`sdr2hdr.color.tonemap` behind the model contract; computes in float32 in every precision."""

    def __init__(self, mapping: str) -> None:
        super().__init__()
        self.mapping = MAPPINGS[mapping]

    def greys(self, codes: Tensor, state: State) -> Tensor:
        return pq_inverse_eotf(self.mapping(codes.expand(3, 1, -1)))[1, 0]

    def render(self, window: Window, state: State) -> tuple[Tensor, State]:
        inner = window.frames[:, window.inner.start : window.inner.stop]
        return pq_inverse_eotf(self.mapping(inner.float())), state
