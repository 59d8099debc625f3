"""What a machine of a cluster says of itself."""

import pytest

pytest.importorskip("ray")

from sdr2hdr.cluster.node import mixed


def test_different_processors_are_named_unless_their_sums_are_equal() -> None:
    one, two = "Xeon (AVX512)", "EPYC (AVX2)"
    said = mixed([one, two], "bfloat16")
    assert said is not None
    assert one in said and two in said and "--precision float32" in said
    assert mixed([one], "bfloat16") is None
    assert mixed([one, two], "float32") is None
