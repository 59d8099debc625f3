"""The static mappings that a network can correct, by name."""

from collections.abc import Callable

from torch import Tensor

from sdr2hdr.color import tonemap

MAPPINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "bt2408": tonemap.bt2408,
    "bt2446a": tonemap.bt2446a,
}
"""Each takes SDR BT.709 R'G'B' ``...,3,H,W`` 0..1 in float32 to BT.2020 light in nits."""
