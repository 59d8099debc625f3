"""The orientation of a stored picture."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """How a stored picture is put upright: transposed first, then flipped top to bottom, then left to right."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """``...,H,W`` to the upright ``...,H,W`` (or ``W,H``), contiguous."""
        if x.dtype is torch.uint16:  # which torch does not flip
            return self(x.view(torch.int16)).view(torch.uint16)
        if self.transpose:
            x = x.transpose(-1, -2)
        dims = [dim for dim, flip in ((-2, self.flip_rows), (-1, self.flip_columns)) if flip]
        return (x.flip(dims) if dims else x).contiguous()

    @property
    def inverse(self) -> "Turn":
        """The turn from the upright picture back to the stored one."""
        rows, columns = self.flip_rows, self.flip_columns
        return Turn(self.transpose, *((columns, rows) if self.transpose else (rows, columns)))

    @property
    def degrees(self) -> int:
        """Clockwise degrees, 0, 90, 180 or 270, of the rotation in it; a mirror image counts with its left-right flip undone."""
        rotations = {(False, False): 0, (True, False): 90, (False, True): 180, (True, True): 270}
        return rotations[self.transpose, self.flip_rows]

    @property
    def mirrored(self) -> bool:
        """Whether the picture is a mirror image as well: its handedness changes with every one of the three steps."""
        return self.transpose ^ self.flip_rows ^ self.flip_columns


UPRIGHT = Turn()
"""No turn at all."""
