"""The limits of a correction: it is small, leaves black and intact areas alone, and adds no colour to grey ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALE = 0.05
"""The change of a base or a frame by an output of 1.

A codec's damage is a few hundredths, and Adam moves every weight of a layer by the learning rate: without the scale, one
step of the output layer would change the picture by more than the damage.
"""

BOUND = 16 / 1023
"""The largest change of a base's code by a network. Nearly all repairs are smaller. Without a bound, dark areas of real
films lost up to 43 codes of their blue: a cast, learnt from chroma noise.
"""


FAINT = 1.5 / 1023
"""The change of a base's codes that :func:`spared` halves."""

SDR_FAINT = 0.5 / 255
"""The same for SDR codes."""

EVEN, HALVES = 24.0, 3.0
"""The QP at which a correction is weakened as without one, and by how many more what counts as faint halves."""

_AREA, _AREAS = 8, 9
"""The sides of an area in pixels, and how many areas on a side a correction's strength is measured over."""


class Restrained(nn.Module):
    """A network whose corrections are held back where they are faint."""

    faint = FAINT
    """The change that is halved if all around it is as faint."""

    def restrained(self, change: Tensor, qp: Tensor | None) -> Tensor:
        """A correction ``B,3,H,W``, :func:`spared`; in training whole, as a network that begins with none would be kept there."""
        return change if self.training else spared(change, self.faint, qp)


def bounded(added: Tensor, frame: Tensor, *, scale: float, reach: int, bound: float) -> Tensor:
    """The correction ``B,3,H,W`` in float32 that an output ``added`` comes to for a frame ``B,3,H,W``: scaled,
    :func:`guarded` and within ``bound``. Sides are multiples of ``reach``."""
    return (scale * guarded(added.float(), frame.float(), reach)).clamp(-bound, bound)


def spared(change: Tensor, faint: float | Tensor, qp: Tensor | None = None) -> Tensor:
    """A correction ``B,3,H,W``, weakened where it is faint all around: by half where its root mean square is ``faint``.

    Compression damages a whole neighbourhood. Where a network finds hardly anything to repair in 72x72 pixels, the picture is
    intact, and what it finds is mostly its own error. On clean pictures that takes away two thirds of the harm, and at QP 37
    a fiftieth of the gain. Of a source whose ``qp B`` is known (not NaN), what counts as faint halves with every
    :data:`HALVES` QPs: what is found in a film that was compressed little is error, and in one compressed strongly damage.
    """
    if qp is not None:
        faint = faint * leniency(qp)[:, None, None, None]
    height, width = change.shape[-2:]
    power = F.avg_pool2d(change.square().mean(1, keepdim=True), _AREA, ceil_mode=True)
    power = F.avg_pool2d(power, _AREAS, 1, _AREAS // 2, count_include_pad=False)
    strength = power / (power + faint * faint)
    strength = F.interpolate(strength, scale_factor=float(_AREA), mode="bilinear")
    return change * strength[..., :height, :width]


def leniency(qp: Tensor) -> Tensor:
    """By what the change that counts as faint is multiplied for QPs ``B``; 1 where they are not known."""
    return torch.where(torch.isnan(qp), 1.0, torch.exp2((EVEN - qp) / HALVES))


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
