"""Models by name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sdr2hdr.errors import ModelError
from sdr2hdr.models.didnet.network import DIDNET_SPEC, DIDNET_TINY_SPEC, DIDNet
from sdr2hdr.models.fmstfnet.network import FMSTFNET_SPEC, FMSTFNet
from sdr2hdr.models.hdrvdiff.network import HDRVDIFF_SPEC, HDRVDiff
from sdr2hdr.models.kpnet import KPNET_LIGHT_SPEC, KPNET_SPEC, KPNet
from sdr2hdr.models.look.network import LOOK_SPEC, Look
from sdr2hdr.models.look_base import LOOK_BASE_SPEC, LookBase
from sdr2hdr.models.lut import LUT_SPEC, LutMapping
from sdr2hdr.models.model import Model
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.models.static import BT2408_SPEC, BT2446A_SPEC, StaticMapping
from sdr2hdr.models.wmnet.network import WMNET_SPEC, WMNet

PUBLISHED = "published"
"""The name of the configuration that is the form of a network's paper (:attr:`Model.published`)."""

Config = Mapping[str, Any] | str | None
"""Constructor arguments of a network that override those of its spec, or the name of a configuration."""

_MODELS: dict[str, tuple[ModelSpec, type[Model]]] = {
    spec.name: (spec, network)
    for spec, network in (
        (WMNET_SPEC, WMNet),
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


def spec(name: str, config: Config = None) -> ModelSpec:
    """The needs of the model of that name, built with ``config``; raises ModelError naming the known ones."""
    found, cls = _find(name)
    return cls.as_configured(replace(found, config=arguments(name, config)))


def arguments(name: str, config: Config = None) -> dict[str, Any]:
    """The constructor arguments of the model of that name: those of its spec, overridden by ``config``, or those of its
    published form. Raises ModelError if it has no form of that name."""
    found, cls = _find(name)
    if not isinstance(config, str):
        return {**found.config, **(config or {})}
    if config != PUBLISHED or not cls.published:
        raise ModelError(
            f"Model {name} has no configuration {config!r}; "
            + (f'use "{PUBLISHED}", or a table.' if cls.published else "leave it out.")
        )
    return dict(cls.published)


def build(name: str, config: Config = None) -> Model:
    """A model with fresh weights in evaluation mode; ``config`` overrides the constructor arguments in its spec."""
    _, cls = _find(name)
    options = arguments(name, config)
    try:
        return cls(**options).eval()
    except (TypeError, ValueError) as e:
        raise ModelError(
            f"Model {name} cannot be built with the configuration {options}: {e}."
        ) from e


def _find(name: str) -> tuple[ModelSpec, type[Model]]:
    try:
        return _MODELS[name]
    except KeyError:
        raise ModelError(
            f"There is no model {name!r}; choose one of {', '.join(_MODELS)}."
        ) from None
