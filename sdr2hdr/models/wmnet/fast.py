"""A small network that repairs the SDR picture before the look maps it: the one for a laptop.

It sees three frames as Haar bands of half size, works mostly at a quarter, and adds what is missing to the middle frame. A
learnt gate on the strength of the whole correction was tried: it closed within a thousand steps, and nothing was learnt behind
it.
"""

from dataclasses import replace

from sdr2hdr.models.base.steady import STEADY_REACH
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.repairing import Repairing
from sdr2hdr.models.parts.fast_trunk import FastTrunk
from sdr2hdr.models.spec import ModelSpec

WMNET_FAST_SPEC = ModelSpec(
    name="wmnet-fast",
    title="Small network that repairs compression before the look; for laptops",
    paper="our own, after Zhang et al., WMNet: wavelet bands and neighbouring frames, at a sixteenth of its cost",
    past=STEADY_REACH,
    future=STEADY_REACH,
    block=8,
    multiple=8,
    stateful=True,
    thumb=64,
    look=tone.NUMBERS,
    state_from_thumbs=True,
    brightness=True,
    qp=True,
    tile=1024,
    overlap=128,
    margin=48,
    tolerance=0.004,
    precisions=("float32", "bfloat16"),
    bytes_per_pixel=400,
    has_aux=True,
    tasks=("mapping", "restoration", "repair"),
    config={"channels": 32, "deep": 64, "blocks": 2},
)

WMNET_DEEP_SPEC = replace(
    WMNET_FAST_SPEC,
    name="wmnet-deep",
    title="The same network with more layers; repairs more",
    paper="our own, after Zhang et al., WMNet: wavelet bands and neighbouring frames, at a sixth of its cost",
    overlap=192,
    margin=72,
    config={"channels": 32, "deep": 64, "blocks": 8},
)


class WMNetFast(FastTrunk, Repairing):
    """The repairing network in front of :class:`Look`."""

    sees = 1

    def __init__(
        self, channels: int = 32, deep: int = 64, blocks: int = 2, qp: bool = False
    ) -> None:
        super().__init__()
        self.build(channels, deep, blocks, qp)

    def initialise(self) -> None:
        self.start()
