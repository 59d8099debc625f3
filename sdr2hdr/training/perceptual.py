"""Feature spaces for a perceptual loss."""

from pathlib import Path

import torch
from torch import Tensor, nn

from sdr2hdr.errors import InputError
from sdr2hdr.models.base.reader import LookReader
from sdr2hdr.weights.starting import starting_tensors

_VGG19_FILE = "vgg19-dcbb9e9d.pth"
_VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256)
"""VGG19 up to relu3_4 (Simonyan and Zisserman, configuration E): channels of 3x3 convolutions, 0 for pooling."""


class LookFeatures(nn.Module):
    """The first three layers of the trained look reader: 32, 64 and 96 channels at 1/2, 1/4 and 1/8 of the size.

    It was trained to recognise the grade of an SDR picture. Like VGG19, it has seen no HDR codes.
    """

    def __init__(self) -> None:
        super().__init__()
        reader = LookReader()
        [tensors] = starting_tensors("look-base")
        reader.load_state_dict({key: tensors[f"look.{key}"] for key in reader.state_dict()})
        self.layers = nn.Sequential(*list(reader.encoder)[:6])

    def forward(self, codes: Tensor) -> list[Tensor]:
        x, found = codes.float(), []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return found


class Vgg19Features(nn.Module):
    """relu1_2, relu2_2 and relu3_4 of VGG19, with the weights that torchvision keeps in torch's own folder."""

    def __init__(self) -> None:
        super().__init__()
        path = Path(torch.hub.get_dir()) / "checkpoints" / _VGG19_FILE
        layers: list[nn.Module] = []
        channels = 3
        for c in _VGG19:
            layers += [nn.Conv2d(channels, c, 3, padding=1), nn.ReLU()] if c else [nn.MaxPool2d(2)]
            channels = c or channels
        self.layers = nn.Sequential(*layers)
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
            own = {k: tensors[f"features.{k}"] for k in self.layers.state_dict()}
            self.layers.load_state_dict(own)
        except Exception as e:
            raise InputError(
                f"{path} cannot be read as VGG19's weights ({e}); put torchvision's file there, or say perceptual = \"look\"."
            ) from e

    def forward(self, codes: Tensor) -> list[Tensor]:
        mean, std = (
            codes.new_tensor(v)[:, None, None]
            for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        x, found = (codes.float() - mean) / std, []
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return [*found, x]


def features(space: str) -> nn.Module:
    """The feature space of that name (``look`` or ``vgg19``), frozen; raises InputError if its weights are missing."""
    net = Vgg19Features() if space == "vgg19" else LookFeatures()
    return net.requires_grad_(False).eval()
