"""A block that several networks share, and the initialisation of their convolutions."""

from collections.abc import Iterable

from torch import Tensor, nn

from sdr2hdr.models.parts.fused import conv


class ResidualBlock(nn.Module):
    """``x + conv2(relu(conv1(x)))``, 3x3, no normalisation; with a ``leak``, the slope of a leaky ReLU."""

    def __init__(self, channels: int, leak: float = 0.0) -> None:
        super().__init__()
        self.leak = leak
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return conv(self.conv2, conv(self.conv1, x, leak=self.leak), add=x)


def keep_variance(modules: Iterable[nn.Module]) -> None:
    """Start every 2-D convolution so that it keeps its input's variance (fan in, gain 1), with zero biases."""
    for m in modules:
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, nonlinearity="linear")
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def start_with_detail(layer: nn.Conv2d) -> None:
    """Start 3/4 of the filters zero-mean and scaled by 8, so that training sees detail before brightness.

    Damage is in the detail, which is a tenth of a picture's range.
    """
    kernels = layer.weight.data[layer.out_channels // 4 :]
    kernels.sub_(kernels.mean(dim=(1, 2, 3), keepdim=True)).mul_(8.0)


def zero(*layers: nn.Conv2d | nn.Linear) -> None:
    """Start layers with zero weights and biases, so that their output is zero at first."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
