"""Static mappings as models: no weights, no memory, each pixel alone."""

from collections.abc import Callable

from torch import Tensor, nn

from sdr2hdr.color import tonemap
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.models.spec import ModelSpec, State

BT2408_SPEC = ModelSpec(
    name="bt2408",
    title="Direct mapping, SDR white to 203 nits",
    paper="ITU-R BT.2408-7, clause 5.1.3",
    has_weights=False,
)
BT2446A_SPEC = ModelSpec(
    name="bt2446a",
    title="Graded expansion to 1000 nits, method A",
    paper="ITU-R BT.2446-1, clause 4.2",
    has_weights=False,
)

MAPPINGS: dict[str, Callable[[Tensor], Tensor]] = {"bt2408": tonemap.bt2408, "bt2446a": tonemap.bt2446a}


class StaticMapping(nn.Module):
    """A mapping of :mod:`sdr2hdr.color.tonemap` behind the model contract; computes in float32 whatever it is given."""

    def __init__(self, mapping: str) -> None:
        super().__init__()
        self.mapping = MAPPINGS[mapping]

    def new_state(self, size: tuple[int, int]) -> State:
        return {}

    def forward(
        self, frames: Tensor, state: State, *, past: int = 0, future: int = 0, thumbs: Tensor | None = None
    ) -> tuple[Tensor, State]:
        inner = frames[:, past : frames.shape[1] - future]
        return pq_inverse_eotf(self.mapping(inner.float())), state
