"""Models by name."""

from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from sdr2hdr.errors import ModelError
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.models.static import BT2408_SPEC, BT2446A_SPEC, StaticMapping
from sdr2hdr.models.wmnet import WMNET_SPEC, WMNet

_SPECS = {s.name: s for s in (WMNET_SPEC, BT2408_SPEC, BT2446A_SPEC)}


def names() -> list[str]:
    """All models, the recommended one first."""
    return list(_SPECS)


def spec(name: str) -> ModelSpec:
    """The needs of the model of that name; raises ModelError naming the known ones."""
    try:
        return _SPECS[name]
    except KeyError:
        raise ModelError(f"There is no model {name!r}; choose one of {', '.join(_SPECS)}.") from None


def build(name: str, config: Mapping[str, Any] | None = None) -> nn.Module:
    """A model with fresh weights in evaluation mode; ``config`` overrides the spec's constructor arguments."""
    s = spec(name)
    if not s.has_weights:
        return StaticMapping(name).eval()
    options = {**s.config, **(config or {})}
    try:
        return cast(nn.Module, WMNet(**options)).eval()
    except (TypeError, ValueError) as e:
        raise ModelError(f"Model {name} cannot be built with the configuration {options}: {e}.") from e
