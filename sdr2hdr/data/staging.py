"""More scenes from the existing ones: another light, another white, a second scene next to or over them."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def restage(light: Tensor, other: Callable[[], Tensor], rng: np.random.Generator) -> Tensor:
    """Linear light ``T,3,H,W`` of a scene, changed as no grade would: each of four changes is drawn for itself.

    ``other`` makes the same shape of another scene, which comes beside the first one, above it or through it (a reflection).
    The rest changes the lamps (a white of its own), how they are set up (gains that vary slowly over the picture, by colour)
    and how far apart they are in brightness (contrast).
    """
    height, width = light.shape[-2:]
    if rng.random() < 0.5:
        light = light * torch.from_numpy(np.exp(rng.normal(0, 0.12, 3))).float()[:, None, None]
    if rng.random() < 0.35:
        second = other()
        second = second * (_log_mean(light) / _log_mean(second) * float(np.exp(rng.normal(0, 1.0))))
        share = float(rng.uniform(0.2, 0.8))
        place = int(rng.integers(4))
        if place == 0:
            light = torch.cat(
                [light[..., : int(width * share)], second[..., int(width * share) :]], -1
            )
        elif place == 1:
            light = torch.cat(
                [light[..., : int(height * share), :], second[..., int(height * share) :, :]], -2
            )
        else:
            light = light + second * 0.5
    if rng.random() < 0.5:
        gains = torch.from_numpy(rng.normal(0, 0.6, (1, 3, 3, 4))).float()
        light = light * F.interpolate(gains, (height, width), mode="bicubic").exp()
    if rng.random() < 0.5:
        logs = (light.mean(1, keepdim=True) + 1e-5).log()
        light = light * ((logs - logs.mean()) * float(rng.normal(0, 0.12))).exp()
    return light


def _log_mean(light: Tensor) -> Tensor:
    return (light.mean(1, keepdim=True) + 1e-4).log().mean().exp()
