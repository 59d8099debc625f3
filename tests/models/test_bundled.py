"""The bundled networks give the pictures they gave: a new option or form of a network leaves its default form alone.

The numbers are those of the weights of November 2026. A new weight of a network has new ones; nothing else may change them.
"""

import hashlib

import pytest
import torch
from torch import Tensor

from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.weights.opened import open_model

GIVEN: dict[str, tuple[str, tuple[float, ...]]] = {
    "wmnet": ("4fd6f895afecdb27", (0.47269, 0.56676, 0.30260, 0.45277, 0.13511)),
    "kpnet": ("8e31f893b1c395e8", (0.47334, 0.56776, 0.31089, 0.45270, 0.13526)),
    "kpnet-light": ("a2fb075f7852ea00", (0.47183, 0.56858, 0.31153, 0.45219, 0.13510)),
    "didnet": ("dd5a72cfe98f72a1", (0.47249, 0.56781, 0.30879, 0.45201, 0.13599)),
    "didnet-tiny": ("dd5a72cfe98f72a1", (0.47397, 0.56724, 0.31342, 0.45229, 0.13518)),
    "fmstfnet": ("902d65b667e68123", (0.47069, 0.56652, 0.32025, 0.45278, 0.13584)),
    "hdrvdiff": ("21569b2b62b0c4f2", (0.47418, 0.56703, 0.31441, 0.45257, 0.13506)),
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
    with torch.no_grad():
        codes, _ = opened.model(
            frames, {}, past=2, future=2, thumbs=thumbnail(frames, spec.thumb), noise=noise
        )
    found = codes[0, 0]
    assert hashlib.sha256("\n".join(opened.model.state_dict()).encode()).hexdigest()[:16] == keys
    at = (found[0, 10, 20], found[1, 33, 50], found[2, 60, 9], found.mean(), found.std())
    assert [float(v) for v in at] == pytest.approx(numbers, abs=2e-4)  # a fifth of a code
