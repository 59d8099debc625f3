"""Models by name."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sdr2hdr.errors import ModelError
from sdr2hdr.models.didnet import DIDNET_SPEC, DIDNET_TINY_SPEC, DIDNet
from sdr2hdr.models.fmstfnet import FMSTFNET_SPEC, FMSTFNet
from sdr2hdr.models.hdrvdiff import HDRVDIFF_SPEC, HDRVDiff
from sdr2hdr.models.kpnet import KPNET_LIGHT_SPEC, KPNET_SPEC, KPNet
from sdr2hdr.models.look import LOOK_SPEC, LookMapping
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.models.static import BT2408_SPEC, BT2446A_SPEC, StaticMapping
from sdr2hdr.models.wmnet import WMNET_SPEC, WMNet

_NETWORKS: dict[str, type[nn.Module]] = {
    "wmnet": WMNet,
    "kpnet": KPNet,
    "kpnet-light": KPNet,
    "didnet": DIDNet,
    "didnet-tiny": DIDNet,
    "fmstfnet": FMSTFNet,
    "hdrvdiff": HDRVDiff,
    "look": LookMapping,
}
_SPECS = {
    s.name: s
    for s in (
        WMNET_SPEC,
        KPNET_SPEC,
        KPNET_LIGHT_SPEC,
        DIDNET_SPEC,
        DIDNET_TINY_SPEC,
        FMSTFNET_SPEC,
        HDRVDIFF_SPEC,
        LOOK_SPEC,
        BT2408_SPEC,
        BT2446A_SPEC,
    )
}


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
        return _NETWORKS[name](**options).eval()
    except (TypeError, ValueError) as e:
        raise ModelError(f"Model {name} cannot be built with the configuration {options}: {e}.") from e


def to_precision(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network in a precision, except modules that say ``keep_float32``; 2-D kernels in channels-last order."""
    _cast(net, dtype)
    for p in net.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    return net


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    dtype = torch.float32 if getattr(module, "keep_float32", False) else dtype
    if dtype is torch.float32:
        module.to(dtype)
        return
    for child in module.children():
        _cast(child, dtype)
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
