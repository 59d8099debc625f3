"""Reads a scene's look from the whole picture as a vector, and maps tone and colour by it.

Which HDR picture an SDR picture comes from depends on how it was graded: the same grey may stand for 20 or for 60 nits. A
patch does not show that; the whole picture does, to some degree. :class:`LookReader` reads a thumbnail into a vector, and
:class:`LookMapping` also maps every pixel with a small network that the vector modulates.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sdr2hdr.color import tonemap
from sdr2hdr.color.luma import weights
from sdr2hdr.color.transfer import pq_inverse_eotf
from sdr2hdr.models.parts.precision import Float32
from sdr2hdr.models.spec import State

VECTOR = 128
"""Numbers of a look vector."""
LOOK_STATE = {"look", "look_frames"}
"""The look in a state: the mean vector ``B,V`` and its number of frames, ``B,1``. A look that was read from the whole
scene has no such number and stays as it is."""

_BINS = 48
TONES = 32
DISTRIBUTION = 5 * _BINS + 6 * TONES
"""Numbers of a :func:`distribution`."""
_BAND = 32768  # pixels
_LONGEST = 120
"""Maximum number of frames in the mean over a scene, so that very long scenes (or an uncut file) can change slowly."""


class LookReader(Float32):
    """Thumbnails to look vectors. Always computes in float32."""

    def __init__(self) -> None:
        super().__init__()
        c = (3, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(c):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(c[-1], c[-1], 1), nn.ReLU())
        self.embed = nn.Sequential(
            nn.Linear(2 * c[-1] + DISTRIBUTION, 2 * VECTOR),
            nn.ReLU(),
            nn.Linear(2 * VECTOR, VECTOR),
            nn.ReLU(),
        )

    def vector(self, thumb: Tensor) -> Tensor:
        """Look vectors ``B,128`` of thumbnails ``B,3,S,S``: from what they show, how their light is distributed, and which
        colours go with which light (curves on R, G and B desaturate bright colours, others do not)."""
        x = thumb.float().clamp(0, 1)
        f = self.encoder(x)
        out: Tensor = self.embed(torch.cat([f.mean((2, 3)), f.amax((2, 3)), distribution(x)], 1))
        return out


class LookMapping(LookReader):
    """The mapping that look vectors choose, with its reader: it makes codes, not corrections."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter, self.middle, self.leave = (
            nn.Linear(3, width),
            nn.Linear(width, width),
            nn.Linear(width, 3),
        )
        self.modulate = nn.Linear(VECTOR, 4 * width)
        for layer in (self.modulate, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def codes(self, frame: Tensor, look: Tensor) -> Tensor:
        """PQ codes ``B,3,H,W`` of a frame ``B,3,H,W``: the direct mapping plus the look's change. Greys stay grey.

        Works in bands that fit a processor's cache, which is twice as fast there as the whole frame at once.
        """
        (scale1, shift1), (scale2, shift2) = (
            m.chunk(2, -1) for m in self.modulate(look).chunk(2, -1)
        )
        # one matrix product a layer: a scale of the layer's output is a scale of its kernel's rows
        first, second = (
            _modulated(self.enter, scale1, shift1),
            _modulated(self.middle, scale2, shift2),
        )
        rows = frame.shape[-2] if frame.device.type != "cpu" else max(1, _BAND // frame.shape[-1])
        return torch.cat(
            [self._band(x.float(), first, second) for x in torch.split(frame, rows, dim=-2)], dim=-2
        )

    def _band(
        self, x: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
    ) -> Tensor:
        direct = pq_inverse_eotf(tonemap.bt2408(x))
        y = torch.baddbmm(first[0], first[1], x.flatten(2)).relu_()
        y = torch.baddbmm(second[0], second[1], y).relu_()
        kernel = self.leave.weight.expand(x.shape[0], -1, -1)
        added = torch.baddbmm(self.leave.bias[:, None], kernel, y).view_as(x)
        brightest = x.amax(1, keepdim=True)
        spread = brightest - x.amin(1, keepdim=True)
        added = torch.lerp(added.mean(1, keepdim=True), added, (8 * spread).clamp_max(1))
        return torch.addcmul(direct, added, (10 * brightest).clamp(0, 1), value=0.3)


def remembered(read: Callable[[], Tensor], state: State) -> tuple[Tensor, State]:
    """The look ``B,V`` of the scene, and the state that holds it: :func:`known` from the whole scene, or else the mean of what
    ``read`` gave up to this frame, through which gradients flow."""
    if "look" in state and "look_frames" not in state:
        return state["look"].float(), state
    new = read()
    if "look" not in state:
        return new, {**state, "look": new, "look_frames": new.new_ones(new.shape[0], 1)}
    frames = (state["look_frames"].float() + 1).clamp_max(_LONGEST)
    mean = state["look"].float().detach()
    mean = mean + (new - mean) / frames
    return mean, {**state, "look": mean, "look_frames": frames}


def known(look: Tensor) -> State:
    """What a state holds of a look ``B,V`` that was read from the whole scene: it stays as it is."""
    return {"look": look}


def distribution(thumb: Tensor) -> Tensor:
    """How light and colour are distributed in thumbnails ``B,3,S,S``: ``B,432``, histograms and :func:`colours_by_light`."""
    x = thumb.float().clamp(0, 1)
    luma = (x * x.new_tensor(weights("bt709"))[:, None, None]).sum(1, keepdim=True)
    light = torch.cat([x, luma, x.amax(1, keepdim=True)], 1).flatten(2)
    counts = light.new_zeros(*light.shape[:2], _BINS)
    counts.scatter_add_(2, (light.detach() * (_BINS - 0.001)).long(), torch.ones_like(light))
    counts = (counts * (4096 / light.shape[2]) + 1).log() / 8
    return torch.cat([counts.flatten(1), colours_by_light(x, luma).flatten(1)], 1)


def colours_by_light(x: Tensor, luma: Tensor) -> Tensor:
    """Means ``B,6,32`` over the pixels of ``B,3,S,S`` by their brightest channel: spread of the channels, their distances from
    luma, that of red without its sign, and the squared spread. Tones that hardly occur count as grey."""
    brightest = x.amax(1, keepdim=True)
    spread = brightest - x.amin(1, keepdim=True)
    off = x - luma
    what = torch.cat([spread, off, off[:, :1].abs(), spread.square()], 1).flatten(2)
    tone = (brightest.flatten(2).detach() * (TONES - 0.001)).long()
    count = what.new_zeros(what.shape[0], 1, TONES).scatter_add_(
        2, tone, torch.ones_like(what[:, :1])
    )
    sums = what.new_zeros(what.shape[0], 6, TONES).scatter_add_(2, tone.expand(-1, 6, -1), what)
    return 4 * sums / (count + 2)


def _modulated(layer: nn.Linear, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Bias ``B,C,1`` and kernel ``B,C,D`` of a layer whose output is scaled by ``1 + scale`` and shifted, ``B,C`` each."""
    kernel = layer.weight * (1 + scale)[..., None]
    return (layer.bias * (1 + scale) + shift)[..., None], kernel
