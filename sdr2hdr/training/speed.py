"""The speed of training, and its share of the device's peak."""

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from sdr2hdr.training.loop import Trainer


def peak_flops(device: torch.device, size: int = 2048) -> float:
    """The device's practical peak: operations per second of a bfloat16 matrix product, best of three."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(4):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def share(trainer: Trainer) -> Callable[[float], float]:
    """The share of the device's peak for a rate in samples (frames of a patch) per second, forward and backward."""
    stage, within = trainer.recipe.stage_at(trainer.step)
    with FlopCounterMode(display=False) as counter:
        trainer.loss(stage, within).backward()  # type: ignore[no-untyped-call]
    for p in trainer.net.parameters():
        p.grad = None
    per_sample = counter.get_total_flops() / (stage.batch * stage.frames)
    peak = peak_flops(trainer.device)
    return lambda samples: samples * per_sample / peak
