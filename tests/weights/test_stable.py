"""Stable Diffusion's autoencoder from the hub: a tiny file of the same layout stands in for the real one, never seen here."""

from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from sdr2hdr.errors import ModelError
from sdr2hdr.models.hdrvdiff.stable import SCALING, StableAutoencoder, published_tensors
from sdr2hdr.weights.starting import starting_tensors

FILE = "/owner/vae/resolve/v1/vae/diffusion_pytorch_model.safetensors"
SOURCE = "hf:owner/vae@v1/vae/diffusion_pytorch_model.safetensors"
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def tiny() -> StableAutoencoder:
    torch.manual_seed(0)
    return StableAutoencoder(widths=(8, 8, 16, 16), layers=1, groups=4).eval()


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    server.headers = {
        "ETag": '"an-etag"',
        "X-Repo-Commit": "0123456789abcdef0123456789abcdef01234567",
    }
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def old_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the first files of that layout named attention, with weights of four dimensions."""
    out = {}
    for key, tensor in tensors.items():
        name, held = key, tensor
        for new, old in OLD.items():
            if f".attentions.0.{new}." in key:
                name = key.replace(new, old)
                held = tensor[..., None, None] if tensor.ndim == 2 else tensor
        out[name] = held.contiguous()
    return out


@pytest.mark.parametrize("old", [False, True])
def test_a_published_file_becomes_the_autoencoders_tensors(old: bool) -> None:
    tensors = tiny().state_dict()
    found = published_tensors(old_names(tensors) if old else tensors, SOURCE, tiny())
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[k], v) for k, v in tensors.items())


def test_a_file_of_the_hub_starts_the_autoencoder(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = tiny().state_dict()
    monkeypatch.setattr("sdr2hdr.models.hdrvdiff.stable.StableAutoencoder", tiny)
    hub.files[FILE] = safetensors.torch.save(dict(tensors))
    [found] = starting_tensors(SOURCE)
    assert found.keys() == {f"autoencoder.{k}" for k in tensors}
    assert all(torch.equal(found[f"autoencoder.{k}"], v) for k, v in tensors.items())


def test_the_layout_is_that_of_diffusers() -> None:
    with torch.device("meta"):
        net = StableAutoencoder()
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    # the published autoencoder has 83,653,863 parameters in 248 tensors
    assert sum(v.numel() for v in net.state_dict().values()) == 83_653_863 and len(shapes) == 248
    assert shapes["encoder.down_blocks.1.resnets.0.conv_shortcut.weight"] == (256, 128, 1, 1)
    assert shapes["encoder.down_blocks.2.downsamplers.0.conv.weight"] == (512, 512, 3, 3)
    assert shapes["decoder.up_blocks.3.resnets.2.conv2.weight"] == (128, 128, 3, 3)
    assert shapes["decoder.mid_block.attentions.0.to_out.0.bias"] == (512,)
    assert shapes["quant_conv.weight"] == (8, 8, 1, 1)


def test_it_encodes_and_decodes_at_the_sizes_the_network_wants() -> None:
    net = tiny()
    with torch.inference_mode():
        z = net.encode(torch.rand(1, 3, 32, 64))
        decoded = net.decode(z)
    assert z.shape == (1, 4, 4, 8) and decoded.picture.shape == (1, 3, 32, 64)
    assert [(f.shape[1], f.shape[-1]) for f in decoded.features] == [(16, 8), (16, 16), (16, 32)]
    assert tuple(f.shape[1] for f in reversed(decoded.features)) == net.channels
    assert SCALING == 0.18215


def test_another_networks_file_is_refused_in_a_sentence(hub: Any) -> None:
    hub.files[FILE] = safetensors.torch.save({"a": torch.zeros(2)})
    with pytest.raises(ModelError, match=r"encoder\.conv_in\.weight is missing"):
        starting_tensors(SOURCE)


def test_a_name_without_revision_is_refused() -> None:
    with pytest.raises(ModelError, match="names no file of the hub"):
        starting_tensors("hf:owner/vae/vae.safetensors")
