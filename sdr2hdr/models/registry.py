"""Models by name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any, cast

import torch

from sdr2hdr.errors import ModelError
from sdr2hdr.models.model import Model
from sdr2hdr.models.spec import ModelSpec

Config = Mapping[str, Any] | str | None
"""Options of a network, the name of a configuration, or nothing for the options in the spec."""

PUBLISHED = "published"
"""The configuration that has the network as its paper or its published code has it."""

_MODELS = {
    "wmnet": ("wmnet.network", "WMNET_SPEC", "WMNet"),
    "wmnet-fast": ("wmnet.fast", "WMNET_FAST_SPEC", "WMNetFast"),
    "wmnet-deep": ("wmnet.fast", "WMNET_DEEP_SPEC", "WMNetFast"),
    "kpnet": ("kpnet.network", "KPNET_SPEC", "KPNet"),
    "kpnet-light": ("kpnet.network", "KPNET_LIGHT_SPEC", "KPNet"),
    "didnet": ("didnet.network", "DIDNET_SPEC", "DIDNet"),
    "didnet-tiny": ("didnet.network", "DIDNET_TINY_SPEC", "DIDNet"),
    "fmstfnet": ("fmstfnet.network", "FMSTFNET_SPEC", "FMSTFNet"),
    "hdrvdiff": ("hdrvdiff.network", "HDRVDIFF_SPEC", "HDRVDiff"),
    "look": ("look.network", "LOOK_SPEC", "Look"),
    "look-base": ("look_base", "LOOK_BASE_SPEC", "LookBase"),
    "bt2408": ("static", "BT2408_SPEC", "StaticMapping"),
    "bt2446a": ("static", "BT2446A_SPEC", "StaticMapping"),
    "lut": ("lut", "LUT_SPEC", "LutMapping"),
}
"""Of each model the module in this room, its spec and its class there. A module loads when its model is asked for: a
conversion needs one of them, and all together take a tenth of a second."""


def names() -> list[str]:
    """All models, the recommended one first."""
    return list(_MODELS)


def network(name: str) -> type[Model]:
    """The class of the model of that name; raises ModelError naming the known ones."""
    return _find(name)[1]


def configuration(name: str, config: Config = None) -> dict[str, Any]:
    """All options of a model: those of its spec, or of a named configuration, with ``config`` over them.

    Options name a configuration under ``form``: ``{"form": "published", "channels": 32}``; ``"published"`` alone is short
    for ``{"form": "published"}``. Raises ModelError for a model or a configuration that does not exist.
    """
    found, _ = _find(name)
    options = {"form": config} if isinstance(config, str) else dict(config or {})
    form = options.pop("form", None)
    if form is None:
        return {**found.config, **options}
    if form != PUBLISHED or found.published is None:
        has = f"the only one is {PUBLISHED!r}" if found.published is not None else "it has none"
        raise ModelError(f"Model {name} has no configuration {form!r}; {has}.")
    return {**found.config, **found.published, **options}


def stands_alone(name: str, config: Config = None) -> bool:
    """Whether the network's output is the picture itself, as in all published forms; ours correct a base."""
    return bool(configuration(name, config).get("base") == "none")


def spec(name: str, config: Config = None) -> ModelSpec:
    """The needs of the model of that name, built with ``config``; raises ModelError naming the known ones."""
    found, cls = _find(name)
    options = configuration(name, config)
    with _judged(name, options):
        return cls.as_configured(replace(found, config=options))


def build(name: str, config: Config = None) -> Model:
    """A model with fresh weights in evaluation mode, built with the options of :func:`configuration`."""
    _, cls = _find(name)
    options = configuration(name, config)
    with _judged(name, options):
        for key, value in options.items():
            if isinstance(value, int) and value < 0:
                raise ValueError(f"{key} is below 0")
        model = cls.form(options)(**options).eval()
        empty = next((n for n, p in model.named_parameters() if not p.numel()), None)
        if empty is not None:
            raise ValueError(f"{empty} would be empty")
        return model


@contextmanager
def _judged(name: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Raises ModelError for options with which no network of that name can be."""
    try:
        yield
    except (TypeError, ValueError, LookupError, ArithmeticError, MemoryError, RuntimeError) as e:
        cause = str(e).partition("\n")[0]
        raise ModelError(
            f"Model {name} cannot be built with the configuration {dict(options)}: {cause}."
        ) from e


def buffers(name: str, config: Config = None) -> set[str]:
    """The names of what a model's state holds besides its parameters, such as running statistics."""
    with torch.device("meta"):
        model = build(name, config)
    return model.state_dict().keys() - dict(model.named_parameters()).keys()


@cache
def _find(name: str) -> tuple[ModelSpec, type[Model]]:
    try:
        module, spec_name, class_name = _MODELS[name]
    except KeyError:
        raise ModelError(
            f"There is no model {name!r}; choose one of {', '.join(_MODELS)}."
        ) from None
    found = import_module(f"{__package__}.{module}")
    return cast(ModelSpec, getattr(found, spec_name)), cast(type[Model], getattr(found, class_name))
