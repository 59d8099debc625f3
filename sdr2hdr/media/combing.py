"""Combing: the mark that two fields of different times leave in one picture.

The measure is that of HandBrake's comb detection: lines that differ from both neighbours in the
same direction and agree with the next line but one, where the picture moves. A still picture has
none, whether its fields belong together or not."""

import torch
from av.video.frame import VideoFrame
from torch import Tensor

from sdr2hdr.media.picture import planes_of

_COLUMNS = 4  # every fourth column is looked at
_STEP = 10  # codes of 8 bits between a line and its neighbours
_MOVED = 6  # codes of 8 bits between this picture and those beside it
_BLOCK = 16  # lines and columns of a block
_SHARE = 0.2  # of a block's samples that are combed in a block that counts


def luma_lines(frame: VideoFrame) -> Tensor:
    """A thinned copy of a planar frame's first colour plane, int16 ``H,W/4`` in codes of 8 bits."""
    plane = planes_of(frame)[0][:, ::_COLUMNS]
    shift = frame.format.components[0].bits - 8
    return (plane.to(torch.int32) >> shift).to(torch.int16) if shift else plane.to(torch.int16)


def combed_blocks(before: Tensor | None, lines: Tensor, after: Tensor | None) -> tuple[int, int]:
    """How many blocks of a picture are combed, and how many it has; the pictures beside it tell
    what moves."""
    height = lines.shape[0] // _BLOCK * _BLOCK
    width = lines.shape[1] // (_BLOCK // _COLUMNS) * (_BLOCK // _COLUMNS)
    if height < 2 * _BLOCK or not width:
        return 0, 0
    lines = lines[:height, :width]
    down = lines[1:] - lines[:-1]  # to the next line
    up, on = down[:-1], down[1:]
    peak = ((up > _STEP) & (on < -_STEP)) | ((up < -_STEP) & (on > _STEP))
    # a line that stands out between two alike, next to another one: a single bright line is not combing
    comb = peak[1:] & peak[:-1]
    count = (height // _BLOCK) * (width * _COLUMNS // _BLOCK)
    if not bool(comb.any()):
        return 0, count
    for other in (before, after):
        if other is not None:
            moved = (lines - other[:height, :width]).abs_() > _MOVED
            comb &= moved[1:-2] | moved[2:-1]
    padded = torch.zeros(height, width)
    padded[1:-2] = comb
    blocks = torch.nn.functional.avg_pool2d(padded[None, None], (_BLOCK, _BLOCK // _COLUMNS))
    return int((blocks >= _SHARE).sum()), count
