"""Pictures as their file stores them, and what is read of them without making R'G'B' of every pixel."""

from collections.abc import Hashable
from typing import Protocol

from torch import Tensor

from sdr2hdr.color.turn import Turn
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.kernels.compiled import why_not
from sdr2hdr.models.inputs import thumbnail


class Coded(Protocol):
    """A picture as its file stores it, and what it means; :class:`sdr2hdr.media.picture.Picture` is one."""

    @property
    def planes(self) -> tuple[Tensor, ...]: ...
    @property
    def layout(self) -> YuvLayout: ...
    @property
    def turn(self) -> Turn: ...
    @property
    def deband(self) -> str: ...

    @property
    def coding(self) -> Hashable:
        """All that decides how the planes are read, but their size."""

    @property
    def recodes(self) -> bool:
        """Whether :meth:`recoded` gives other values than it is given."""

    def recoded(self, rgb: Tensor) -> Tensor:
        """BT.709 R'G'B' of the file's R'G'B', pixel by pixel."""

    def rgb(self) -> Tensor:
        """Upright BT.709 R'G'B' ``3,H,W`` 0..1."""


def thumbnail_of(picture: Coded, size: int) -> Tensor:
    """The whole picture as R'G'B' ``3,size,size`` 0..1, by area averaging.

    Kernels average it as they read the planes. A picture that is recoded is made whole first, because the mean of recoded pixels
    is not the recoded mean.
    """
    if why_not() is None and not picture.recodes:
        from sdr2hdr.kernels import reading, small

        if reading.can_read(picture.layout):
            small_one = small.thumbnail(picture.planes, reading.reading(picture.layout), size)
            return picture.turn(small_one)
    return thumbnail(picture.rgb()[None, None], size)[0, 0]
