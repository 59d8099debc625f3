"""What tests of exposures share."""

import pytest
import torch

from sdr2hdr.models import registry
from sdr2hdr.weights.save import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained network, which gives the merge itself."""
    torch.manual_seed(0)
    model = registry.build("hdrvdiff", {"steps": 0})
    path = tmp_path_factory.mktemp("weights") / "merge.safetensors"
    save_weights(path, "hdrvdiff", dict(model.named_parameters()), {"steps": 0})
    return str(path)
