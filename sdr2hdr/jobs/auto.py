"""``--model auto``: the choice of a model if none is named."""

import time
from dataclasses import dataclass

import torch

from sdr2hdr.errors import ModelError
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.looks.file import MODEL
from sdr2hdr.looks.named import SUFFIX
from sdr2hdr.options import AUTO, Options
from sdr2hdr.render.device import is_out_of_memory, pick_device
from sdr2hdr.render.renderer import Renderer
from sdr2hdr.weights.load import choose, model_of
from sdr2hdr.weights.opened import open_model

NETWORKS, ELSEWHERE = ("wmnet-deep", "wmnet-fast"), "look"
"""The models for a GPU, the better and slower one first, and the one for every other machine.

WMNet is not among them: it costs six times as much as WMNet-deep for 0.02 to 0.06 dB more (docs/which-model.md).
"""

LEAST = 10.0
"""Frames a second that a GPU must render with one of :data:`NETWORKS` at the film's size."""

_ROUNDS = 3


@dataclass(frozen=True)
class Choice:
    """A model, and a sentence that says why it was chosen (empty if it was named)."""

    model: str
    reason: str = ""


def check_model(options: Options) -> None:
    """Raise ModelError for a model, weights or a device with which no film can be converted."""
    choice = early_choice(options)
    if choice is not None:
        choose(choice.model, options.weights)


def early_choice(options: Options) -> Choice | None:
    """The choice that is the same for every film; None if it depends on the film's size and the GPU's speed.

    Raises ModelError if the device is not available or the weights cannot be read.
    """
    device = pick_device(options.device)
    if options.model != AUTO:
        return Choice(options.model)
    if options.weights is not None:
        return Choice(model_of(options.weights))
    if options.look is not None and options.look.lower().endswith(SUFFIX):
        return Choice(MODEL, f"The model is {MODEL}: {options.look} holds a look for it.")
    if device.type == "cuda":
        return None
    why = "this conversion runs on the CPU"
    if options.device == AUTO:
        why = "there is no CUDA GPU here"
    return Choice(
        ELSEWHERE, f"The model is {ELSEWHERE}: {NETWORKS[0]} is for CUDA GPUs, and {why}."
    )


def choose_model(options: Options, size: tuple[int, int], begun: Plan | None = None) -> Choice:
    """The model for a film of ``width, height``; the model of an existing plan for the same device is kept.

    On a GPU, its speed is measured briefly. Raises ModelError as :func:`early_choice` does.
    """
    choice = early_choice(options)
    if choice is not None:
        return choice
    device, (width, height) = str(pick_device(options.device)), size
    if begun is not None and begun.settings.chosen and begun.settings.device == device:
        return Choice(begun.settings.model, begun.settings.chosen)
    at = f"at {width}x{height}"
    for name in NETWORKS:
        try:
            speed = frames_per_second(name, size, options)
        except (RuntimeError, MemoryError) as e:
            if not is_out_of_memory(e):
                raise
            why = f"the memory of {device} does not hold {name} {at}"
        except ModelError as e:
            why = f"{name} cannot be used ({e})"
        else:
            why = f"{device} renders {speed:.3g} frames a second with {name} {at}"
            if speed >= LEAST:
                return Choice(name, f"The model is {name}: {why}.")
            why = f"{why}, and at least {LEAST:g} are wanted"
    return Choice(ELSEWHERE, f"The model is {ELSEWHERE}: {why}.")


def frames_per_second(name: str, size: tuple[int, int], options: Options) -> float:
    """How many frames a second a model renders at a size ``width, height`` on the options' device; it takes a few windows."""
    loaded, (width, height) = open_model(name), size
    spec = loaded.spec
    renderer = Renderer(
        loaded.model, spec, (height, width), device=options.device, precision=options.precision, tile=options.tile
    )  # fmt: skip
    frame = torch.rand(3, height, width).to(renderer.device)
    window = frame.expand(spec.past + spec.block + spec.future, -1, -1, -1)
    states, best = renderer.new_states(), float("inf")
    for _ in range(_ROUNDS):  # the first one also loads the kernels
        since = time.perf_counter()
        _, finite = renderer.window_there(window, spec.past, spec.future, states)
        renderer.check(finite)  # which waits for the device
        best = min(best, time.perf_counter() - since)
    return spec.block / best
