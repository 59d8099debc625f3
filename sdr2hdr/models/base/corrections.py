"""The limits of a correction: it is small, leaves black alone, and adds no colour to grey areas."""

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 0.05
"""The change of a base or a frame by an output of 1.

A codec's damage is a few hundredths, and Adam moves every weight of a layer by the learning rate: without the scale, one
step of the output layer would change the picture by more than the damage.
"""

BOUND = 16 / 1023
"""The largest change of a base's code by a network. Nearly all repairs are smaller. Without a bound, dark areas of real
films lost up to 43 codes of their blue: a cast, learnt from chroma noise.
"""


def bounded(added: Tensor, frame: Tensor, *, scale: float, reach: int, bound: float) -> Tensor:
    """The correction ``B,3,H,W`` in float32 that an output ``added`` comes to for a frame ``B,3,H,W``: scaled,
    :func:`guarded` and within ``bound``."""
    return (scale * guarded(added.float(), frame.float(), reach)).clamp(-bound, bound)


def guarded(added: Tensor, frame: Tensor, reach: int = 4) -> Tensor:
    """A correction ``B,3,H,W`` that adds no colour to a frame where it is grey, and nothing where it is black.

    A pixel is grey if nothing within ``reach`` to ``2 * reach`` pixels has any colour, so that a grey pixel among others can
    be corrected. Sides are multiples of ``reach``.
    """
    brightest = frame.amax(1, keepdim=True)
    colour = F.max_pool2d(brightest - frame.amin(1, keepdim=True), reach)
    colour = F.interpolate(
        F.max_pool2d(colour, 3, 1, 1), scale_factor=float(reach), mode="bilinear"
    )
    return torch.lerp(added.mean(1, keepdim=True), added, (8 * colour).clamp_max(1)) * (
        10 * brightest
    ).clamp(0, 1)
