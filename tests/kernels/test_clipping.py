"""Clipped areas in compiled kernels are lit as the formula lights them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sdr2hdr.color import clipped
from sdr2hdr.kernels import compiled
from sdr2hdr.models.look import tone

if compiled.why_not() is not None:
    pytest.skip(f"no kernels here: {compiled.why_not()}", allow_module_level=True)

from sdr2hdr.kernels.clipping import lit
from sdr2hdr.kernels.reading import AS_IT_IS
from sdr2hdr.kernels.table import axis, grid, packed_table
from sdr2hdr.kernels.writing import mapped, packed


def bright(height: int, width: int) -> Tensor:
    """A smooth picture ``3,H,W`` that is white in places."""
    few = torch.rand(
        1, 3, height // 12 + 3, width // 12 + 3, generator=torch.Generator().manual_seed(5)
    )
    sizes = (height, width)
    wide = torch.nn.functional.interpolate(few, sizes, mode="bilinear", align_corners=True)[0]
    return (0.6 + 0.7 * wide).clamp(0, 1)


@pytest.mark.parametrize("size", [(230, 97), (5, 7), (1, 40), (96, 64)])
def test_kernels_give_what_the_formula_gives(size: tuple[int, int]) -> None:
    picture = bright(*size)
    wanted = clipped.lit(picture[None])[0]
    assert (wanted - picture).abs().max() > 0.01
    torch.testing.assert_close(lit(picture), wanted, atol=1e-6, rtol=0)


def test_rows_far_from_clipped_areas_are_copied() -> None:
    picture = bright(400, 30)
    picture[:, 40:380] *= 0.8
    torch.testing.assert_close(lit(picture), clipped.lit(picture[None])[0], atol=1e-6, rtol=0)
    dark = 0.9 * picture
    assert lit(dark) is dark


def test_a_table_goes_on_above_code_one() -> None:
    """Within a code of the formula, where tables up to 1 are as well."""
    look = tone.bounded(torch.tensor([[2.5, *[0.0] * 17]]))

    def codes(sdr: Tensor) -> Tensor:
        return tone.mapped(sdr[None], look)[0]

    assert axis()[64] == 1 and axis()[-1] >= clipped.HIGHEST
    table = packed_table(codes(grid()))
    ramp = torch.linspace(0.9, clipped.HIGHEST, 256).expand(3, 64, 256).clone()
    ramp[0] *= torch.linspace(0.9, 1.0, 64)[:, None]
    by_table = mapped(tuple(ramp.unbind()), AS_IT_IS, table, 1)
    for a, b in zip(by_table, packed(codes(ramp), seed=1, peak_code=1.0), strict=True):
        assert (a.int() - b.int()).abs().max() <= 1


def test_bands_of_threads_change_nothing(threads: Callable[[int], None]) -> None:
    picture = bright(230, 97)
    threads(1)
    alone = lit(picture)
    threads(3)
    assert torch.equal(lit(picture), alone)
