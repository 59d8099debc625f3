"""Writing weights: safetensors with the model's name and configuration, the same bytes every time."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdr2hdr.errors import ModelError
from sdr2hdr.writing import write_whole

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def save_weights(
    path: Path,
    model_name: str,
    state_dict: Mapping[str, Tensor],
    config: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    half: bool = True,
    exact: Collection[str] = (),
) -> tuple[str, int]:
    """Writes a model's weights and returns their (SHA-256, size in bytes); an old file is replaced in one step.

    ``half`` stores floating-point tensors as float16, but those named ``exact``; others are stored as they are. The file
    carries ``model_name``, ``config`` (JSON) and ``metadata`` (texts, say ``licence``). Raises ModelError for a value
    that is not finite (in half precision, too), OutputError when the file cannot be written.
    """
    tensors = {
        key: _ready(path, key, tensor, half and key not in exact)
        for key, tensor in state_dict.items()
    }
    texts = {**(metadata or {}), "model": model_name, "config": canonical(config)}
    data = _serialize(tensors, texts)
    write_whole(path, data, overwrite=True)
    return hashlib.sha256(data).hexdigest(), len(data)


def canonical(config: Mapping[str, Any]) -> str:
    """The one way a configuration is written as text, so that two can be compared."""
    return json.dumps(dict(config), sort_keys=True, separators=(",", ":"))


def _ready(path: Path, key: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.contiguous()
    stored = tensor.half() if half else tensor
    if not bool(torch.isfinite(stored).all()):
        raise ModelError(
            f"{path}: {key} holds a value that is infinite, not a number or too large; nothing is written."
        )
    return stored.contiguous()


def _serialize(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> bytes:
    """The safetensors format. The library's own writer puts the metadata in an order that changes from run to run."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(texts.items()))}
    blocks, offset = [], 0
    # wide types first, so that every tensor lies aligned
    for key, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        block = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        span = [offset, offset + len(block)]
        header[key] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": span,
        }
        blocks.append(block)
        offset += len(block)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *blocks])
