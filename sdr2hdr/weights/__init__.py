"""Weights by name: the manifest, the files, the checks. ``from sdr2hdr.weights import load_model``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["load_model"]

if TYPE_CHECKING:
    from sdr2hdr.weights.opened import load_model


def __getattr__(name: str) -> Any:
    # the manifest is read by commands that have no use for torch
    if name == "load_model":
        return import_module("sdr2hdr.weights.opened").load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
