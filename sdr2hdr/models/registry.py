"""Models by name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from sdr2hdr.errors import ModelError
from sdr2hdr.models.didnet.network import DIDNET_SPEC, DIDNET_TINY_SPEC, DIDNet
from sdr2hdr.models.fmstfnet.network import FMSTFNET_SPEC, FMSTFNet
from sdr2hdr.models.hdrvdiff.network import HDRVDIFF_SPEC, HDRVDiff
from sdr2hdr.models.kpnet.network import KPNET_LIGHT_SPEC, KPNET_SPEC, KPNet
from sdr2hdr.models.look.network import LOOK_SPEC, Look
from sdr2hdr.models.look_base import LOOK_BASE_SPEC, LookBase
from sdr2hdr.models.lut import LUT_SPEC, LutMapping
from sdr2hdr.models.model import Model
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.models.static import BT2408_SPEC, BT2446A_SPEC, StaticMapping
from sdr2hdr.models.wmnet.fast import WMNET_DEEP_SPEC, WMNET_FAST_SPEC, WMNetFast
from sdr2hdr.models.wmnet.network import WMNET_SPEC, WMNet

Config = Mapping[str, Any] | str | None
"""Options of a network, the name of a configuration, or nothing for the options in the spec."""

PUBLISHED = "published"
"""The configuration that has the network as its paper or its published code has it."""

_MODELS: dict[str, tuple[ModelSpec, type[Model]]] = {
    spec.name: (spec, network)
    for spec, network in (
        (WMNET_SPEC, WMNet),
        (WMNET_FAST_SPEC, WMNetFast),
        (WMNET_DEEP_SPEC, WMNetFast),
        (KPNET_SPEC, KPNet),
        (KPNET_LIGHT_SPEC, KPNet),
        (DIDNET_SPEC, DIDNet),
        (DIDNET_TINY_SPEC, DIDNet),
        (FMSTFNET_SPEC, FMSTFNet),
        (HDRVDIFF_SPEC, HDRVDiff),
        (LOOK_SPEC, Look),
        (LOOK_BASE_SPEC, LookBase),
        (BT2408_SPEC, StaticMapping),
        (BT2446A_SPEC, StaticMapping),
        (LUT_SPEC, LutMapping),
    )
}


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
    return cls.as_configured(replace(found, config=configuration(name, config)))


def build(name: str, config: Config = None) -> Model:
    """A model with fresh weights in evaluation mode, built with the options of :func:`configuration`."""
    _, cls = _find(name)
    options = configuration(name, config)
    try:
        return cls.form(options)(**options).eval()
    except (TypeError, ValueError) as e:
        raise ModelError(
            f"Model {name} cannot be built with the configuration {options}: {e}."
        ) from e


def buffers(name: str, config: Config = None) -> set[str]:
    """The names of what a model's state holds besides its parameters, such as running statistics."""
    with torch.device("meta"):
        model = build(name, config)
    return model.state_dict().keys() - dict(model.named_parameters()).keys()


def _find(name: str) -> tuple[ModelSpec, type[Model]]:
    try:
        return _MODELS[name]
    except KeyError:
        raise ModelError(
            f"There is no model {name!r}; choose one of {', '.join(_MODELS)}."
        ) from None
