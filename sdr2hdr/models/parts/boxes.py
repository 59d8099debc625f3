"""Sums over squares of pixels."""

from torch import Tensor


def box_sums(planes: Tensor, side: int) -> Tensor:
    """Sums over each ``side`` x ``side`` pixels of ``B,C,H,W``: ``B,C,H-side+1,W-side+1``; ``side`` is at least 1.

    Runs of 1, 2, 4 ... pixels are added up, which takes a few passes; ``avg_pool2d`` takes several times as long on a CPU.
    """
    for axis in (-2, -1):
        planes = _runs(planes, side, axis)
    return planes


def _runs(planes: Tensor, side: int, axis: int) -> Tensor:
    """Sums over each ``side`` pixels along an axis."""
    left = planes.shape[axis] - side + 1
    run, length, done = planes, 1, side % 2
    total = planes.narrow(axis, 0, left) if done else None
    while done < side:
        size = run.shape[axis] - length
        run = run.narrow(axis, 0, size) + run.narrow(axis, length, size)
        length *= 2
        if side & length:
            part = run.narrow(axis, done, left)
            total = part if total is None else total + part
            done += length
    return planes if total is None else total
