"""The bundled networks give the pictures they gave: a new option or form of a network leaves its default form alone.

The numbers are those of the weights of November 2026. A new weight of a network has new ones, and so has a
network that is held back in another way (``faint``); nothing else may change them.
"""

import hashlib

import pytest
import torch
from torch import Tensor

from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.weights.opened import open_model

GIVEN: dict[str, tuple[str, tuple[float, ...]]] = {
    "wmnet": ("4a64d73e1356d32d", (0.46272, 0.54266, 0.28978, 0.44011, 0.13571)),
    "wmnet-fast": ("5bb3482f976e734a", (0.46272, 0.54512, 0.30508, 0.44055, 0.13701)),
    "wmnet-deep": ("3b169da29dc2ac24", (0.45882, 0.54630, 0.29258, 0.43981, 0.13778)),
    "kpnet": ("66c3207de524a896", (0.46198, 0.54628, 0.30291, 0.44058, 0.13446)),
    "kpnet-light": ("bb17bd205abb8d38", (0.46175, 0.54642, 0.30328, 0.44050, 0.13442)),
    "didnet": ("aed6d33543ebef89", (0.46149, 0.54826, 0.29549, 0.43979, 0.13681)),
    "didnet-tiny": ("3f46e0f8fcaab939", (0.46210, 0.54619, 0.30366, 0.44053, 0.13442)),
    "fmstfnet": ("54d3b3312e30f49c", (0.46107, 0.54593, 0.30584, 0.44062, 0.13469)),
    "hdrvdiff": ("8f6b25f5b079d690", (0.46220, 0.54616, 0.30386, 0.44060, 0.13439)),
}
"""By network: the names of its tensors, hashed; codes at three pixels, their mean and their spread."""


def moving(frames: int = 5, height: int = 64, width: int = 64) -> Tensor:
    """Waves of all colours that move, ``1,T,3,H,W``."""
    t, c = torch.arange(frames).view(-1, 1, 1, 1), torch.arange(3).view(-1, 1, 1)
    y, x = torch.arange(height).view(-1, 1), torch.arange(width)
    waves = 0.5 + 0.3 * torch.sin(0.11 * (x + 2 * t) + c) + 0.2 * torch.cos(0.17 * y - 0.5 * c)
    return waves.clamp(0, 1)[None]


@pytest.mark.parametrize("name", GIVEN)
def test_bundled_networks_give_the_codes_they_gave(name: str) -> None:
    opened, frames = open_model(name), moving()
    spec, (keys, numbers) = opened.spec, GIVEN[name]
    noise = torch.zeros(1, spec.noise, 64 // spec.noise_cell, 64 // spec.noise_cell)
    told = {"brightness": torch.tensor([2.5])} if spec.brightness else {}
    with torch.no_grad():
        codes, _ = opened.model(
            frames, {}, past=2, future=2, thumbs=thumbnail(frames, spec.thumb), noise=noise, **told
        )
    found = codes[0, 0]
    assert hashlib.sha256("\n".join(opened.model.state_dict()).encode()).hexdigest()[:16] == keys
    at = (found[0, 10, 20], found[1, 33, 50], found[2, 60, 9], found.mean(), found.std())
    assert [float(v) for v in at] == pytest.approx(numbers, abs=2e-4)  # a fifth of a code
