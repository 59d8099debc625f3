"""What tests of training share."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn


@pytest.fixture(scope="session")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of torch's with a file like torchvision's VGG19, whose weights nobody trained."""
    home = tmp_path_factory.mktemp("torch")
    (home / "hub/checkpoints").mkdir(parents=True)
    sizes, at, tensors = (3, 64, 64, 128, 128, 256, 256, 256, 256), 0, {}
    for number, (a, b) in enumerate(pairwise(sizes)):
        at += 0 if number == 0 else 3 if number in (2, 4) else 2  # a pooling more
        for key, t in nn.Conv2d(a, b, 3).state_dict().items():
            tensors[f"features.{at}.{key}"] = t
    torch.save(tensors, home / "hub/checkpoints/vgg19-dcbb9e9d.pth")
    return home


@pytest.fixture
def vgg19(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch finds VGG19 in its folder."""
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
